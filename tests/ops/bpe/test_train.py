import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers

from textmill.errors import ConfigError
from textmill.ops.bpe import HF_BYTE_ORDER, PieceCounts, reference, train_merges
from textmill.ops.bpe import trainer as train_module

ALPHABETS = (b"a", b"ab", b"abc", b" a\xe4\xb8\xad", bytes(range(256)))
CHARACTER_OF_BYTE = {
    int(byte): chr(code)
    for byte, code in zip(
        np.argsort(HF_BYTE_ORDER),
        [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100), *range(256, 256 + 68)],
        strict=True,
    )
}
BYTE_OF_CHARACTER = {character: byte for byte, character in CHARACTER_OF_BYTE.items()}


@st.composite
def counted_pieces(draw: st.DrawFn) -> dict[bytes, int]:
    alphabet = draw(st.sampled_from(ALPHABETS))
    piece = st.lists(st.sampled_from(list(alphabet)), min_size=1, max_size=24).map(bytes)
    return draw(st.dictionaries(piece, st.integers(1, 6), max_size=12))


def merge_bytes(pieces: dict[bytes, int], num_merges: int, **options: int | None) -> list[tuple[bytes, bytes]]:
    merges = train_merges(PieceCounts.from_mapping(pieces), num_merges, **options)
    tokens = merges.token_bytes()
    return [(tokens[left], tokens[right]) for left, right in merges.pairs.tolist()]


def peer_merges(pieces: dict[bytes, int], num_merges: int, min_frequency: int, longest: int | None):
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=256 + num_merges,
        min_frequency=min_frequency,
        max_token_length=longest,
        initial_alphabet=list(BYTE_OF_CHARACTER),
        show_progress=False,
    )
    words = ["".join(CHARACTER_OF_BYTE[value] for value in piece) for piece, n in pieces.items() for _ in range(n)]
    tokenizer.train_from_iterator(words, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(bytes(BYTE_OF_CHARACTER[character] for character in side) for side in pair) for pair in merges]


@settings(deadline=None)
@given(counted_pieces(), st.integers(0, 40), st.integers(0, 4), st.sampled_from([None, 2, 3, 5]))
def test_equals_the_definition(pieces, num_merges: int, min_frequency: int, longest: int | None) -> None:
    expected = reference.train(pieces, num_merges, HF_BYTE_ORDER, min_frequency=min_frequency, max_token_length=longest)
    merges = train_merges(
        PieceCounts.from_mapping(pieces), num_merges, min_frequency=min_frequency, max_token_length=longest
    )
    assert [(tuple(pair), count) for pair, count in zip(merges.pairs.tolist(), merges.counts, strict=True)] == expected


@settings(max_examples=60, deadline=None)
@given(counted_pieces(), st.integers(0, 3), st.sampled_from([None, None, 2, 4]))
def test_equals_tokenizers(pieces, min_frequency: int, longest: int | None) -> None:
    ours = merge_bytes(pieces, 40, min_frequency=min_frequency, max_token_length=longest)
    assert ours == peer_merges(pieces, 40, min_frequency, longest)


def zipf_pieces(seed: int, num_words: int, alphabet: bytes) -> dict[bytes, int]:
    """Words made of a few syllables, with falling counts: many ties, several windows."""
    generator = np.random.default_rng(seed)
    syllables = [bytes(generator.choice(list(alphabet), size=generator.integers(1, 4))) for _ in range(60)]
    words: Counter[bytes] = Counter()
    for rank in range(num_words):
        word = b"".join(syllables[int(i)] for i in generator.geometric(0.08, size=generator.integers(1, 7)) % 60)
        words[word] += 1 + 20_000 // (rank + 1)
    return dict(words)


@pytest.mark.parametrize("alphabet", [b"abcdefghij ", "一二三四的是不我".encode(), bytes(range(256))])
def test_equals_tokenizers_on_words(alphabet: bytes) -> None:
    pieces = zipf_pieces(3, 800, alphabet)
    assert merge_bytes(pieces, 400) == peer_merges(pieces, 400, 0, None)


