import numpy as np
import pytest

from textmill.errors import ConfigError, DataError
from textmill.estimators.byte_ngram import ByteNgram, ByteNgramConfig

TEXT = [b"to be or not to be, that is the question", b"whether 'tis nobler in the mind to suffer"]


def test_seen_text_costs_less_than_unseen_text_and_noise_costs_more_than_eight_bits() -> None:
    model = ByteNgram().fit(TEXT)
    noise = np.random.default_rng(0).integers(128, 256, 500).astype(np.uint8).tobytes()
    assert model.bits_per_byte(TEXT) < 2 < model.bits_per_byte([b"a sea of troubles"]) < model.bits_per_byte([noise])


def test_bits_per_byte_are_minus_log2_of_the_probabilities() -> None:
    model = ByteNgram(ByteNgramConfig(order=4)).fit(TEXT)
    text = b"to suffer"
    by_hand = -sum(np.log2(model.probabilities(text[:i])[text[i]]) for i in range(len(text)))
    assert model.bits_per_byte([text]) == pytest.approx(by_hand / len(text), rel=1e-10)


def test_it_reads_no_more_than_it_may_and_says_how_much() -> None:
    model = ByteNgram(ByteNgramConfig(order=3, most_bytes=45)).fit(TEXT)
    assert model.num_bytes == 45
    same = ByteNgram(ByteNgramConfig(order=3)).fit([TEXT[0], TEXT[1][: 45 - len(TEXT[0])]])
    assert model.bits_per_byte(TEXT) == same.bits_per_byte(TEXT)


def test_its_arrays_are_numpy() -> None:
    arrays = ByteNgram(ByteNgramConfig(order=2)).fit(TEXT).arrays()
    assert {"counts", "slots", "discounts"} <= set(arrays)
    assert all(isinstance(value, np.ndarray) for value in arrays.values())


def test_mistakes_are_named() -> None:
    with pytest.raises(DataError, match=r"needs text to learn from, got none\. Fix: give it a document"):
        ByteNgram().fit([b""])
    with pytest.raises(DataError, match="measured on text, got none"):
        ByteNgram().fit(TEXT).bits_per_byte([])
    with pytest.raises(ConfigError, match="order must be between 1 and 32, got 0"):
        ByteNgramConfig(order=0)
    with pytest.raises(ConfigError, match="most_bytes must be at least 1, got 0"):
        ByteNgramConfig(most_bytes=0)
