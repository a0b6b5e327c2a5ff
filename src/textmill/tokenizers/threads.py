"""Groups of documents encoded by several threads into one flat array of ids, the same for any number of threads."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from textmill.ops.bpe import FlatIds

Worker = TypeVar("Worker")


class InOrder:
    """The ids of groups, which may be finished in any order, one after the other in one array.

    Each group's ids go to their place as soon as all before them are there, moved by the thread that brought the last
    one missing, while the others encode. So the array is written from front to back, and no memory is touched that
    isn't filled.
    """

    def __init__(self, num_bytes: int) -> None:
        """num_bytes: of text in all groups."""
        self._into = FlatIds(num_bytes)
        self._offsets: list[np.ndarray] = [np.zeros(1, dtype=np.int64)]
        self._early: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._next = 0
        self._busy = False
        self._lock = threading.Lock()

    def put(self, number: int, ids: np.ndarray, ends: np.ndarray) -> None:
        """ids: int32, of group `number`, kept until they are in their place. ends: int64, the ids of the group up to
        the end of each of its documents."""
        with self._lock:
            self._early[number] = (ids, ends)
            if self._busy:
                # whoever is at it finds these too
                return
            self._busy = True
        while True:
            with self._lock:
                if self._next not in self._early:
                    self._busy = False
                    return
                ids, ends = self._early.pop(self._next)
                self._next += 1
            into = self._into
            done, after = into.count, into.count + len(ids)
            if after > len(into.array):
                into.grow(done, len(ids))
            # NumPy lets other threads run while it copies
            into.array[done:after] = ids
            self._offsets.append(ends + done)
            into.count = after

    def finished(self) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids, int64 offsets of the documents), once every group was put."""
        return self._into.take(), np.concatenate(self._offsets)


def share_out(num_groups: int, workers: Sequence[Worker], encode: Callable[[Worker, int], None]) -> None:
    """Calls `encode(worker, number)` once for every group, each worker in a thread of its own, the first in this one.

    Each thread takes the next group when it is done with one. The first error ends all of them, and is raised.
    """
    waiting = iter(range(num_groups))
    errors: list[BaseException] = []

    def work(worker: Worker) -> None:
        try:
            # taking an item from an iterator is one step, which no other thread can come between
            for number in waiting:
                if errors:
                    break
                encode(worker, number)
        except BaseException as error:
            errors.append(error)

    helpers = [threading.Thread(target=work, args=(worker,)) for worker in workers[1:]]
    for helper in helpers:
        helper.start()
    work(workers[0])
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
