"""Where documents begin inside windows, so that attention can be kept within a document."""

import numpy as np

from textmill.data.shards import TokenShards


class Borders:
    """The document borders of a split. Memory: 16 bytes a document."""

    def __init__(self, shards: TokenShards) -> None:
        self._end_of_text, self._size = shards.end_of_text_id, shards.num_tokens
        starts = np.unique(shards.document_starts)
        self.starts = starts[starts < shards.num_tokens]
        """int64: where each document that is not empty begins in the stream."""
        # twice around the circle: a window may go on at the beginning
        self._twice = np.concatenate([self.starts, self.starts + self._size])

    def follows_end(self, shards: TokenShards) -> np.ndarray:
        """bool: whether the id before each document's first one is an end-of-text mark, from which it is predicted."""
        if self._end_of_text is None or len(self.starts) == 0:
            return np.zeros(len(self.starts), np.bool_)
        return shards.gather((self.starts - 1) % self._size, 1)[:, 0] == self._end_of_text

    def part(
        self, begins: np.ndarray, tokens: np.ndarray, targets: np.ndarray, ignored: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(targets, starts) of windows whose documents are not to mix: `Batch.starts`, and targets without those that
        only another document could predict.

        A document's first id is predicted from the end-of-text mark before it, which says nothing of the text it ends:
        so a stretch begins at that mark. Without a mark, it begins at the document's first id, which is not predicted.

        Args:
            begins: the stream position of each row's first target, from 0 on and below the number of tokens.
        """
        num_rows, length = tokens.shape
        firsts, stops = np.searchsorted(self._twice, begins), np.searchsorted(self._twice, begins + length)
        counts = stops - firsts
        rows = np.repeat(np.arange(num_rows), counts)
        # entry i of a row's borders is number firsts[row] + i of all
        numbers = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(firsts, counts)
        columns = self._twice[numbers] - begins[rows]
        marked = tokens[rows, columns] == (-1 if self._end_of_text is None else self._end_of_text)
        if not marked.all():
            targets = targets.copy()
            targets[rows[~marked], columns[~marked]] = ignored
        # column `length` is the next row's first one, where a stretch begins anyway
        places = rows * length + np.where(marked, columns, columns + 1)
        return targets, np.union1d(places, np.arange(num_rows + 1) * length).astype(np.int64)
