"""Rows of whole documents for next-token training: nothing cropped, nothing lost, no two documents mixed.

A document longer than a row is cut into rows; what is left of it, and shorter documents, are put together by first-fit
decreasing. Attention stays within a piece, so it does not matter which pieces share a row: the rows are laid out once,
and an epoch is an order of the rows, given by a keyed permutation. So a batch is a pure function of the seed and its
number here, too.

`PackedBatches(separate=True)` is the other way to keep documents apart: its windows are full to the last place but cut
a document wherever a border falls. Here a document that fits into a row is never cut, for about one place in a hundred
left empty.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from textmill.data.batches import IGNORED, Batch, PackedBatches, check_sizes
from textmill.data.borders import Borders
from textmill.data.numbered import NumberedBatches
from textmill.data.shards import TokenShards
from textmill.errors import DataError
from textmill.ops.packing import first_fit_decreasing
from textmill.ops.permutation import mixed, permute


@dataclass(frozen=True, kw_only=True)
class PackingReport:
    """What one epoch does with a split's tokens; `tokens` is `trained` and `dropped` together.

    >>> PackingReport(tokens=1000, trained=998, dropped=2, places=1024).fill
    0.974609375
    """

    tokens: int
    """Tokens of the split."""
    trained: int
    """Those that are a target, each once."""
    dropped: int
    """Those that never are: first ids of documents, where no end-of-text mark stands before them to predict them."""
    places: int
    """Rows times their length."""

    @property
    def fill(self) -> float:
        """The share of the places that hold a target."""
        return self.trained / self.places


class PackedDocuments(NumberedBatches[Batch]):
    """An endless stream of batches of whole documents; `batch(step)` is the same on every call and every machine.

    `Batch.starts` says where each piece begins. A piece's first id is predicted from the end-of-text mark before it; in
    shards without such marks it is not predicted. Places that are left empty are ignored targets.

    Memory: 24 bytes a document and row, 56 while it is laid out.

    Raises:
        ConfigError: a size below 1.
        DataError: the split has nothing to predict.
    """

    def __init__(self, shards: TokenShards, *, batch_size: int, context_length: int, seed: int = 0) -> None:
        check_sizes(batch_size, context_length)
        self.shards, self.batch_size, self.context_length, self.seed = shards, batch_size, context_length, seed
        begins, lengths, self._dropped = _pieces(shards, context_length)
        if len(begins) == 0:
            raise DataError(
                f"the {shards.split} split of {shards.folder} holds nothing to predict",
                fix="give more documents, of at least two tokens each",
            )
        rows = first_fit_decreasing(lengths, context_length)
        order = np.argsort(rows, kind="stable")
        self._begins, self._lengths = begins[order], lengths[order]
        self.rows_per_epoch = int(rows.max()) + 1
        # entry r is the number of pieces in the rows before row r
        self._firsts = np.searchsorted(rows[order], np.arange(self.rows_per_epoch + 1))

    def report(self) -> PackingReport:
        """What becomes of the split's tokens."""
        return PackingReport(
            tokens=self.shards.num_tokens,
            trained=int(self._lengths.sum()),
            dropped=self._dropped,
            places=self.rows_per_epoch * self.context_length,
        )

    def batch(self, step: int) -> Batch:
        """The batch of this number, counted from 0 through all epochs."""
        return self.rows(step * self.batch_size, self.batch_size)

    def rows(self, first: int, count: int) -> Batch:
        """The rows numbered [first, first + count) of the endless stream: a worker's slice of a batch, say."""
        chosen = np.empty(count, np.int64)
        done, size = 0, self.rows_per_epoch
        while done < count:
            epoch, place = divmod(first + done, size)
            here = slice(done, min(count, done + size - place))
            chosen[here] = permute(np.arange(place, place + here.stop - done), size, mixed(self.seed, epoch))
            done = here.stop
        return self._filled(chosen, count)

    def in_order(self) -> Iterator[Batch]:
        """Batches that hold every row once: for evaluation. All have the same shape; rows that are missing in the last
        one are filled with ignored targets."""
        for first in range(0, self.rows_per_epoch, self.batch_size):
            yield self._filled(np.arange(first, min(first + self.batch_size, self.rows_per_epoch)), self.batch_size)

    def _filled(self, rows: np.ndarray, num_rows: int) -> Batch:
        """The pieces of these rows, put into a batch of `num_rows`, the last of which may be empty."""
        length = self.context_length
        counts = self._firsts[rows + 1] - self._firsts[rows]
        pieces = _runs(self._firsts[rows], counts)
        lengths = self._lengths[pieces]
        # where each piece begins in the rows laid one after the other: behind the pieces before it in its own row
        before = np.cumsum(lengths) - lengths
        row_begins = np.cumsum(counts) - counts
        columns = before - np.repeat(before[row_begins], counts)
        starts = np.repeat(np.arange(len(rows)) * length, counts) + columns
        places = _runs(starts, lengths)
        positions = _runs(self._begins[pieces], lengths)
        tokens = np.zeros(num_rows * length, np.int64)
        targets = np.full(len(tokens), IGNORED)
        tokens[places] = self.shards.gather((positions - 1) % self.shards.num_tokens, 1)[:, 0]
        targets[places] = self.shards.gather(positions, 1)[:, 0]
        # what is empty at a row's end is a stretch of its own, and so is an empty row
        ends = np.arange(len(rows)) * length + np.add.reduceat(lengths, row_begins)
        starts = np.unique(np.concatenate([starts, ends, np.arange(num_rows + 1) * length]))
        return Batch(tokens=tokens.reshape(-1, length), targets=targets.reshape(-1, length), starts=starts)


def window_report(batches: PackedBatches) -> PackingReport:
    """What becomes of a split's tokens in windows."""
    borders = batches.borders
    dropped = 0 if borders is None else int((~borders.follows_end(batches.shards)).sum())
    tokens = batches.shards.num_tokens
    places = batches.windows_per_epoch * batches.context_length
    return PackingReport(tokens=tokens, trained=tokens - dropped, dropped=dropped, places=places)


def _pieces(shards: TokenShards, length: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(stream position of each piece's first target, its targets, first ids that are in no piece)."""
    borders = Borders(shards)
    skipped = ~borders.follows_end(shards)
    begins = borders.starts + skipped
    sizes = np.append(borders.starts[1:], shards.num_tokens)[: len(begins)] - begins
    counts = -(-sizes // length)
    parts = _runs(np.zeros(len(counts), np.int64), counts)
    lengths = np.minimum(np.repeat(sizes, counts) - parts * length, length)
    return np.repeat(begins, counts) + parts * length, lengths, int(skipped.sum())


def _runs(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """int64: begins[0], begins[0] + 1, ... lengths[0] of them, then those of the next.

    >>> _runs(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    firsts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) + np.repeat(begins - firsts, lengths)
