"""Kernels that cut counted words into units, which no piece may leave, and write units as characters.

The text of a unit is UTF-8 here; a byte that begins no character is an unknown character of its own.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, keep, load8, load64
from textmill.ops.unigram.piece_rules import ALONE, ANY, BLANK_MARK, INHERITED, UNKNOWN

_NO_CHARACTER = -1
_MAX_CODE_POINT = 0x10FFFF


@njit(forceinline=True)
def _character(address, room):
    """(int64, int64): code point and bytes of the character at the address, (-1, 1) where there is none.

    room: bytes up to the end of the word, at least 1. Reads 8 bytes whatever the room.
    """
    first = load8(address)
    if first < 0x80:
        return first, np.int64(1)
    following = np.int64(load64(address + 1) & np.uint64(0xFFFFFF))
    second, third, fourth = following & 0xFF, (following >> 8) & 0xFF, following >> 16
    if 0xC2 <= first < 0xE0 and room >= 2 and second >> 6 == 2:
        return ((first & 0x1F) << 6) | (second & 0x3F), np.int64(2)
    if 0xE0 <= first < 0xF0 and room >= 3 and second >> 6 == 2 and third >> 6 == 2:
        code = ((first & 0x0F) << 12) | ((second & 0x3F) << 6) | (third & 0x3F)
        if code >= 0x800 and not 0xD800 <= code < 0xE000:
            return code, np.int64(3)
    if 0xF0 <= first < 0xF5 and room >= 4 and second >> 6 == 2 and third >> 6 == 2 and fourth >> 6 == 2:
        code = ((first & 0x07) << 18) | ((second & 0x3F) << 12) | ((third & 0x3F) << 6) | (fourth & 0x3F)
        if 0x10000 <= code <= _MAX_CODE_POINT:
            return code, np.int64(4)
    return np.int64(_NO_CHARACTER), np.int64(1)


@njit(cache=True, nogil=True)
def cut_units(text, offsets, counts, kinds, split_by_whitespace, ends, weights):
    """int64: how many units the words have. Writes where each ends in text, and its weight: that of its word, or 0 for
    an unknown character. Writes nothing when `ends` is empty.

    kinds: `PieceRules.character_table`.
    """
    base = address_of(text)
    num_units, write = np.int64(0), len(ends) > 0
    for word in range(len(counts)):
        start, stop = offsets[word], offsets[word + 1]
        # unit_start: where the unit under way begins; blanks: where the blanks just before this character begin
        unit_start, blanks, position, script = start, start, start, np.int64(ANY)
        unknown, close = False, False
        while position < stop:
            code, length = _character(base + position, stop - position)
            kind = np.int64(UNKNOWN) if code < 0 else np.int64(kinds[code])
            cut = position if close or kind in (UNKNOWN, ALONE) else np.int64(-1)
            if kind == BLANK_MARK and split_by_whitespace:
                cut = position
            if kind == INHERITED:
                kind = script
            elif kind >= 0 and script >= 0 and kind != script and cut < 0:
                cut = blanks
            if cut > unit_start:
                if write:
                    ends[num_units] = cut
                    weights[num_units] = np.int64(0) if unknown else counts[word]
                num_units += 1
                unit_start = cut
            if cut >= 0:
                script = np.int64(ANY)
            unknown = kind == UNKNOWN
            close = unknown or kind == ALONE
            position += length
            if kind >= ANY:
                script = kind
            if kind != BLANK_MARK:
                blanks = position
        if stop > unit_start:
            if write:
                ends[num_units] = stop
                weights[num_units] = np.int64(0) if unknown else counts[word]
            num_units += 1
    keep(text)
    return num_units


@njit(cache=True, nogil=True)
def decode_units(text, offsets, max_length, symbols, unit_ends, remaining, unit_of):
    """int64: how many positions the units need: one a character, and one after each unit. Writes when given room.

    symbols: int32, code point + 1 at each position, 0 after a unit. unit_ends: int64, the position after each unit.
    remaining: uint8, characters from a position to its unit's end, at most max_length. unit_of: int32.
    """
    base = address_of(text)
    place, write = np.int64(0), len(symbols) > 0
    for unit in range(len(offsets) - 1):
        position, stop, first = offsets[unit], offsets[unit + 1], place
        while position < stop:
            code, length = _character(base + position, stop - position)
            if write:
                symbols[place] = code + 1
                unit_of[place] = unit
            place += 1
            position += length
        if write:
            for i in range(first, place):
                remaining[i] = min(place - i, max_length)
            symbols[place], remaining[place], unit_of[place] = 0, 0, unit
            unit_ends[unit] = place
        place += 1
    keep(text)
    return place
