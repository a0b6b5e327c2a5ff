"""Counted pieces in the order of their bytes."""

from collections.abc import Iterator

import numpy as np

from textmill.ops.bpe import cpu_sort as kernels
from textmill.ops.bpe.count import PieceCounts
from textmill.ops.memory import PADDING


def sorted_order(counts: PieceCounts) -> np.ndarray:
    """int64[n]: the pieces' indices in the order of their bytes, as Python compares bytes.

    Raises:
        DataError: arrays that do not fit together (see `PieceCounts.check`).
    """
    counts.check()
    order, scratch = np.empty(len(counts), np.int64), np.empty(len(counts), np.int64)
    heads = np.empty(len(counts), np.uint64)
    swapped = kernels.sort_pieces(counts.arena, counts.offsets, heads, order, scratch)
    return scratch if swapped else order


def take(counts: PieceCounts, order: np.ndarray) -> PieceCounts:
    """The pieces of the given indices."""
    lengths = counts.offsets[order + 1] - counts.offsets[order]
    arena = np.zeros(int(lengths.sum()) + PADDING, dtype=np.uint8)
    offsets = np.zeros(len(order) + 1, dtype=np.int64)
    kernels.gather(counts.arena, counts.offsets, order, arena, offsets)
    return PieceCounts(arena=arena, offsets=offsets, counts=counts.counts[order])


def sorted_counts(counts: PieceCounts) -> PieceCounts:
    """The same counts in the order of the pieces' bytes, which does not depend on how they were counted.

    >>> sorted_counts(PieceCounts.from_mapping({b"the": 3, b"a": 1, b"th": 2})).to_mapping()
    {b'a': 1, b'th': 2, b'the': 3}
    """
    return take(counts, sorted_order(counts))


def in_blocks(counts: PieceCounts, order: np.ndarray, max_pieces: int, max_bytes: int) -> Iterator[PieceCounts]:
    """The pieces of `order` in blocks of at most so many pieces and bytes; a longer piece is a block of its own."""
    ends = np.cumsum(counts.offsets[order + 1] - counts.offsets[order])
    first = 0
    while first < len(order):
        before = int(ends[first - 1]) if first else 0
        last = int(np.searchsorted(ends, before + max_bytes, side="right"))
        last = max(first + 1, min(last, first + max_pieces))
        yield take(counts, order[first:last])
        first = last


def concatenated(parts: list[PieceCounts]) -> PieceCounts:
    """The pieces of all parts, one part after the other. Empties the list, so that each part is freed once copied."""
    arena = np.zeros(sum(int(part.offsets[-1]) for part in parts) + PADDING, dtype=np.uint8)
    offsets = np.zeros(sum(len(part) for part in parts) + 1, dtype=np.int64)
    counts = np.zeros(len(offsets) - 1, dtype=np.int64)
    used, first = 0, 0
    parts.reverse()
    while parts:
        part = parts.pop()
        length, number = int(part.offsets[-1]), len(part)
        arena[used : used + length] = part.arena[:length]
        offsets[first + 1 : first + number + 1] = part.offsets[1:] + used
        counts[first : first + number] = part.counts
        used, first = used + length, first + number
    return PieceCounts(arena=arena, offsets=offsets, counts=counts)
