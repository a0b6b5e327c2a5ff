"""Kernels for where tokens stand, in bytes and in characters: running sums of what the tables know of each id.

A byte that continues no character of UTF-8 begins none. So how many characters begin in a token, and whether the token
begins inside one, follows from its id alone, wherever it stands; the text need not be looked at.
"""

import numpy as np
from numba import njit

_INSIDE = np.int32(1)


@njit(cache=True, nogil=True)
def add_up(ids, lengths, bounds):
    """bool: whether every id has a length.

    bounds (int32, one more than ids): token i is bytes bounds[i] to bounds[i + 1].
    """
    at, num_ids = np.int32(0), np.uint32(len(lengths))
    bounds[0] = at
    for i in range(len(ids)):
        # a negative id becomes a large one
        number = np.uint32(ids[i])
        if number >= num_ids:
            return False
        at += lengths[number]
        bounds[i + 1] = at
    return True


@njit(cache=True, nogil=True)
def add_up_characters(ids, begun, starts, ends):
    """bool: whether every id has an entry in `begun`.

    begun (int32): characters that begin in the token << 1 | whether the token begins inside one.
    starts, ends (int32): token i holds at least one byte of characters starts[i] to ends[i] - 1.
    """
    at, num_ids = np.int32(0), np.uint32(len(begun))
    for i in range(len(ids)):
        # a negative id becomes a large one
        number = np.uint32(ids[i])
        if number >= num_ids:
            return False
        entry = begun[number]
        # a token that begins inside a character has that one too
        starts[i] = at - (entry & _INSIDE)
        at += entry >> _INSIDE
        ends[i] = at
    return True
