"""Counting pieces: how often each distinct piece of the texts occurs.

The table owns a copy of each distinct piece, so memory follows the number of distinct pieces and not the corpus, and
texts may be dropped as soon as they are counted. Counts are 64 bits wide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from textmill.errors import DataError
from textmill.ops.bpe import cpu_count as kernels
from textmill.ops.bpe.keys import bad_ends, check_block
from textmill.ops.memory import PADDING, padded

_FIRST_TABLE_BITS = 14
_FIRST_ARENA_BYTES = 1 << 18
_MERGE_BYTES = 1 << 26


@dataclass(frozen=True, kw_only=True)
class PieceCounts:
    """Distinct pieces and how often each occurs, in order of first appearance.

    >>> counts = PieceCounts.from_mapping({b"the": 3, b" cat": 1})
    >>> counts.piece(1), counts.counts.tolist(), len(counts)
    (b' cat', [3, 1], 2)
    """

    arena: np.ndarray
    """uint8: all pieces one after the other, then padding."""
    offsets: np.ndarray
    """int64[n + 1]: piece i is arena[offsets[i] : offsets[i + 1]]."""
    counts: np.ndarray
    """int64[n]: occurrences of each piece."""

    def __len__(self) -> int:
        return len(self.counts)

    def piece(self, index: int) -> bytes:
        """The bytes of one piece."""
        return self.arena[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def to_mapping(self) -> dict[bytes, int]:
        """Piece -> count."""
        return {self.piece(index): int(count) for index, count in enumerate(self.counts)}

    def check(self) -> None:
        """Whether the arrays are what the kernels rely on.

        Raises:
            DataError: a wrong dtype or length, offsets that fall or leave the arena, or a count below 0.
        """
        arrays = ((self.arena, np.uint8), (self.offsets, np.int64), (self.counts, np.int64))
        flat = all(array.dtype == dtype and array.ndim == 1 and array.flags.c_contiguous for array, dtype in arrays)
        if not flat or len(self.offsets) != len(self.counts) + 1:
            raise DataError(
                "counted pieces are flat arrays: a uint8 arena, n + 1 int64 offsets and n int64 counts",
                fix="use PieceCounter or PieceCounts.from_mapping",
            )
        inside = self.offsets[0] >= 0 and int(self.offsets[-1]) + PADDING <= len(self.arena)
        if not inside or np.any(self.offsets[1:] < self.offsets[:-1]) or np.any(self.counts < 0):
            raise DataError(
                f"the offsets of counted pieces rise and end {PADDING} bytes before the arena, and counts are >= 0",
                fix="use PieceCounter or PieceCounts.from_mapping",
            )

    @classmethod
    def from_mapping(cls, counts: Mapping[bytes, int]) -> Self:
        """The same counts as arrays.

        Raises:
            DataError: an empty piece, or a count below 0.
        """
        for piece, count in counts.items():
            if not piece or count < 0:
                raise DataError(
                    f"a counted piece has bytes and a count >= 0, got {piece!r}: {count}", fix="leave it out"
                )
        offsets = np.zeros(len(counts) + 1, dtype=np.int64)
        offsets[1:] = np.cumsum([len(piece) for piece in counts], dtype=np.int64)
        arena = padded(b"".join(counts))
        return cls(arena=arena, offsets=offsets, counts=np.array(list(counts.values()), dtype=np.int64))


class PieceCounter:
    """Counts pieces over any number of texts. Not for two threads at once: count apart, then `merge`.

    >>> from textmill.ops.memory import padded
    >>> counter = PieceCounter()
    >>> counter.add(padded(b"a cat a"), 0, np.array([1, 5, 7], np.int32))
    >>> counter.counts().to_mapping()
    {b'a': 1, b' cat': 1, b' a': 1}
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets all pieces."""
        self._table = np.zeros((1 << _FIRST_TABLE_BITS, kernels.ENTRY_WORDS), dtype=np.int64)
        self._offsets = np.zeros((1 << (_FIRST_TABLE_BITS - 1)) + 1, dtype=np.int64)
        self._arena = np.zeros(_FIRST_ARENA_BYTES + PADDING, dtype=np.uint8)
        self._state = np.zeros(kernels.STATE_WORDS, dtype=np.int64)

    @property
    def num_unique(self) -> int:
        """How many distinct pieces there are."""
        return int(self._state[kernels.NUM_UNIQUE])

    @property
    def memory_bytes(self) -> int:
        """What the table and the copies of the pieces take."""
        return self._table.nbytes + self._offsets.nbytes + self._arena.nbytes

    def add(
        self,
        text: np.ndarray,
        start: int,
        ends: np.ndarray,
        num_pieces: int | None = None,
        *,
        weights: np.ndarray | None = None,
    ) -> None:
        """Counts the pieces of text that end at start + ends[0], start + ends[1], ...; the first begins at start.

        weights: int64, how often each piece counts; once if not given.

        Raises:
            DataError: the block is not what a splitter makes (see `check_block`), its ends do not grow, or the weights
                do not match them.
        """
        ends = check_block(text, start, ends, num_pieces)
        if weights is None:
            weights = np.ones(1, dtype=np.int64)
        elif weights.dtype != np.int64 or len(weights) != len(ends):
            raise DataError(
                f"weights must be int64, one for each of {len(ends)} pieces, got {len(weights)} of {weights.dtype}"
            )
        self._add(text, start, ends, weights)

    def merge(self, other: "PieceCounter") -> None:
        """Adds the counts of another counter, as if its texts had been counted here after ours."""
        self.add_counts(other.counts())

    def add_counts(self, counts: PieceCounts) -> None:
        """Adds counted pieces, each as often as it was counted."""
        first = 0
        while first < len(counts):
            # ends are 32-bit numbers: one piece fits, many long ones may not
            start = int(counts.offsets[first])
            last = int(np.searchsorted(counts.offsets, start + _MERGE_BYTES, side="right")) - 1
            last = max(first + 1, last)
            ends = (counts.offsets[first + 1 : last + 1] - start).astype(np.int32)
            self._add(counts.arena, start, check_block(counts.arena, start, ends, None), counts.counts[first:last])
            first = last

    def counts(self) -> PieceCounts:
        """What was counted so far, as arrays of its own."""
        borrowed, arena_used = self.borrowed_counts(), int(self._state[kernels.ARENA_USED])
        arena = np.zeros(arena_used + PADDING, dtype=np.uint8)
        arena[:arena_used] = borrowed.arena[:arena_used]
        return PieceCounts(arena=arena, offsets=borrowed.offsets.copy(), counts=borrowed.counts)

    def index_arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(table, arena, offsets), not copied: what `cpu_count.find_index` needs to find a piece's index."""
        return self._table, self._arena, self._offsets

    def borrowed_counts(self) -> PieceCounts:
        """As `counts`, but the arena and the offsets are those of the table: good until the next change."""
        num_unique = self.num_unique
        counts = np.zeros(num_unique, dtype=np.int64)
        kernels.read_counts(self._table, counts)
        return PieceCounts(arena=self._arena, offsets=self._offsets[: num_unique + 1], counts=counts)

    def _add(self, text: np.ndarray, start: int, ends: np.ndarray, weights: np.ndarray) -> None:
        self._state[kernels.CURSOR] = 0
        while self._state[kernels.CURSOR] < len(ends):
            status = kernels.count_pieces(
                text, start, ends, weights, self._table, self._offsets, self._arena, self._state
            )
            if status == kernels.BAD_ENDS:
                raise bad_ends()
            if status == kernels.TABLE_FULL:
                self._grow_table()
            elif status == kernels.ARENA_FULL:
                self._grow_arena(int(self._state[kernels.BYTES_NEEDED]))

    def _grow_table(self, factor: int = 4) -> None:
        grown = np.zeros((factor * len(self._table), kernels.ENTRY_WORDS), dtype=np.int64)
        kernels.rehash(self._table, grown)
        self._table = grown
        self._offsets = np.concatenate([self._offsets, np.zeros(len(grown) // 2 + 1 - len(self._offsets), np.int64)])

    def _grow_arena(self, needed: int) -> None:
        used = int(self._state[kernels.ARENA_USED])
        grown = np.zeros(max(2 * used, used + needed) + PADDING, dtype=np.uint8)
        grown[:used] = self._arena[:used]
        self._arena = grown
