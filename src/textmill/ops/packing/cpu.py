"""First-fit decreasing in O(log rows) a piece, in Numba."""

import numpy as np
from numba import njit


def first_fit_decreasing(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """int64: the row of each piece, rows being filled up to `capacity`. See `reference.first_fit_decreasing`.

    Memory: 32 bytes a piece while it works.

    >>> first_fit_decreasing(np.array([3, 8, 5, 2, 2]), 10).tolist()
    [1, 0, 1, 0, 1]
    """
    lengths = np.ascontiguousarray(lengths, np.int64)
    assert lengths.ndim == 1
    assert len(lengths) == 0 or (lengths.min() >= 1 and lengths.max() <= capacity), "a length outside 1..capacity"
    num_leaves = 1 << max(0, len(lengths) - 1).bit_length()
    rooms = np.full(2 * num_leaves, capacity, np.int64)
    rows = np.empty(len(lengths), np.int64)
    _first_fit(lengths, np.argsort(-lengths, kind="stable"), rooms, rows)
    return rows


@njit(cache=True, nogil=True)
def _first_fit(lengths, order, rooms, rows):
    """Writes each piece's row. rooms: entry num_leaves + r is the room of row r; entry k < num_leaves the larger one of
    entries 2 k and 2 k + 1, so entry 1 is the most room of all. There is a row for each piece, so the search ends."""
    num_leaves = len(rooms) // 2
    for piece in order:
        length = lengths[piece]
        node = 1
        while node < num_leaves:
            node *= 2
            # the left half has the earlier rows
            if rooms[node] < length:
                node += 1
        rows[piece] = node - num_leaves
        rooms[node] -= length
        node //= 2
        while node >= 1:
            rooms[node] = max(rooms[2 * node], rooms[2 * node + 1])
            node //= 2
