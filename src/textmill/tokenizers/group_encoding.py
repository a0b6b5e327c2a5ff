"""Many documents to one flat array of ids, for the engines that take a group of documents at once.

A group of documents is copied one after the other into a buffer that its thread keeps, and encoded there with few calls
of kernels. With several threads each takes the next group; the ids are put together in the order of the documents, so
the result is the same for any number of threads.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from textmill.ops.memory import PADDING
from textmill.tokenizers.engine import check_size
from textmill.tokenizers.pipeline import Buffer
from textmill.tokenizers.threads import InOrder, share_out

GROUP_BYTES = 1 << 19
"""Text that one thread takes at a time; one document may be longer."""
_MOST_KEPT_BYTES = 4 * GROUP_BYTES


class GroupEncoder(Protocol):
    """One thread's encoder of documents that lie one after the other."""

    def encode_group(self, text: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids, int64 how many each document has): document i is text[bounds[i]:bounds[i + 1]], bounds int64.

        The ids may be good until the next call only.
        """
        ...


class DocumentGroups:
    """A thread's encoder, and those that it lends to others."""

    def __init__(self, own: GroupEncoder, make: Callable[[], GroupEncoder]) -> None:
        self._own = _Worker(own)
        self._make = make
        self._idle: deque[_Worker] = deque()

    def encode(self, documents: Sequence[Buffer], threads: int) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all documents, int64 offsets): document i has ids[offsets[i]:offsets[i + 1]].

        Raises:
            DataError: 2 GiB or more in one document.
        """
        for document in documents:
            check_size(document)
        groups, result = _groups(documents), InOrder(sum(map(len, documents)))

        def encode(worker: _Worker, number: int) -> None:
            ids, counts = worker.encode(groups[number])
            # alone, the ids are in their place before the next call uses their memory again
            result.put(number, ids if len(workers) == 1 else ids.copy(), np.cumsum(counts))

        workers = [self._own, *(self._borrow() for _ in range(min(threads, len(groups)) - 1))]
        share_out(len(groups), workers, encode)
        self._idle.extend(workers[1:])
        return result.finished()

    def _borrow(self) -> "_Worker":
        # what a worker has met stays in its cache for the next call
        return self._idle.pop() if self._idle else _Worker(self._make())


class _Worker:
    """An encoder and the memory that it reads from."""

    def __init__(self, encoder: GroupEncoder) -> None:
        self._encoder = encoder
        self._text = np.empty(PADDING, dtype=np.uint8)

    def encode(self, documents: Sequence[Buffer]) -> tuple[np.ndarray, np.ndarray]:
        bounds = np.zeros(len(documents) + 1, dtype=np.int64)
        np.cumsum([len(document) for document in documents], out=bounds[1:])
        size, text = int(bounds[-1]), self._text
        if len(text) < size + PADDING:
            text = np.empty(size + PADDING, dtype=np.uint8)
            if size <= _MOST_KEPT_BYTES:
                self._text = text
        # filling a slice of a view costs a third of what it costs in an array
        view, at = text.data, 0
        for document in documents:
            view[at : at + len(document)] = document
            at += len(document)
        text[size : size + PADDING] = 0
        return self._encoder.encode_group(text, bounds)


def _groups(documents: Sequence[Buffer]) -> list[Sequence[Buffer]]:
    """The documents in groups of about `GROUP_BYTES`, in order; a long one is alone."""
    starts, size = [0], 0
    for number, document in enumerate(documents):
        if size and size + len(document) > GROUP_BYTES:
            starts.append(number)
            size = 0
        size += len(document)
    return [documents[start:stop] for start, stop in pairwise([*starts, len(documents)]) if start < stop]
