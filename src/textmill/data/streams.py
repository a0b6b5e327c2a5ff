"""Batches whose rows go on where those of the batch before ended, for models that carry a memory along.

The circle of a split's ids (see `batches.py`) is cut into as many contiguous streams as a batch has rows; their lengths
differ by one id at most. Batch s of an epoch holds the s-th piece of every stream, so row b continues row b of the
batch before it, and what a model remembers of row b is what went before. With 2 rows and pieces of 3:

    circle    0 1 2 3 4 5 6 7 8 9 10       targets of   batch 0    batch 1
                                            row 0       0 1 2      3 4 .
                                            row 1       5 6 7      8 9 10

Each epoch begins at another place of the circle, with an empty memory, and has every id as a target exactly once; where
a stream is no multiple of the piece, its last is filled up with targets that count for nothing. A batch is a function
of the seed and its number, and found in the same time wherever it lies.

Source: Graves 2013, arXiv:1308.0850, section 3, carries the state over pieces of 100 symbols.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from textmill.data.batches import Batch, check_sizes, windows_of
from textmill.data.numbered import NumberedBatches
from textmill.data.shards import TokenShards
from textmill.errors import ConfigError, DataError
from textmill.ops.permutation import mixed


@dataclass(frozen=True, kw_only=True)
class StreamBatch(Batch):
    """Pieces of streams. Row b belongs to stream `first_row + b`."""

    continues: bool
    """Whether the rows go on from the batch before; otherwise what was remembered is to be forgotten."""
    first_row: int = 0
    """Above 0 where the batch is a part of a larger one."""

    def cut(self, first: int, stop: int) -> Self:
        """Rows [first, stop), which still know their streams."""
        return replace(
            self,
            tokens=self.tokens[first:stop],
            targets=self.targets[first:stop],
            first_row=self.first_row + first,
        )


class StreamBatches(NumberedBatches[StreamBatch]):
    """An endless sequence of batches over one split; `batch(step)` is the same on every call and every machine.

    Raises:
        ConfigError: a size below 1.
        DataError: the split has fewer ids than the batch has rows.
    """

    def __init__(self, shards: TokenShards, *, batch_size: int, context_length: int, seed: int = 0) -> None:
        check_sizes(batch_size, context_length)
        _check_room(shards, batch_size)
        self.shards, self.batch_size, self.context_length, self.seed = shards, batch_size, context_length, seed
        longest = -(-shards.num_tokens // batch_size)
        self.batches_per_epoch = -(-longest // context_length)

    @property
    def tokens_per_batch(self) -> int:
        """The targets of a batch, but for the filling of an epoch's last."""
        return self.batch_size * self.context_length

    def batch(self, step: int) -> StreamBatch:
        """The batch of this number, counted from 0 through all epochs."""
        epoch, piece = divmod(step, self.batches_per_epoch)
        origin = mixed(self.seed, epoch, 1) % self.shards.num_tokens
        bounds = _bounds(self.shards, self.batch_size)
        return _piece(self.shards, origin + bounds[:-1], np.diff(bounds), piece, self.context_length)


def evaluation_stream(
    shards: TokenShards, batch_size: int, context_length: int, max_tokens: int | None = None
) -> Iterator[StreamBatch]:
    """Batches that hold every id of the split as a target exactly once, each row in order.

    With one row the whole split is one stream, and every id is predicted from all that stand before it, as far as the
    model remembers. More rows are faster and begin as many times with an empty memory.

    Args:
        max_tokens: no more than about so many targets: the beginning of each row's stream. All of them where the split
            has no more.

    Raises:
        ConfigError: a size below 1.
        DataError: the split has fewer ids than the batch has rows.
    """
    check_sizes(batch_size, context_length)
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(f"max_tokens must be at least 1, got {max_tokens}")
    _check_room(shards, batch_size)
    return _evaluation(shards, batch_size, context_length, max_tokens)


def _evaluation(
    shards: TokenShards, batch_size: int, context_length: int, max_tokens: int | None
) -> Iterator[StreamBatch]:
    bounds = _bounds(shards, batch_size)
    lengths = np.diff(bounds)
    if max_tokens is not None and max_tokens < shards.num_tokens:
        lengths = np.minimum(lengths, max(1, max_tokens // batch_size))
    for piece in range(-(-int(lengths.max()) // context_length)):
        yield _piece(shards, bounds[:-1], lengths, piece, context_length)


def _bounds(shards: TokenShards, num_rows: int) -> np.ndarray:
    """Stream b has the targets at positions [bounds[b], bounds[b + 1]), counted from the origin."""
    return np.arange(num_rows + 1) * shards.num_tokens // num_rows


def _piece(shards: TokenShards, begins: np.ndarray, lengths: np.ndarray, piece: int, size: int) -> StreamBatch:
    """The targets [piece * size, (piece + 1) * size) of each stream."""
    stops = np.clip(lengths - piece * size, 0, size)
    begins = (begins + piece * size) % shards.num_tokens
    batch = windows_of(shards, begins, np.zeros_like(begins), stops, size)
    return StreamBatch(tokens=batch.tokens, targets=batch.targets, continues=piece > 0)


def _check_room(shards: TokenShards, num_rows: int) -> None:
    if shards.num_tokens < num_rows:
        raise DataError(
            f"the {shards.split} split holds {shards.num_tokens} tokens, fewer than one for each of {num_rows} rows",
            fix=f"give more text, or set batch_size to at most {max(1, shards.num_tokens)}",
        )
