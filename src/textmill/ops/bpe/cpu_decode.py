"""Kernel of decoding: the bytes of each id, one after the other."""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, keep, load64, store64

WORD_BYTES = 16
"""Bytes copied at once; `out` and the arena have that much room to spare."""


@njit(cache=True, nogil=True)
def decoded_bytes(ids, lengths):
    """int64: bytes of all ids together, or -1 - i if the i-th id is not in the vocabulary (or its length is 0)."""
    total = np.int64(0)
    for i in range(len(ids)):
        number = ids[i]
        if number < 0 or number >= len(lengths) or lengths[number] == 0:
            return np.int64(-1) - i
        total += lengths[number]
    return total


@njit(cache=True, nogil=True)
def copy_tokens(ids, lengths, offsets, arena, out):
    """Writes the bytes of checked ids to `out`, in whole words: the overhang is overwritten by the next token."""
    arena_at, target = address_of(arena), address_of(out)
    for i in range(len(ids)):
        source, length = arena_at + offsets[ids[i]], np.int64(lengths[ids[i]])
        for done in range(0, length, WORD_BYTES):
            store64(target + done, load64(source + done))
            store64(target + done + 8, load64(source + done + 8))
        target += length
    keep(arena), keep(out)
