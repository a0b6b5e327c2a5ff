"""Whole characters first: a short cut for scripts whose characters take three bytes (Chinese, Japanese, Korean, Indic).

Merging starts from single bytes, so three quarters of the work on such text is to rebuild its characters. A character
may start as the one id that its bytes become on their own, if no merge can join some of its bytes with a neighbour's
before it is complete. In such a merge (left, right), left would end with the last byte of one character, right would
begin with the first byte of the next, and one of the two would not be whole characters. So a boundary between bytes u
and v is *clean* when the vocabulary has no such merge with left ending in u and right beginning with v, and a character
between two clean boundaries starts whole. What it skips are merges inside that character; they touch nothing else, and
every merge that uses the character comes later than they do (for a vocabulary where a merge ranks before one that makes
its parts, the encoder leaves this short cut out). So the ids are the same as from bytes.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import load8, load32

CHARACTERS = 1 << 16
"""Code points of three bytes at most; the table has an id for each that becomes one id, else NO_CHARACTER."""
NO_CHARACTER = -1
_FIRST_LEAD, _LAST_LEAD = 0xE0, 0xEF


@njit(forceinline=True)
def whole_character(piece, at, length, clean, characters):
    """int64: the id of the three-byte character that begins at byte `at` of the piece, if it may start whole, or -1.

    clean: address of uint8[65536], index u << 8 | v. characters: address of int32[65536], by code point.
    """
    lead = load8(piece + at)
    if lead < _FIRST_LEAD or lead > _LAST_LEAD or at + 3 > length:
        return np.int64(NO_CHARACTER)
    second, third = load8(piece + at + 1), load8(piece + at + 2)
    if second & 0xC0 != 0x80 or third & 0xC0 != 0x80:
        return np.int64(NO_CHARACTER)
    if at > 0 and load8(clean + ((load8(piece + at - 1) << 8) | lead)) == 0:
        return np.int64(NO_CHARACTER)
    if at + 3 < length and load8(clean + ((third << 8) | load8(piece + at + 3))) == 0:
        return np.int64(NO_CHARACTER)
    return load32(characters + (((lead & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F)) << 2))


@njit(cache=True, nogil=True)
def clean_boundaries(merges, firsts, lasts, whole):
    """uint8[65536]: 1 where the boundary between bytes u and v is clean. Per id: its first and last byte, and whether
    its bytes are whole characters."""
    clean = np.ones(1 << 16, dtype=np.uint8)
    for i in range(len(merges)):
        left, right = merges[i, 0], merges[i, 1]
        if left >= 0 and not (whole[left] and whole[right]):
            clean[(np.int64(lasts[left]) << 8) | np.int64(firsts[right])] = 0
    return clean
