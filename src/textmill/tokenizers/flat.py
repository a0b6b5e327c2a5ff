"""Many documents to one flat array of ids: what the fast path is made of.

Documents are copied one after the other into a buffer that stays in the CPU's second-level cache, cut into pieces and
encoded there, and their ids written to the place where they stay. With several threads, each takes the next group of
documents, and the ids are put together in the order of the documents. So the result is the same for any number of
threads.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from textmill.ops.bpe import OUT_SLACK, BpeEncoder, FlatIds
from textmill.ops.memory import PADDING
from textmill.ops.split import BLOCK_PIECES, Splitter, cpu_windows
from textmill.ops.split.classes import class_table
from textmill.tokenizers.pipeline import Buffer
from textmill.tokenizers.threads import InOrder, share_out

GROUP_BYTES = 1 << 19
"""Text that one thread takes at a time."""
_MOST_KEPT_BYTES = 2 * GROUP_BYTES
"""A longer document is encoded in memory of its own."""
_PART_BYTES = 1 << 28
"""Text whose ids are gathered in one array; the ids of what follows are put together with a copy."""
_NO_MARKS = np.empty(0, dtype=np.int64)
Group = tuple[Sequence[Buffer], np.ndarray]
"""Documents, and their bounds as `DocumentEncoder.encode` takes them."""
_PIECES_AT_ONCE = 1 << 16
_MARKS_AT_ONCE = 1 << 12


class DocumentEncoder:
    """One thread's encoder, and the memory it works in."""

    def __init__(self, split: Splitter, encoder: BpeEncoder) -> None:
        self._split = split
        self._encoder = encoder.clone()
        self._kernel = cpu_windows.KERNELS.get(split.name)
        self._classes = class_table()
        self._text = np.empty(PADDING, dtype=np.uint8)
        spare = cpu_windows.SPARE_ENDS
        self._ends = np.empty(BLOCK_PIECES if self._kernel is None else _PIECES_AT_ONCE + spare, dtype=np.int32)
        self._marks = np.empty(_MARKS_AT_ONCE, dtype=np.int64)
        self._state = np.zeros(cpu_windows.STATE_WORDS, dtype=np.int64)
        self._ids = np.empty(0, dtype=np.int32)

    def room(self, num_bytes: int) -> FlatIds:
        """Empty room for the ids of so much text, which the next call uses again."""
        ids = self._ids
        if len(ids) < num_bytes + OUT_SLACK:
            ids = np.empty(num_bytes + OUT_SLACK, dtype=np.int32)
            if num_bytes <= _MOST_KEPT_BYTES:
                self._ids = ids
        return FlatIds.within(ids)

    def encode(self, documents: Sequence[Buffer], bounds: np.ndarray, into: FlatIds) -> np.ndarray:
        """Appends the ids of the documents to `into`. int64: how many ids it then holds up to each document's end.

        bounds: int64, 0, and where each document ends when they lie one after the other.
        """
        return self.encode_text(self._joined(documents, bounds), bounds, into)

    def encode_text(self, text: np.ndarray, bounds: np.ndarray, into: FlatIds) -> np.ndarray:
        """As `encode`, of documents that lie one after the other: document i is text[bounds[i]:bounds[i + 1]].

        text: padded. Each document has less than 2 GiB.
        """
        if self._kernel is None:
            counts = np.empty(len(bounds) - 1, dtype=np.int64)
            for number in range(len(counts)):
                start, stop = int(bounds[number]), int(bounds[number + 1])
                for origin, ends in self._split.blocks(text, start, stop, self._ends):
                    self._encoder.encode_flat(text, origin, ends, _NO_MARKS, into)
                counts[number] = into.count
            return counts
        state, counted = self._state, []
        state[cpu_windows.DOCUMENT], state[cpu_windows.AT] = 0, bounds[0]
        while state[cpu_windows.DOCUMENT] < len(bounds) - 1:
            start = int(state[cpu_windows.AT])
            count = self._kernel(text, bounds, state, self._ends, self._marks, self._classes)
            marks = self._marks[: state[cpu_windows.NUM_MARKS]]
            counted.append(self._encoder.encode_flat(text, start, self._ends[:count], marks, into))
        return counted[0] if len(counted) == 1 else np.concatenate([_NO_MARKS, *counted])

    def _joined(self, documents: Sequence[Buffer], bounds: np.ndarray) -> np.ndarray:
        """The documents and the padding after them, in memory that the next call uses again."""
        size = int(bounds[-1])
        text = self._text
        if len(text) < size + PADDING:
            text = np.empty(size + PADDING, dtype=np.uint8)
            if size <= _MOST_KEPT_BYTES:
                self._text = text
        # filling a slice of a view costs a third of what it costs in an array
        view = text.data
        for document, (start, stop) in zip(documents, pairwise(bounds.tolist()), strict=True):
            view[start:stop] = document
        text[size : size + PADDING] = 0
        return text


