"""Numbered batches as an endless stream that can stop anywhere and go on."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

B = TypeVar("B")


class NumberedBatches(ABC, Generic[B]):
    """What all kinds of batches share. As the batch of a number is always the same, a number is all there is to keep.

    >>> class Squares(NumberedBatches[int]):
    ...     def batch(self, step: int) -> int:
    ...         return step * step
    >>> squares = Squares()
    >>> squares.resume({"step": 3})
    >>> next(iter(squares)), squares.state()
    (9, {'step': 4})
    """

    step = 0
    """The number of the batch that iteration gives next."""

    @abstractmethod
    def batch(self, step: int) -> B:
        """The batch of this number, counted from 0 through all epochs."""

    def __iter__(self) -> Iterator[B]:
        while True:
            batch = self.batch(self.step)
            self.step += 1
            yield batch

    def state(self) -> dict[str, int]:
        """All there is to remember."""
        return {"step": self.step}

    def resume(self, state: Mapping[str, int]) -> None:
        """Goes on where `state` was taken."""
        self.step = state["step"]
