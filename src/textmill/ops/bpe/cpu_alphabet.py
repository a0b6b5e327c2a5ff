"""Kernels that read counted pieces as characters: how often each occurs, and the pieces as streams of symbols.

A character has four *forms*, by bits: `FIRST` in its piece, `LAST` in its piece. Training may give each its own symbol.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, keep, load8

NUM_CODES = 0x110000
NUM_FORMS = 4
FIRST, LAST = 1, 2

# instead of a character's row: it is left out and its neighbours stand side by side, or the piece is cut there
LEFT_OUT, CUT = -1, -2

_BAD = np.int64(-1)


@njit(forceinline=True)
def _character_at(address, available):
    """int64: code point << 3 | its bytes, or -1 if no character of at most `available` bytes begins here (UTF-8)."""
    first = load8(address)
    if first < 0x80:
        return (first << 3) | 1
    if first < 0xC2 or first > 0xF4:
        return _BAD
    length = np.int64(2) if first < 0xE0 else (np.int64(3) if first < 0xF0 else np.int64(4))
    if length > available:
        return _BAD
    code = first & (0x7F >> length)
    for i in range(1, length):
        value = load8(address + i)
        if (value & 0xC0) != 0x80:
            return _BAD
        code = (code << 6) | (value & 0x3F)
    # written longer than need be, a half of a surrogate pair, beyond the last code point
    if (length == 3 and code < 0x800) or (length == 4 and (code < 0x10000 or code >= 0x110000)):
        return _BAD
    return _BAD if 0xD800 <= code < 0xE000 else (code << 3) | length


@njit(cache=True, nogil=True)
def count_characters(arena, offsets, counts, totals, forms):
    """int64: -1, or the first piece that is not UTF-8.

    totals: int64[NUM_CODES], receives how often each character occurs. forms: uint8[NUM_CODES], receives a bit
    1 << form for every form that occurs.
    """
    base = address_of(arena)
    for piece in range(len(offsets) - 1):
        begin, end, weight = offsets[piece], offsets[piece + 1], counts[piece]
        at = begin
        while at < end:
            found = _character_at(base + at, end - at)
            if found < 0:
                return np.int64(piece)
            code, after = found >> 3, at + (found & 7)
            form = (FIRST if at == begin else 0) | (LAST if after == end else 0)
            totals[code] += weight
            forms[code] |= np.uint8(1 << form)
            at = after
    keep(arena)
    return np.int64(-1)


@njit(cache=True, nogil=True)
def to_symbols(arena, offsets, row_of_code, symbol_of, stream, stream_offsets):
    """int64: the length of the stream, in which a piece is cut by -1. The pieces are UTF-8.

    row_of_code: int32[NUM_CODES], a row of symbol_of, or `LEFT_OUT`, or `CUT`. symbol_of: int32[n, NUM_FORMS].
    stream: int32, as long as the arena; stream_offsets: int64, as long as offsets.
    """
    base, used = address_of(arena), np.int64(0)
    for piece in range(len(offsets) - 1):
        stream_offsets[piece] = used
        begin, end = offsets[piece], offsets[piece + 1]
        at = begin
        while at < end:
            found = _character_at(base + at, end - at)
            if found < 0:
                break
            row, after = row_of_code[found >> 3], at + (found & 7)
            if row >= 0:
                form = (FIRST if at == begin else 0) | (LAST if after == end else 0)
                stream[used] = symbol_of[row, form]
                used += 1
            elif row == CUT:
                stream[used] = -1
                used += 1
            at = after
    stream_offsets[len(offsets) - 1] = used
    keep(arena)
    return used
