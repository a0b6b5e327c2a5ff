"""`WordMatcher`: the words of a script that writes no spaces, found in token ids by longest matching."""

from collections.abc import Iterable, Sequence

import numpy as np
from numba import njit

from textmill.errors import DataError
from textmill.ops.masking.rows import flat_int64, row_lengths

_EMPTY = -1
_LARGEST_ID = (1 << 31) - 1


class WordMatcher:
    """Finds words in rows of ids by forward maximum matching: `reference.continues_words` for each row.

    The words are the paths of a trie. Its edges lie in one table, found by the node they leave and their id, so the key
    is exact.

    >>> matcher = WordMatcher([[1, 2], [1, 2, 3], [3, 4]])
    >>> matcher.continues(np.array([1, 2, 3, 4, 9, 3, 4]), np.array([0, 7])).tolist()
    [False, True, True, False, False, False, True]
    """

    def __init__(self, words: Iterable[Sequence[int]]) -> None:
        """words: the ids of each word; words of fewer than two ids change nothing.

        Raises:
            DataError: an id below 0 or from 2**31 on.
        """
        chosen = [tuple(word) for word in words if len(word) > 1]
        offsets = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum([len(word) for word in chosen], out=offsets[1:])
        ids = np.fromiter((id for word in chosen for id in word), np.int64, int(offsets[-1]))
        if ids.size and not (ids.min() >= 0 and ids.max() <= _LARGEST_ID):
            raise DataError(f"ids of words must be from 0 to 2**31-1, got {ids.min()} to {ids.max()}")
        num_slots = 1 << max(4, (2 * len(ids)).bit_length())
        self._slots = np.full((num_slots, 2), _EMPTY, np.int64)
        self._ends = np.zeros(len(ids) + 1, np.bool_)
        _build(ids, offsets, self._slots, self._ends)

    def continues(self, tokens: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """bool [N]: whether each token continues the word of the token before it; no word reaches across rows.

        Raises:
            DataError: tokens that are no whole numbers, or starts that do not fit them.
        """
        tokens, starts = flat_int64(tokens, "tokens"), flat_int64(starts, "starts")
        row_lengths(tokens, starts)
        out = np.zeros(len(tokens), np.bool_)
        _match(tokens, starts, self._slots, self._ends, out)
        return out


@njit(nogil=True, inline="always")
def _slot_of(slots, node, id):
    """The slot of the edge that leaves the node with this id, or the free one where it belongs."""
    key = (node << 32) | id
    mask = len(slots) - 1
    slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
    while slots[slot, 0] != key and slots[slot, 0] != _EMPTY:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _build(ids, offsets, slots, ends):
    """Writes the edges, (key, node they lead to), and whether a word ends in each node.

    There are more than twice as many slots as edges, so a search always meets a free one.
    """
    num_nodes = np.int64(1)
    for word in range(len(offsets) - 1):
        node = np.int64(0)
        for place in range(offsets[word], offsets[word + 1]):
            slot = _slot_of(slots, node, ids[place])
            if slots[slot, 0] == _EMPTY:
                slots[slot, 0] = (node << 32) | ids[place]
                slots[slot, 1] = num_nodes
                num_nodes += 1
            node = slots[slot, 1]
        ends[node] = True


@njit(cache=True, nogil=True)
def _match(tokens, starts, slots, ends, out):
    for row in range(len(starts) - 1):
        place, stop = starts[row], starts[row + 1]
        while place < stop:
            node, here, word_end = np.int64(0), place, place + 1
            while here < stop and 0 <= tokens[here] <= _LARGEST_ID:
                slot = _slot_of(slots, node, tokens[here])
                if slots[slot, 0] == _EMPTY:
                    break
                node = slots[slot, 1]
                here += 1
                if ends[node]:
                    word_end = here
            out[place + 1 : word_end] = True
            place = word_end
