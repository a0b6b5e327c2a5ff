"""Where a text may be cut before it is segmented.

The best path goes through every place that no piece crosses. In most vocabularies no piece has a blank ▁ after another
character, so that is every place in front of a run of blanks; in those that write blanks behind words no piece has
another character after a blank, and it is every place behind such a run. Unknown characters are single: they cross
nothing.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import count_trailing_zeros, load8, load16, load64

NO_CUT, CUT_BEFORE_BLANKS, CUT_AFTER_BLANKS = range(3)
BLANK_BYTES = 3

_BLANK_START = 0xE2
_BLANK_REST = 0x8196
_FIRST_EVERYWHERE = np.uint64(0xE2E2E2E2E2E2E2E2)
_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_ZERO = np.uint64(0)


@njit(forceinline=True)
def is_blank(address):
    """bool: whether the three bytes of ▁ are there."""
    return load8(address) == _BLANK_START and load16(address + 1) == _BLANK_REST


@njit(forceinline=True)
def find_blank(address, end):
    """int64: the address of the first ▁ that lies wholly before `end`, or `end`. Reads up to 8 bytes beyond it."""
    while address < end:
        different = load64(address) ^ _FIRST_EVERYWHERE
        # the lowest set bit tells the first zero byte; bits above it may be wrong
        zeros = (different - _ONES) & ~different & _HIGH_BITS
        if zeros == _ZERO:
            address += 8
            continue
        address += count_trailing_zeros(zeros) >> 3
        if address + BLANK_BYTES > end:
            return end
        if is_blank(address):
            return address
        address += 1
    return end


@njit(forceinline=True)
def skip_blanks(address, end):
    """int64: the first address that no ▁ begins at, at most `end`."""
    while address + BLANK_BYTES <= end and is_blank(address):
        address += BLANK_BYTES
    return address


@njit(forceinline=True)
def next_cut(address, end, rule):
    """int64: where the word that begins at the address ends, by one of the three rules."""
    if rule == NO_CUT:
        return end
    if rule == CUT_BEFORE_BLANKS:
        return find_blank(skip_blanks(address, end), end)
    return skip_blanks(find_blank(address, end), end)
