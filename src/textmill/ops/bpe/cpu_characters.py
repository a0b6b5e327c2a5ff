"""Whole characters first: a short cut for scripts whose characters take two or three bytes (Cyrillic, Chinese, Indic).

Merging starts from single bytes, so most of the work on such text is to rebuild its characters. A character may start
as the ids that its bytes become on their own, if no merge can join some of its bytes with a neighbour's before it is
complete. In such a merge (left, right), left would end with the last byte of one character, right would begin with the
first byte of the next, and one of the two would not be whole characters. So a boundary between bytes u and v is *clean*
when the vocabulary has no such merge with left ending in u and right beginning with v, and a character between two
clean boundaries starts with its own ids. What it skips are merges inside that character; they touch nothing else, and
every merge that uses the character comes later than they do (for a vocabulary where a merge ranks before one that makes
its parts, the encoder leaves this short cut out). So the ids are the same as from bytes.

A character that its bytes alone make into two or three ids is never whole, so by the same rule none of these ids joins
with anything beyond the two clean boundaries: they are final, and what stands before them and after them can be merged
apart. With a vocabulary that has few Chinese tokens, most of a Chinese text is done with that.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import load8, load32

CODE_POINTS = 1 << 16
"""Of three bytes at most."""
ENTRY_WORDS = 4
"""int32 words of a code point's entry: bytes << 4 | number of ids, then up to three ids. All zeros: no entry."""
NO_CHARACTER = 0


@njit(forceinline=True)
def character_at(piece, at, length, clean, characters):
    """int64: the address of the entry of the character that begins at byte `at` >= 0x80 of the piece, or NO_CHARACTER.

    clean: address of uint8[65536], index u << 8 | v. characters: address of int32[65536, 4], by code point.
    """
    lead = load8(piece + at)
    if lead >= 0xE0:
        second, third = load8(piece + at + 1), load8(piece + at + 2)
        if lead >= 0xF0 or at + 3 > length or second & 0xC0 != 0x80 or third & 0xC0 != 0x80:
            return np.int64(NO_CHARACTER)
        last, after = third, at + 3
        code = (lead & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F)
    else:
        second = load8(piece + at + 1)
        if lead < 0xC0 or at + 2 > length or second & 0xC0 != 0x80:
            return np.int64(NO_CHARACTER)
        last, after = second, at + 2
        code = (lead & 0x1F) << 6 | (second & 0x3F)
    if at > 0 and load8(clean + ((load8(piece + at - 1) << 8) | lead)) == 0:
        return np.int64(NO_CHARACTER)
    if after < length and load8(clean + ((last << 8) | load8(piece + after))) == 0:
        return np.int64(NO_CHARACTER)
    entry = characters + (code << 4)
    # an overlong form has the code point of another character, but not its bytes
    return entry if load32(entry) >> 4 == after - at else np.int64(NO_CHARACTER)
