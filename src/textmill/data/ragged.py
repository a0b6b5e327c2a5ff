"""A batch without padding: sequences of any lengths, one after the other."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class RaggedBatch:
    """Sequences to learn from, row r of which is tokens[starts[r] : starts[r + 1]], and what to predict in them.

    >>> batch = RaggedBatch(
    ...     tokens=np.array([2, 4, 9, 3, 2, 8, 3]),  # 4 is the mask
    ...     starts=np.array([0, 4, 7]),
    ...     places=np.array([1, 5]),
    ...     targets=np.array([7, 8]),
    ... )
    >>> batch.num_rows(), batch.num_targets(), batch.replaced().tolist()
    (2, 2, [True, False])
    >>> second = batch.cut(1, 2)
    >>> second.tokens.tolist(), second.starts.tolist(), second.places.tolist(), second.targets.tolist()
    ([2, 8, 3], [0, 3], [1], [8])
    """

    tokens: np.ndarray
    """int64 [N], what the model sees."""
    starts: np.ndarray
    """int64 [R + 1], where each sequence begins, and N."""
    places: np.ndarray
    """int64 [M], the positions in `tokens` to predict, ascending."""
    targets: np.ndarray
    """int64 [M], the id that stands at each place in the text."""
    types: np.ndarray | None = None
    """int64 [N], 0 in a pair's first sentence and 1 in its second; None: there are no pairs."""
    labels: np.ndarray | None = None
    """int64 [R], the label of each pair of sentences: 0 where the second follows the first. None: no pairs."""

    def __post_init__(self) -> None:
        assert len(self.starts) >= 1
        assert self.starts[0] == 0
        assert self.starts[-1] == len(self.tokens)
        assert len(self.places) == len(self.targets)
        assert self.types is None or len(self.types) == len(self.tokens)
        assert self.labels is None or len(self.labels) == len(self.starts) - 1

    def num_rows(self) -> int:
        """The sequences."""
        return len(self.starts) - 1

    def num_targets(self) -> int:
        """The places to predict."""
        return len(self.places)

    def replaced(self) -> np.ndarray:
        """bool [M]: whether another token than the text's stands at each place (what ELECTRA's detection predicts)."""
        return self.tokens[self.places] != self.targets

    def cut(self, first: int, stop: int) -> "RaggedBatch":
        """Rows [first, stop) as a batch of their own, positions counted from its beginning."""
        starts = self.starts[first : stop + 1]
        begin, end = int(starts[0]), int(starts[-1])
        lowest, highest = np.searchsorted(self.places, (begin, end)).tolist()
        return RaggedBatch(
            tokens=self.tokens[begin:end],
            starts=starts - begin,
            places=self.places[lowest:highest] - begin,
            targets=self.targets[lowest:highest],
            types=None if self.types is None else self.types[begin:end],
            labels=None if self.labels is None else self.labels[first:stop],
        )
