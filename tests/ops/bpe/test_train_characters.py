import json
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers

from textmill.errors import ConfigError, DataError
from textmill.ops.bpe import PieceCounts, reference_train
from textmill.ops.bpe.alphabet import Alphabet, kept_characters
from textmill.ops.bpe.train_characters import CharacterMerges, train_character_merges
from textmill.ops.memory import PADDING

WORDS = st.dictionaries(st.text(st.sampled_from("abé中#<"), min_size=1, max_size=9), st.integers(1, 5), max_size=10)
MARKS = [("", ""), ("##", ""), ("", "</w>"), ("#", "<"), ("##", "#")]


def counts(words: dict[str, int]) -> PieceCounts:
    return PieceCounts.from_mapping({word.encode(): count for word, count in words.items()})


def peer(words: dict[str, int], vocab_size: int, alphabet: Alphabet, **options) -> tuple[list[str], list]:
    """(tokens by id, merges) of `tokenizers`."""
    settings = {
        "continuing_subword_prefix": alphabet.prefix or None,
        "end_of_word_suffix": alphabet.suffix or None,
        "limit_alphabet": alphabet.limit,
    }
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(alphabet.reserved),
        initial_alphabet=list(alphabet.initial),
        show_progress=False,
        **{name: value for name, value in settings.items() if value is not None},
        **options,
    )
    tokenizer.train_from_iterator([word for word, count in words.items() for _ in range(count)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [tuple(merge) for merge in model["merges"]]


def definition(words: dict[str, int], vocab_size: int, alphabet: Alphabet, **options) -> tuple[list[str], list]:
    """The same by `reference_train`, without limits on the alphabet."""
    split = {word: reference_train.character_names(word, alphabet.prefix, alphabet.suffix) for word in words}
    plain = sorted({character for word in words for character in word} | set(alphabet.initial))
    names = list(
        dict.fromkeys([*alphabet.reserved, *plain, *sorted({name for word in split.values() for name in word})])
    )
    rows = [([names.index(name) for name in split[word]], count) for word, count in words.items()]
    names, merges = reference_train.train(rows, names, vocab_size, prefix=alphabet.prefix, **options)
    return names, [(names[left], names[right]) for (left, right), _ in merges]


def of(trained: CharacterMerges) -> tuple[list[str], list[tuple[str, str]]]:
    return trained.vocabulary, trained.merges


@settings(deadline=None)
@given(WORDS, st.sampled_from(MARKS), st.sampled_from([(), ("[UNK]",), ("##", "ab")]), st.integers(0, 4))
@example({"###a": 2, "a##a": 3, "##": 1}, ("##", ""), ("##a",), 0)
def test_equals_the_definition(words, marks, reserved, min_frequency: int) -> None:
    alphabet = Alphabet(prefix=marks[0], suffix=marks[1], reserved=reserved)
    ours = train_character_merges(counts(words), 60, alphabet, min_frequency=min_frequency)
    assert of(ours) == definition(words, 60, alphabet, min_frequency=min_frequency)


@settings(max_examples=60, deadline=None)
@given(WORDS, st.integers(0, 3), st.sampled_from([None, 2, 4]))
def test_equals_tokenizers(words, min_frequency: int, longest: int | None) -> None:
    options = {"min_frequency": min_frequency, "max_token_length": longest}
    alphabet = Alphabet(initial=("x", "中"), reserved=("[UNK]", "[PAD]"))
    assert of(train_character_merges(counts(words), 40, alphabet, **options)) == peer(words, 40, alphabet, **options)


def letters(words: Iterable[str]) -> set[str]:
    return {character for word in words for character in word}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(st.sampled_from("abé中"), min_size=1, max_size=9), st.integers(1, 5), max_size=10),
    st.sampled_from([("", ""), ("##", ""), ("", "</w>"), ("##", "</w>")]),
)
def test_equals_tokenizers_with_marks(words, marks: tuple[str, str]) -> None:
    """`tokenizers` numbers the marked characters at random, so we take its numbers."""
    alphabet = Alphabet(prefix=marks[0], suffix=marks[1])
    theirs = peer(words, 60, alphabet)
    split = {name for word in words for name in reference_train.character_names(word, *marks)} | letters(words)
    order = tuple(token for token in theirs[0] if token in split)
    alphabet = Alphabet(prefix=marks[0], suffix=marks[1], order=order)
    assert of(train_character_merges(counts(words), 60, alphabet)) == theirs


@pytest.mark.parametrize("limit", [0, 1, 3, 6, 100])
def test_a_limited_alphabet_equals_tokenizers(limit: int) -> None:
    """Characters beyond the limit are left out, and their neighbours stand side by side."""
    words = {"abcab": 9, "cdae": 4, "fab": 2, "aabb": 8, "eee": 3}
    alphabet = Alphabet(limit=limit, initial=("z",))
    assert of(train_character_merges(counts(words), 30, alphabet)) == peer(words, 30, alphabet)


