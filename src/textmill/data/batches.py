"""Batches of packed token sequences, each a pure function of the seed and its number.

The ids of a split are seen as a circle, documents one after the other. A *window* predicts `context_length` consecutive
ids, each from the ones before it in the window and the id just before the window. Windows lie side by side around
the circle, so in each epoch every id is a target exactly once: nothing is cropped and nothing is repeated. The id
before the first one is the last one, which is an end-of-text mark if the tokenizer has one: just what a document should
begin after.

Each epoch lays the windows from another place on, so their borders fall differently, and takes them in another order,
given by a keyed permutation. Where the length of the circle is no multiple of the window, the epoch's last window is
filled up with targets that count for nothing. Nothing is stored but the number of the next step: a run goes on
after a stop, or with another number of workers, with the very batches it would have had.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from textmill.data.borders import Borders
from textmill.data.numbered import NumberedBatches
from textmill.data.shards import TokenShards
from textmill.errors import ConfigError, DataError
from textmill.ops.permutation import mixed, permute

IGNORED = -100
"""A target that counts for nothing: the value that torch's cross-entropy leaves out."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Sequences to learn from. Row b, column t of `targets` is the id that follows `tokens[b, : t + 1]`."""

    tokens: np.ndarray
    """int64 [batch, time]"""
    targets: np.ndarray
    """int64 [batch, time]; IGNORED where there is nothing to predict."""
    starts: np.ndarray | None = None
    """int64 [segments + 1], where each stretch begins that attends to itself alone, and batch * time: positions in the
    rows laid one after the other. Every row begins one. None: each row is one."""

    def num_rows(self) -> int:
        """The sequences."""
        return len(self.tokens)

    def num_targets(self) -> int:
        """The targets that count."""
        return int(np.count_nonzero(self.targets != IGNORED))

    def cut(self, first: int, stop: int) -> "Batch":
        """Rows [first, stop) as a batch of their own, `starts` counted from its beginning."""
        starts, stop = self.starts, min(stop, len(self.tokens))
        if starts is not None:
            begin, end = first * self.tokens.shape[1], stop * self.tokens.shape[1]
            lowest, highest = np.searchsorted(starts, (begin, end)).tolist()
            starts = starts[lowest : highest + 1] - begin
        return replace(self, tokens=self.tokens[first:stop], targets=self.targets[first:stop], starts=starts)