class EncoderPool:
    """Encoders that threads borrow, so that what one thread has met is known to the next that borrows it."""

    def __init__(self, make: Callable[[], DocumentEncoder]) -> None:
        self._make = make
        self._idle: deque[DocumentEncoder] = deque()

    def borrow(self) -> DocumentEncoder:
        """An encoder of one's own until it is given back."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()

    def give_back(self, encoder: DocumentEncoder) -> None:
        self._idle.append(encoder)


def encode_documents(
    documents: Sequence[Buffer], own: DocumentEncoder, pool: EncoderPool, *, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """(int32 ids of all documents, int64 offsets): document i has ids[offsets[i]:offsets[i + 1]].

    Each document is bytes, or a view whose elements are bytes, of less than 2 GiB.

    Args:
        own: the encoder of the calling thread.
        pool: encoders for the other threads.
    """
    parts = []
    bounds = np.zeros(len(documents) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, documents), np.int64, len(documents)), out=bounds[1:])
    for first, after in _groups(bounds, _PART_BYTES):
        part, within = documents[first:after], bounds[first : after + 1]
        groups = [(part[i:k], within[i : k + 1] - within[i]) for i, k in _shares(within, threads)]
        alone = threads <= 1 or len(groups) == 1
        parts.append(_in_turn(groups, own) if alone else _in_threads(groups, own, pool, threads))
    if len(parts) == 1:
        return parts[0]
    ids = np.concatenate([part_ids for part_ids, _ in parts]) if parts else np.empty(0, dtype=np.int32)
    shifts = np.cumsum([0, *(len(part_ids) for part_ids, _ in parts)])
    offsets = [part_offsets[1:] + shift for (_, part_offsets), shift in zip(parts, shifts, strict=False)]
    return ids, np.concatenate([np.zeros(1, dtype=np.int64), *offsets])


def _groups(bounds: np.ndarray, most_bytes: int) -> list[tuple[int, int]]:
    """(number of the first document, and of the one after the last) of groups of about so many bytes, in order."""
    # a document goes to the group in which its last byte stands
    first = np.flatnonzero(np.diff((bounds[1:] - bounds[0]) // most_bytes, prepend=-1)).tolist()
    return list(pairwise([*first, len(bounds) - 1]))


def _shares(bounds: np.ndarray, threads: int) -> list[tuple[int, int]]:
    """As `_groups`, for so many threads: large groups first, small ones at the end, so that all end together."""
    if threads <= 1:
        return _groups(bounds, GROUP_BYTES)
    # threads hand the interpreter to one another between groups: fewer of them wait less
    last = int(np.searchsorted(bounds, bounds[-1] - 2 * threads * GROUP_BYTES))
    shares = _groups(bounds[: last + 1], 2 * GROUP_BYTES) if last else []
    return shares + [(last + first, last + after) for first, after in _groups(bounds[last:], GROUP_BYTES // 4)]


def _in_turn(groups: list[Group], own: DocumentEncoder) -> tuple[np.ndarray, np.ndarray]:
    into = FlatIds(sum(int(bounds[-1]) for _, bounds in groups))
    offsets = [own.encode(documents, bounds, into) for documents, bounds in groups]
    return into.take(), np.concatenate([np.zeros(1, dtype=np.int64), *offsets])


def _in_threads(
    groups: list[Group], own: DocumentEncoder, pool: EncoderPool, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    result = InOrder(sum(int(bounds[-1]) for _, bounds in groups))
    borrowed = [pool.borrow() for _ in range(min(threads, len(groups)) - 1)]

    def encode(encoder: DocumentEncoder, number: int) -> None:
        into = encoder.room(int(groups[number][1][-1]))
        ends = encoder.encode(*groups[number], into)
        result.put(number, into.array[: into.count].copy(), ends)

    share_out(len(groups), [own, *borrowed], encode)
    for encoder in borrowed:
        pool.give_back(encoder)
    return result.finished()