def test_neighbours_of_what_is_left_out_are_joined_and_those_of_what_is_not_covered_are_not() -> None:
    words = counts({"axb": 5, "aab": 9})
    assert train_character_merges(words, 3, Alphabet(limit=2)).merges == [("a", "b")]
    assert train_character_merges(words, 3, Alphabet(limit=2)).counts.tolist() == [14]
    assert train_character_merges(words, 3, Alphabet(coverage=0.85)).counts.tolist() == [9]


def test_coverage_keeps_the_fewest_characters_that_reach_it() -> None:
    totals = {"a": 50, "b": 30, "c": 15, "d": 5}
    for coverage, left in ((0.5, "a"), (0.51, "ab"), (0.8, "ab"), (0.95, "abc"), (0.951, "abcd"), (1.0, "abcd")):
        assert set(totals) - kept_characters(totals, Alphabet(coverage=coverage))[1] == set(left)
    assert kept_characters(totals, Alphabet(coverage=0.5, initial=("d",)))[1] == {"b", "c"}


@settings(max_examples=50, deadline=None)
@given(WORDS, st.sampled_from(MARKS), st.integers(0, 12))
def test_resumed_training_is_the_same_training(words, marks, num_seeds: int) -> None:
    alphabet = Alphabet(prefix=marks[0], suffix=marks[1])
    whole = train_character_merges(counts(words), 40, alphabet)
    seeds = whole.merges[:num_seeds]
    if len(set(whole.merges)) < len(whole.merges):
        return
    resumed = train_character_merges(counts(words), 40, alphabet, seed_merges=seeds)
    assert of(resumed) == of(whole)
    assert resumed.counts[len(seeds) :].tolist() == whole.counts[len(seeds) :].tolist()


def test_same_result_for_any_order_of_pieces() -> None:
    generator = np.random.default_rng(2)
    words = Counter("".join(generator.choice(list("abcdeé中"), size=generator.integers(1, 9))) for _ in range(3000))
    shuffled = dict(sorted(words.items(), key=lambda item: item[0][::-1]))
    alphabet = Alphabet(prefix="##")
    assert of(train_character_merges(counts(words), 900, alphabet)) == of(
        train_character_merges(counts(shuffled), 900, alphabet)
    )


@pytest.mark.parametrize(
    "piece",
    [b"\xff", b"a\xc3", b"\xe4\xb8", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\x80"],
)
def test_not_utf8(piece: bytes) -> None:
    with pytest.raises(DataError, match="training on characters needs UTF-8, got the piece"):
        train_character_merges(PieceCounts.from_mapping({b"ab": 1, piece: 1, b"\xad": 1}), 10)


def test_bytes_behind_the_pieces_do_not_matter() -> None:
    """The last piece is half a character, and what follows would complete it."""
    broken = PieceCounts.from_mapping({b"ab": 1, b"a\xc3": 1})
    broken.arena[-PADDING:] = 0xA9
    with pytest.raises(DataError, match=r"got the piece b'a\\xc3'"):
        train_character_merges(broken, 10)
    whole = counts({"aé": 2, "é": 1})
    whole.arena[-PADDING:] = 0xC3
    assert train_character_merges(whole, 10).vocabulary == ["a", "é", "aé"]


def test_every_character_is_read() -> None:
    codes = [*range(1, 0xD800, 7), *range(0xE000, 0x110000, 97), 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF]
    words = {chr(code): 1 for code in codes}
    assert train_character_merges(counts(words), 0).vocabulary == sorted(words)


def test_nothing_to_train_on() -> None:
    empty = PieceCounts.from_mapping({})
    assert train_character_merges(empty, 10, Alphabet(reserved=("[UNK]",), initial=("b", "a"))).vocabulary == [
        "[UNK]",
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Alphabet(coverage=0.0), r"coverage must be in \(0, 1\], got 0.0"),
        (lambda: Alphabet(limit=-1), "limit must be >= 0, got -1"),
        (lambda: Alphabet(initial=("ab",)), "holds single characters, got 'ab'"),
        (lambda: Alphabet(reserved=("",)), "at least one character"),
        (lambda: train_character_merges(counts({"a": 1}), -1), "vocab_size must be >= 0, got -1"),
        (
            lambda: train_character_merges(counts({"ab": 1}), 9, seed_merges=[("a", "b"), ("a", "b")]),
            "merge 1 stands earlier",
        ),
        (lambda: train_character_merges(counts({"ab": 1}), 9, seed_merges=[("a", "c")]), "merge 0 has 'c'"),
    ],
)
def test_bad_settings(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
