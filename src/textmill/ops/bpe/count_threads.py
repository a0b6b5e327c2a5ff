"""Counting with several threads: each has a counter of its own, and the counters are added up at the end.

Which thread takes which text is up to chance, and so is the order in which pieces appear; the counts are not. Training
looks at counts only, so its result is the same for any number of threads; `sorted_counts` puts the pieces in an order
that is the same, too.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from textmill.errors import ConfigError
from textmill.ops.bpe.count import PieceCounter

Item = TypeVar("Item")


def count_in_threads(
    items: Iterable[Item], count: Callable[[PieceCounter, Item], None], *, num_threads: int
) -> PieceCounter:
    """A counter of all items. count: adds one item to a counter; called by several threads at once.

    Items are taken one at a time, as threads become free, so a stream is never held as a whole.

    Raises:
        ConfigError: num_threads below 1.
    """
    if num_threads < 1:
        raise ConfigError(f"num_threads must be >= 1, got {num_threads}", fix="1 counts without threads")
    if num_threads == 1:
        counter = PieceCounter()
        for item in items:
            count(counter, item)
        return counter
    queue = _Queue(iter(items))
    counters = [PieceCounter() for _ in range(num_threads)]
    threads = [threading.Thread(target=_work, args=(queue, counter, count)) for counter in counters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if queue.error is not None:
        raise queue.error
    whole = counters[0]
    while len(counters) > 1:
        # frees each counter once it is added
        whole.merge(counters.pop())
    return whole


class _Queue(Generic[Item]):
    """Items that threads share, and the first error that one of them met."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self._lock = threading.Lock()
        self.error: BaseException | None = None

    def take(self) -> tuple[Item] | None:
        """The next item in a tuple, or None when there is none or a thread has failed."""
        with self._lock:
            if self.error is not None:
                return None
            try:
                return (next(self._items),)
            except StopIteration:
                return None
            except BaseException as error:
                self.error = error
                return None

    def fail(self, error: BaseException) -> None:
        with self._lock:
            self.error = self.error or error


def _work(queue: _Queue[Item], counter: PieceCounter, count: Callable[[PieceCounter, Item], None]) -> None:
    try:
        while (taken := queue.take()) is not None:
            count(counter, taken[0])
    except BaseException as error:
        queue.fail(error)
