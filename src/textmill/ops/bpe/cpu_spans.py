"""Kernels for where tokens stand, in bytes and in characters: running sums of what the tables know of each id.

A byte that continues no character of UTF-8 begins none. So how many characters begin in a token, and whether the token
begins inside one, follows from its id alone, wherever it stands; the text need not be looked at.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, keep, load32, store32


@njit(cache=True, nogil=True)
def add_up(ids, lengths, bounds):
    """bool: whether every id has a length.

    bounds (int32, one more than ids): token i is bytes bounds[i] to bounds[i + 1].
    """
    at, lengths_at, bounds_at = np.int64(0), address_of(lengths), address_of(bounds)
    num_ids = len(lengths)
    store32(bounds_at, at)
    for i in range(len(ids)):
        number = np.int64(ids[i])
        if number < 0 or number >= num_ids:
            return False
        at += load32(lengths_at + (number << 2))
        store32(bounds_at + ((i + 1) << 2), at)
    keep(lengths), keep(bounds)
    return True


@njit(cache=True, nogil=True)
def add_up_characters(ids, begun, starts, ends):
    """bool: whether every id has an entry in `begun` (int32): characters that begin in the token << 1 | whether the
    token begins inside one.

    starts, ends (int32): token i holds at least one byte of characters starts[i] to ends[i] - 1.
    """
    at, begun_at, starts_at, ends_at = np.int64(0), address_of(begun), address_of(starts), address_of(ends)
    num_ids = len(begun)
    for i in range(len(ids)):
        number = np.int64(ids[i])
        if number < 0 or number >= num_ids:
            return False
        entry = load32(begun_at + (number << 2))
        # a token that begins inside a character has that one too
        store32(starts_at + (i << 2), at - (entry & 1))
        at += entry >> 1
        store32(ends_at + (i << 2), at)
    keep(begun), keep(starts), keep(ends)
    return True
