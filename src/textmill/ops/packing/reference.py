"""The definition of first-fit decreasing, in plain Python.

Source: Johnson 1973, Near-optimal bin packing algorithms. It never needs more than 11/9 of the fewest rows, and 6/9 of
a row.
"""

from collections.abc import Sequence


def first_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[int]:
    """The row of each piece: the longest piece first, among equals the earlier one, goes into the first row that has
    room for it.

    >>> first_fit_decreasing([3, 8, 5, 2, 2], 10)
    [1, 0, 1, 0, 1]
    """
    rooms: list[int] = []
    rows = [0] * len(lengths)
    for piece in sorted(range(len(lengths)), key=lambda piece: -lengths[piece]):
        row = next((row for row, room in enumerate(rooms) if room >= lengths[piece]), len(rooms))
        if row == len(rooms):
            rooms.append(capacity)
        rooms[row] -= lengths[piece]
        rows[piece] = row
    return rows