def test_small_windows_and_growing_arrays_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = zipf_pieces(5, 3000, b"abcdefghijklmnop ")
    expected = merge_bytes(pieces, 1500)
    monkeypatch.setattr(train_module, "FIRST_SLOTS", 8)
    monkeypatch.setattr(train_module, "SKETCH_BITS", 3)
    monkeypatch.setattr(train_module, "WORK_PER_SLICE", 50)
    assert merge_bytes(pieces, 1500) == expected
    for factor in (2, 1 << 40):
        monkeypatch.setattr(train_module, "WINDOW_FACTOR", factor)
        monkeypatch.setattr(train_module, "SPARE_PLACES", 0)
        assert merge_bytes(pieces, 1500) == expected


def test_order_of_pieces_does_not_matter() -> None:
    pieces = zipf_pieces(7, 500, b"abcdef")
    assert merge_bytes(pieces, 300) == merge_bytes(dict(sorted(pieces.items())), 300)


def test_counts_beyond_32_bits() -> None:
    merges = train_merges(PieceCounts.from_mapping({b"ab": 1 << 40, b"cd": (1 << 40) + 1}), 2)
    assert merges.pairs.tolist() == [[99, 100], [97, 98]]
    assert merges.counts.tolist() == [(1 << 40) + 1, 1 << 40]


def test_ranks_break_ties() -> None:
    pieces = PieceCounts.from_mapping({b"ab": 1, b"ba": 1})
    ranks = np.arange(256)[::-1].copy()
    assert train_merges(pieces, 1).pairs.tolist() == [[97, 98]]
    assert train_merges(pieces, 1, rank_of_byte=ranks).pairs.tolist() == [[98, 97]]


def test_progress_reports_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    train_merges(PieceCounts.from_mapping({b"abcdef": 5}), 3, progress=lambda done, wanted: seen.append((done, wanted)))
    assert seen[-1] == (3, 3)


def test_nothing_to_merge() -> None:
    assert len(train_merges(PieceCounts.from_mapping({}), 5)) == 0
    assert len(train_merges(PieceCounts.from_mapping({b"a": 5}), 5)) == 0


def test_bad_settings() -> None:
    pieces = PieceCounts.from_mapping({b"ab": 1})
    with pytest.raises(ConfigError, match="num_merges must be >= 0, the tokens that are given, got -1"):
        train_merges(pieces, -1)
    with pytest.raises(ConfigError, match="min_frequency must be >= 0, got -1"):
        train_merges(pieces, 1, min_frequency=-1)
    with pytest.raises(ConfigError, match=r"256 distinct ranks, got shape \(256,\)"):
        train_merges(pieces, 1, rank_of_byte=np.zeros(256, np.int32))


def test_far_more_merges_than_possible_cost_no_memory() -> None:
    assert len(train_merges(PieceCounts.from_mapping({b"abab": 2, b"a": 9}), 10**12)) == 2


def test_the_last_fence_never_begins_a_pair() -> None:
    """Closing gaps moves the last fence to a place that a token had, and with it went that token's slot."""
    lengths = {3: 4, 20: 2, 5: 4, 6: 6, 2: 1, 7: 2, 9: 2, 13: 2, 17: 5}
    pieces = {b"a" * length: count for length, count in lengths.items()}
    merges = train_merges(PieceCounts.from_mapping(pieces), 40)
    expected = reference.train(pieces, 40, HF_BYTE_ORDER)
    assert [(tuple(pair), count) for pair, count in zip(merges.pairs.tolist(), merges.counts, strict=True)] == expected


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(1, 24).map(lambda length: b"a" * length), st.integers(1, 6), max_size=10))
def test_runs_over_several_windows(pieces) -> None:
    merges = train_merges(PieceCounts.from_mapping(pieces), 40)
    expected = reference.train(pieces, 40, HF_BYTE_ORDER)
    assert [(tuple(pair), count) for pair, count in zip(merges.pairs.tolist(), merges.counts, strict=True)] == expected
