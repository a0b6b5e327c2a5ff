import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers

from textmill.errors import ConfigError
from textmill.ops.bpe import PieceCounts, reference_train
from textmill.ops.bpe import trainer as trainer_module
from textmill.ops.bpe.alphabet import Alphabet
from textmill.ops.wordpiece import train_reference
from textmill.ops.wordpiece.train import train_wordpiece, train_wordpiece_by_likelihood

WORDS = st.dictionaries(st.text(st.sampled_from("abé中#"), min_size=1, max_size=9), st.integers(1, 6), max_size=12)
PLAIN_WORDS = st.dictionaries(
    st.text(st.sampled_from("abcé中"), min_size=1, max_size=9), st.integers(1, 6), max_size=12
)


def counts(words: dict[str, int]) -> PieceCounts:
    return PieceCounts.from_mapping({word.encode(): count for word, count in words.items()})


@settings(max_examples=80, deadline=None)
@given(PLAIN_WORDS, st.integers(0, 3))
def test_equals_tokenizers(words, min_frequency: int) -> None:
    """`tokenizers` numbers the marked characters at random, so we take its numbers."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trainer = trainers.WordPieceTrainer(
        vocab_size=60, min_frequency=min_frequency, special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator([word for word, count in words.items() for _ in range(count)], trainer)
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    theirs = sorted(vocabulary, key=vocabulary.get)
    order = tuple(token for token in theirs if len(token.removeprefix("##")) == 1)
    alphabet = Alphabet(reserved=("[UNK]",), order=order)
    assert train_wordpiece(counts(words), 60, alphabet, min_frequency=min_frequency).vocabulary == theirs


@settings(deadline=None)
@given(WORDS, st.integers(0, 4), st.integers(0, 60))
@example({"###a": 2, "a##a": 3, "##": 1}, 0, 60)
@example({"a" * length: length for length in range(1, 12)}, 0, 60)
def test_likelihood_equals_the_definition(words, min_frequency: int, vocab_size: int) -> None:
    split = {word: reference_train.character_names(word, "##") for word in words}
    plain = sorted({character for word in words for character in word})
    names = [*plain, *sorted({name for word in split.values() for name in word} - set(plain))]
    rows = [([names.index(name) for name in split[word]], count) for word, count in words.items()]
    vocabulary, merges = train_reference.train(rows, names, vocab_size, min_frequency=min_frequency)
    ours = train_wordpiece_by_likelihood(counts(words), vocab_size, min_frequency=min_frequency)
    assert ours.vocabulary == vocabulary
    assert ours.merges == [(vocabulary[left], vocabulary[right]) for (left, right), _ in merges]
    assert ours.counts.tolist() == [count for _, count in merges]


def many_words(seed: int) -> dict[str, int]:
    generator = np.random.default_rng(seed)
    syllables = ["".join(generator.choice(list("abcdefgh"), size=generator.integers(1, 4))) for _ in range(60)]
    words: dict[str, int] = {}
    for rank in range(1500):
        word = "".join(syllables[int(i)] for i in generator.geometric(0.08, size=generator.integers(1, 7)) % 60)
        words[word] = words.get(word, 0) + 1 + 5000 // (rank + 1)
    return words


def test_growing_arrays_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    words = counts(many_words(4))
    expected = train_wordpiece_by_likelihood(words, 900)
    assert len(expected.vocabulary) == 900
    monkeypatch.setattr(trainer_module, "FIRST_SLOTS", 8)
    monkeypatch.setattr(trainer_module, "SPARE_PLACES", 0)
    monkeypatch.setattr(trainer_module, "SKETCH_BITS", 3)
    monkeypatch.setattr(trainer_module, "WORK_PER_SLICE", 50)
    assert train_wordpiece_by_likelihood(words, 900).vocabulary == expected.vocabulary


def test_order_of_words_does_not_matter() -> None:
    words = many_words(9)
    for train in (train_wordpiece, train_wordpiece_by_likelihood):
        assert train(counts(words), 600).vocabulary == train(counts(dict(sorted(words.items()))), 600).vocabulary


def test_resumed_training_is_the_same_training() -> None:
    words = counts(many_words(2))
    for train in (train_wordpiece, train_wordpiece_by_likelihood):
        whole = train(words, 500)
        assert train(words, 500, seed_merges=whole.merges[:150]).vocabulary == whole.vocabulary


def test_bad_settings() -> None:
    with pytest.raises(ConfigError, match="vocab_size must be >= 0, got -1"):
        train_wordpiece_by_likelihood(counts({"ab": 1}), -1)
