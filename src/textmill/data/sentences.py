"""Where the sentences of documents lie in their ids.

Document d with n sentences has n + 1 *bounds*: sentence j is the ids from bound j to bound j + 1. The bounds of all
documents stand one after the other in one array. So a mark at a document's end belongs to no sentence, and a document
without a sentence has one bound, where it begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SentenceTable:
    """The sentences of documents, in order."""

    counts: np.ndarray
    """int64 [documents]: sentences of each document."""
    bounds: np.ndarray
    """int64 [sentences + documents]: positions in the ids, ascending within a document."""

    @property
    def num_sentences(self) -> int:
        return len(self.bounds) - len(self.counts)

    def firsts(self) -> np.ndarray:
        """int64 [documents + 1]: where each document's bounds begin in `bounds`, and their number.

        >>> SentenceTable(np.array([2, 0, 1]), np.array([0, 3, 5, 6, 7, 9])).firsts()
        array([0, 3, 4, 6])
        """
        firsts = np.zeros(len(self.counts) + 1, np.int64)
        np.cumsum(self.counts + 1, out=firsts[1:])
        return firsts

    def fits(self, documents: np.ndarray) -> bool:
        """Whether the sentences lie inside their documents, which begin at `documents[:-1]` and end at the next."""
        if len(self.counts) != len(documents) - 1 or (len(self.counts) and self.counts.min() < 0):
            return False
        firsts = self.firsts()
        if len(self.bounds) != firsts[-1]:
            return False
        if len(self.bounds) == 0:
            return True
        rising = np.diff(self.bounds) > 0
        rising[firsts[1:-1] - 1] = True
        begins, ends = self.bounds[firsts[:-1]], self.bounds[firsts[1:] - 1]
        return bool(rising.all() and (begins >= documents[:-1]).all() and (ends <= documents[1:]).all())

    def moved(self, positions: int) -> "SentenceTable":
        """The same sentences so many positions further on."""
        return self if positions == 0 else SentenceTable(self.counts, self.bounds + positions)


def joined(tables: Sequence[SentenceTable]) -> SentenceTable:
    """The tables one after the other; one alone is given back as it is, uncopied."""
    if len(tables) == 1:
        return tables[0]
    empty = [np.zeros(0, np.int64)]
    return SentenceTable(
        np.concatenate(empty + [table.counts for table in tables]),
        np.concatenate(empty + [table.bounds for table in tables]),
    )


def sentence_table(numbers: Sequence[int], offsets: np.ndarray) -> tuple[SentenceTable, np.ndarray]:
    """The table of documents whose sentences were encoded one by one, and where each document begins, and the end.

    Args:
        numbers: how many texts of sentences each document has; one that gave no id is no sentence.
        offsets: where each sentence's ids begin, and the number of all ids.

    >>> table, documents = sentence_table([2, 0, 2], np.array([0, 3, 3, 5, 6]))
    >>> table.counts, table.bounds, documents
    (array([1, 0, 2]), array([0, 3, 3, 3, 5, 6]), array([0, 3, 3, 6]))
    """
    ends = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(numbers, out=ends[1:])
    documents = offsets[ends]
    real = np.diff(offsets) > 0
    # entry i: the sentences among the first i texts
    before = np.zeros(len(real) + 1, np.int64)
    np.cumsum(real, out=before[1:])
    counts = np.diff(before[ends])
    bounds = np.insert(offsets[1:][real], before[ends[:-1]], documents[:-1])
    return SentenceTable(counts, bounds.astype(np.int64)), documents.astype(np.int64)
