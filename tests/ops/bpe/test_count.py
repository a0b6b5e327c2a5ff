import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import DataError
from textmill.ops.bpe import PieceCounter, PieceCounts, train_merges
from textmill.ops.bpe import count as count_module
from textmill.ops.bpe.sort import sorted_counts
from textmill.ops.bpe.train_characters import train_character_merges
from textmill.ops.memory import padded

PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=200)


def add(counter: PieceCounter, pieces: list[bytes], before: bytes = b"") -> None:
    ends = np.cumsum([len(piece) for piece in pieces]).astype(np.int32)
    counter.add(padded(before + b"".join(pieces)), len(before), ends)


@settings(deadline=None)
@given(PIECES)
def test_counts_as_a_counter_does_in_order_of_appearance(pieces: list[bytes]) -> None:
    counter = PieceCounter()
    add(counter, pieces, before=b"xyz")
    assert list(counter.counts().to_mapping().items()) == list(Counter(pieces).items())


@settings(deadline=None)
@given(PIECES, st.integers(0, 200))
def test_blocks_and_merging_do_not_matter(pieces: list[bytes], cut: int) -> None:
    whole, blocks, first, second = PieceCounter(), PieceCounter(), PieceCounter(), PieceCounter()
    add(whole, pieces)
    add(blocks, pieces[:cut])
    add(blocks, pieces[cut:])
    add(first, pieces[:cut])
    add(second, pieces[cut:])
    first.merge(second)
    expected = list(whole.counts().to_mapping().items())
    assert list(blocks.counts().to_mapping().items()) == expected
    assert list(first.counts().to_mapping().items()) == expected


def test_table_and_arena_grow() -> None:
    pieces = [f"{number} {'long' * (number % 9)}".encode() for number in range(30_000)] * 2
    counter = PieceCounter()
    add(counter, pieces)
    assert counter.counts().to_mapping() == Counter(pieces)
    assert counter.num_unique == 30_000


def test_a_piece_longer_than_the_arena() -> None:
    pieces = [b"x" * 1_000_000, b"y", b"x" * 1_000_000]
    counter = PieceCounter()
    add(counter, pieces)
    assert counter.counts().to_mapping() == Counter(pieces)


def test_counts_are_64_bit() -> None:
    counter, other = PieceCounter(), PieceCounter()
    add(other, [b"the"])
    for _ in range(40):
        counter.merge(other)
        other.merge(counter)
    assert counter.counts().counts[0] > 1 << 50


def test_num_pieces_limits() -> None:
    counter = PieceCounter()
    counter.add(padded(b"abc"), 0, np.array([1, 2, 3], np.int32), 2)
    assert counter.counts().to_mapping() == {b"a": 1, b"b": 1}


@pytest.mark.parametrize(
    ("text", "start", "ends", "count", "message"),
    [
        (padded(b"abc"), 0, np.array([4], np.int32), None, "needs 64 bytes of padding: pieces end at 4"),
        (padded(b"abc"), -1, np.array([3], np.int32), None, "needs 64 bytes of padding"),
        (padded(b"abc"), 0, np.array([3], np.int64), None, "got uint8 and int64"),
        (padded(b"abc"), 0, np.array([3], np.int32), 2, r"num_pieces must be in 0\.\.1, got 2"),
        (padded(b"abc"), 0, np.array([2, 1, 3], np.int32), None, "must grow"),
        (padded(b"abc"), 0, np.array([0, 3], np.int32), None, "must grow"),
    ],
)
def test_broken_blocks(text: np.ndarray, start: int, ends: np.ndarray, count: int | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PieceCounter().add(text, start, ends, count)


def test_an_end_beyond_the_text_in_the_middle() -> None:
    with pytest.raises(DataError, match="must grow"):
        PieceCounter().add(padded(b"abc"), 0, np.array([1, 1 << 30, 3], np.int32))


def test_bad_mapping() -> None:
    with pytest.raises(DataError, match="has bytes and a count >= 0, got b'': 1"):
        PieceCounts.from_mapping({b"": 1})


def test_merging_in_blocks_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block's ends are 32-bit numbers, however long the pieces."""
    pieces = [b"x" * length for length in (1, 3, 4, 5, 100, 2)]
    other = PieceCounter()
    other.add(padded(b"".join(pieces)), 0, np.cumsum([len(piece) for piece in pieces]).astype(np.int32))
    for most in (1, 4, 8, 1000):
        monkeypatch.setattr(count_module, "_MERGE_BYTES", most)
        counter = PieceCounter()
        counter.merge(other)
        assert counter.counts().to_mapping() == dict.fromkeys(pieces, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"arena": np.zeros(80, np.int8)},
        {"arena": np.zeros(65, np.uint8)},
        {"offsets": np.array([0, 1], np.int64)},
        {"offsets": np.array([0, 3, 2], np.int64)},
        {"offsets": np.array([-1, 1, 2], np.int64)},
        {"offsets": np.array([0, 1, 2], np.int32)},
        {"counts": np.array([1, -1], np.int64)},
        {"counts": np.array([[1], [1]], np.int64)},
    ],
)
def test_arrays_that_do_not_fit_together(change) -> None:
    counts = PieceCounts.from_mapping({b"a": 1, b"b": 2})
    counts.check()
    broken = dataclasses.replace(counts, **change)
    with pytest.raises(DataError, match="counted pieces"):
        train_merges(broken, 1)
    with pytest.raises(DataError, match="counted pieces"):
        train_character_merges(broken, 1)
    with pytest.raises(DataError, match="counted pieces"):
        sorted_counts(broken)