class PackedBatches(NumberedBatches[Batch]):
    """An endless stream of batches over one split; `batch(step)` is the same on every call and every machine.

    Args:
        separate: documents that share a window are to be kept apart (`Batch.starts`).

    Raises:
        DataError: the split is shorter than one sequence.
    """

    def __init__(
        self, shards: TokenShards, *, batch_size: int, context_length: int, seed: int = 0, separate: bool = False
    ) -> None:
        check_sizes(batch_size, context_length)
        if shards.num_tokens <= context_length:
            raise DataError(
                f"the {shards.split} split holds {shards.num_tokens} tokens, fewer than one sequence of"
                f" {context_length + 1}",
                fix=f"give more text, or set context_length to at most {max(1, shards.num_tokens - 1)}",
            )
        self.shards, self.batch_size, self.context_length, self.seed = shards, batch_size, context_length, seed
        self.windows_per_epoch = -(-shards.num_tokens // context_length)
        self.borders = Borders(shards) if separate else None

    @property
    def tokens_per_batch(self) -> int:
        """The targets of a batch, but for the filling of an epoch's last window."""
        return self.batch_size * self.context_length

    def batch(self, step: int) -> Batch:
        """The batch of this number, counted from 0 through all epochs."""
        return self.rows(step * self.batch_size, self.batch_size)

    def rows(self, first: int, count: int) -> Batch:
        """The windows numbered [first, first + count) of the endless stream: a worker's slice of a batch, say."""
        begins = np.empty(count, np.int64)
        stops = np.empty(count, np.int64)
        size, length, num_windows = self.shards.num_tokens, self.context_length, self.windows_per_epoch
        done = 0
        while done < count:
            epoch, place = divmod(first + done, num_windows)
            here = slice(done, min(count, done + num_windows - place))
            windows = permute(np.arange(place, place + here.stop - done), num_windows, mixed(self.seed, epoch))
            begins[here] = windows * length + mixed(self.seed, epoch, 1) % size
            stops[here] = np.minimum(size - windows * length, length)
            done = here.stop
        return windows_of(self.shards, begins, np.zeros(count, np.int64), stops, length, self.borders)


def evaluation_batches(
    shards: TokenShards,
    batch_size: int,
    context_length: int,
    max_tokens: int | None = None,
    stride: int | None = None,
    separate: bool = False,
) -> Iterator[Batch]:
    """Batches that hold every id of the split as a target exactly once, in order.

    All batches have the same shape: what is missing in the last is filled with ignored targets.

    Args:
        max_tokens: no more than about so many targets (whole windows), taken evenly from all over the split; all of
            them where the split has no more.
        stride: how many new targets each window adds; fewer than `context_length` gives them longer contexts, at the
            price of more windows. By default all of a window's targets are new.
        separate: documents that share a window are to be kept apart (`Batch.starts`).

    Raises:
        DataError: the split is empty.
        ConfigError: a size below 1, or a stride beyond the context.
    """
    check_sizes(batch_size, context_length)
    stride = context_length if stride is None else stride
    if not 1 <= stride <= context_length:
        raise ConfigError(f"stride must be from 1 to context_length ({context_length}), got {stride}")
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(f"max_tokens must be at least 1, got {max_tokens}")
    if shards.num_tokens == 0:
        raise DataError(
            f"the {shards.split} split of {shards.folder} holds no tokens",
            fix="give more documents, or a larger validation_fraction",
        )
    return _evaluation(shards, batch_size, context_length, max_tokens, stride, Borders(shards) if separate else None)


def _evaluation(
    shards: TokenShards, batch_size: int, length: int, max_tokens: int | None, stride: int, borders: Borders | None
) -> Iterator[Batch]:
    size = shards.num_tokens
    num_windows = 1 + max(0, -(-(size - length) // stride))
    chosen = num_windows
    if max_tokens is not None and max_tokens < size:
        chosen = max(1, max_tokens // stride)
    for first in range(0, chosen, batch_size):
        windows = np.arange(first, min(first + batch_size, chosen)) * num_windows // chosen
        begins = windows * stride
        # a window's first targets are the last window's, but for the first window
        skipped = np.where(windows == 0, 0, length - stride)
        stops = np.minimum(size - begins, length)
        missing = batch_size - len(windows)
        begins, skipped, stops = (np.pad(values, (0, missing)) for values in (begins, skipped, stops))
        yield windows_of(shards, begins, skipped, stops, length, borders)


def windows_of(
    shards: TokenShards,
    begins: np.ndarray,
    firsts: np.ndarray,
    stops: np.ndarray,
    length: int,
    borders: Borders | None = None,
) -> Batch:
    """Row b predicts the ids at positions begins[b] + [firsts[b], stops[b]) of the circle and ignores its others; with
    `borders`, documents are kept apart."""
    size = shards.num_tokens
    # the id before a window is its first input
    positions = (begins - 1) % size
    if int(positions.max()) + length + 1 <= size:
        ids = shards.gather(positions, length + 1)
    else:
        ids = np.stack([around(shards, position, length + 1) for position in positions.tolist()])
    targets = ids[:, 1:]
    columns = np.arange(length)
    if firsts.any() or (stops < length).any():
        counted = (columns >= firsts[:, None]) & (columns < stops[:, None])
        targets = np.where(counted, targets, IGNORED)
    tokens, starts = np.ascontiguousarray(ids[:, :-1]), None
    if borders is not None:
        targets, starts = borders.part(begins % size, tokens, targets, IGNORED)
    return Batch(tokens=tokens, targets=np.ascontiguousarray(targets), starts=starts)


def around(shards: TokenShards, position: int, length: int) -> np.ndarray:
    """`length` ids from `position` on, going on at the beginning after the end."""
    if position + length <= shards.num_tokens:
        return shards.window(position, length)
    parts = []
    while length > 0:
        count = min(length, shards.num_tokens - position)
        parts.append(shards.window(position, count))
        length -= count
        position = 0
    return np.concatenate(parts)


def check_sizes(batch_size: int, context_length: int) -> None:
    """Raises ConfigError for a size below 1."""
    for name, value in (("batch_size", batch_size), ("context_length", context_length)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}", fix=f"set {name} to 1 or more")
