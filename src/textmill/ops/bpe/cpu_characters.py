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

Between two *wide* characters, those of three bytes, more can be told:

- The boundary is clean if none of those merges fits the three bytes before it and the three after it.
- A merge across a clean boundary has a left part that ends with the one character and a right part that begins with the
  other. If there is none, the two sides can be merged apart.

Flags of both characters answer most of these questions with "no". The rest ask a table of *splits* and one of *links*:
one bit for each value of a hash, so that it answers "no" or "perhaps".
"""

import numpy as np
from numba import njit

from textmill.ops.memory import load8, load32

CODE_POINTS = 1 << 16
"""Of three bytes at most."""
ENTRY_WORDS = 4
"""int32 words of a code point's entry: a head, then up to three ids. All zeros: no entry."""
NO_CHARACTER = 0

# a head: how many ids, how many bytes, and flags of wide characters
NUM_IDS = 15
BYTES_SHIFT = 4
BEGINS_MERGE, ENDS_MERGE = 1 << 8, 1 << 9
"""Some merge's right part begins with this character, or some merge's left part ends with it, and it is one id."""
BEGINS_PART, ENDS_PART = 1 << 10, 1 << 11
"""The same of merges that don't join whole characters, whose part fits the bytes of this character."""
_MEETINGS = BEGINS_MERGE | BEGINS_PART
WIDE_BYTES = 3

SPLIT_BITS = 16
# the key of a link is code << 16 | code; of a split, a merge that does not join whole characters, it is the last three
# bytes of its left part, the first three of its right part, the first byte lowest, and how many they are
SUFFIX_SHIFT, PREFIX_SHIFT = 32, 4
LINK_FACTOR = 0x9E3779B97F4A7C15
_LINK_FACTOR = np.uint64(LINK_FACTOR)
# what the bytes of a wide character have in common, the first of them lowest
WIDE_MASK, WIDE_FORM = 0xC0C0F0, 0x8080E0

# as in `keys`, which this module does not need otherwise; Numba's types leave the last two options out
_helper = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]
_inlined = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]


@_inlined
def num_bytes(entry):
    """int64: how many bytes the character of this entry has."""
    return (load32(entry) >> BYTES_SHIFT) & 15


@_inlined
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
    return entry if num_bytes(entry) == after - at else np.int64(NO_CHARACTER)


@_inlined
def wide_entry(word, characters):
    """int64: the address of the entry of the character in the first three bytes of the word; the first one, which is
    empty, if that is no wide character."""
    entry = characters + ((((word & 0x0F) << 12) | ((word >> 2) & 0xFC0) | ((word >> 16) & 0x3F)) << 4)
    return entry if word & WIDE_MASK == WIDE_FORM else characters


@_inlined
def is_wide(entry):
    """bool: whether the entry is one of a wide character. An overlong form has the entry of another character."""
    return (load32(entry) >> BYTES_SHIFT) & 15 == WIDE_BYTES


@_inlined
def may_meet(entry, following):
    """bool: False if no merge joins what two wide characters with these entries end and begin with."""
    return (load32(entry) >> 1) & load32(following) & _MEETINGS != 0


@_inlined
def _is_known(key, table, bits):
    """bool: False if the vocabulary has no such pair. table: address of 2**bits bits."""
    place = np.int64((np.uint64(key) * _LINK_FACTOR) >> np.uint64(64 - bits))
    return (load8(table + (place >> 3)) >> (place & 7)) & 1 != 0


@_inlined
def may_link(entry, following, characters, links, link_bits):
    """bool: False if no merge joins what two wide characters end and begin with, across a clean boundary."""
    if (load32(entry) >> 1) & load32(following) & BEGINS_MERGE == 0:
        return False
    return _is_known((((entry - characters) >> 4) << 16) | ((following - characters) >> 4), links, link_bits)


@_helper
def may_split(word, following, clean, splits):
    """bool: False if the boundary between two wide characters, at the front of these words, is clean.

    splits: address of 2**SPLIT_BITS bits.
    """
    if load8(clean + (((word >> 8) & 0xFF00) | (following & 0xFF))) != 0:
        return False
    for left in range(1, WIDE_BYTES + 1):
        suffix = (word & 0xFFFFFF) >> (8 * (WIDE_BYTES - left))
        for right in range(1, WIDE_BYTES + 1):
            prefix = following & ((1 << (8 * right)) - 1)
            key = (suffix << SUFFIX_SHIFT) | (prefix << PREFIX_SHIFT) | (left << 2) | right
            if _is_known(key, splits, SPLIT_BITS):
                return True
    return False
