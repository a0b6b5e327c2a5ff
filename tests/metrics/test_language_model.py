import math

import pytest

from textmill.errors import DataError
from textmill.metrics.language_model import bits_per_byte, bits_per_character, loss_per_token, perplexity


def test_a_uniform_model_of_bytes_needs_eight_bits() -> None:
    assert bits_per_byte(37 * math.log(256), 37) == pytest.approx(8)


def test_figures_of_the_same_loss_agree() -> None:
    nats, tokens, characters, size = 123.4, 40, 150, 160
    assert math.log2(perplexity(nats, tokens)) * tokens == pytest.approx(bits_per_byte(nats, size) * size)
    assert bits_per_character(nats, characters) * characters == pytest.approx(bits_per_byte(nats, size) * size)
    assert loss_per_token(nats, tokens) == pytest.approx(math.log(perplexity(nats, tokens)))


def test_a_hopeless_model_is_infinitely_perplexed() -> None:
    assert perplexity(1e6, 1) == math.inf


def test_nothing_to_divide_by_is_an_error() -> None:
    with pytest.raises(DataError, match="a figure per byte needs at least one, got 0 bytes"):
        bits_per_byte(1.0, 0)
    with pytest.raises(DataError, match="a figure per token needs at least one, got 0 tokens"):
        perplexity(1.0, 0)
    with pytest.raises(DataError, match="a figure per character needs at least one"):
        bits_per_character(1.0, 0)
