"""The kernel that cuts a normalised sentence into words, each beginning with its ▁."""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, count_trailing_zeros, keep, load8, load16, load64, store32

BLANK_BYTES = 3
_BLANK_FIRST = 0xE2
# the other two bytes of ▁, U+2581, as one number
_BLANK_REST = 0x8196
_ALL_FIRST = np.uint64(0xE2E2E2E2E2E2E2E2)
_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_ZERO = np.uint64(0)


@njit(cache=True, nogil=True)
def cut_before_blanks(text, start, length, ends):
    """int64: how many words the `length` bytes from `start` have; `ends` (int32[length // 4 + 2]) receives their ends.

    A word ends where a run of ▁ begins, and where the text ends.
    """
    base, ends_at = address_of(text) + start, address_of(ends)
    count, at, after_blank = np.int64(0), np.int64(0), np.int64(0)
    while at < length:
        # bytes that are no first byte of ▁ are passed eight at a time
        word = load64(base + at) ^ _ALL_FIRST
        found = (word - _ONES) & ~word & _HIGH_BITS
        if found == _ZERO:
            at += 8
            continue
        at += count_trailing_zeros(found) >> 3
        if at + BLANK_BYTES > length:
            break
        if load8(base + at) == _BLANK_FIRST and load16(base + at + 1) == _BLANK_REST:
            if at > 0 and after_blank != at:
                store32(ends_at + (count << 2), at)
                count += 1
            at += BLANK_BYTES
            after_blank = at
        else:
            at += 1
    if length > 0:
        store32(ends_at + (count << 2), length)
        count += 1
    keep(text), keep(ends)
    return count
