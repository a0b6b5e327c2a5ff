"""Kernels that copy pieces one after another and change them: a string for every blank, a spelling for every byte."""

import numpy as np
from numba import njit

from textmill.ops.memory import (
    address_of,
    count_trailing_zeros,
    keep,
    load8,
    load16,
    load32,
    load64,
    low_bytes,
    store16,
    store32,
    store64,
)

NOWHERE, AT_START, EVERYWHERE = range(3)
"""Which pieces get the string before them, if they do not begin with it: none, one at the text's start, all."""
MOST_BYTES = 8
"""Of the string."""

_BLANK = 0x20
_BLANKS = np.uint64(0x2020202020202020)
_ONES = np.uint64(0x0101010101010101)
_TOP_BITS = np.uint64(0x8080808080808080)
_ZERO = np.uint64(0)


@njit(forceinline=True)
def _put_places(sources, first, count, step):
    """Notes `count` places from `first`, one apart if `step` is 1, all the same if it is 0; 0 stands for no notes."""
    if sources == 0:
        return sources
    for i in range(count):
        store32(sources + (i << 2), first + i * step)
    return sources + (count << 2)


@njit(forceinline=True)
def _put_piece(origin, at, stop, string, size, out, sources):
    """Copies a piece; where the next byte and its place go comes back. Writes up to 8 bytes too many."""
    while at < stop:
        word = load64(origin + at)
        store64(out, word)
        other = word ^ _BLANKS
        # the lowest bit that is set marks the first blank; those above it may be wrong
        found = count_trailing_zeros((other - _ONES) & ~other & _TOP_BITS) >> 3
        count = min(found, stop - at)
        sources = _put_places(sources, at, count, 1)
        out += count
        at += count
        if found < 8 and at < stop:
            store64(out, string)
            sources = _put_places(sources, at, size, 0)
            out += size
            at += 1
    return out, sources


@njit(cache=True, nogil=True)
def rewrite(text, start, ends, marks, kept, string, size, prefix, out, out_ends, sources):
    """How many bytes the pieces whose mark is `kept` have with the string for every blank.

    Args:
        text: uint8, from `padded`.
        ends: int32, the end of each piece relative to `start`.
        marks: uint8, one a piece.
        string: uint64, its first `size` bytes in memory.
        prefix: `NOWHERE`, `AT_START` or `EVERYWHERE`.
        out: uint8, receives the bytes; 8 bytes longer than they are.
        out_ends: int32, receives the end of each kept piece in `out`.
        sources: int32, receives for each byte its place relative to `start`: of the string that of its blank, or that
            of the byte behind it. Empty: not wanted.
    """
    origin, buffer = address_of(text) + start, address_of(out)
    end, mark, out_end = address_of(ends), address_of(marks), address_of(out_ends)
    source = address_of(sources) if len(sources) > 0 else 0
    put, at = buffer, np.int64(0)
    for piece in range(len(ends)):
        stop = load32(end + 4 * piece)
        if load8(mark + piece) == kept:
            if prefix == EVERYWHERE or (prefix == AT_START and at == 0):
                begins = load8(origin + at) == _BLANK
                begins |= stop - at >= size and low_bytes(load64(origin + at) ^ string, size) == _ZERO
                if not begins:
                    store64(put, string)
                    source = _put_places(source, at, size, 0)
                    put += size
            put, source = _put_piece(origin, at, stop, string, size, put, source)
            store32(out_end, put - buffer)
            out_end += 4
        at = stop
    keep(text), keep(ends), keep(marks), keep(out), keep(out_ends), keep(sources)
    return put - buffer


@njit(cache=True, nogil=True)
def spell(text, start, ends, marks, kept, spelling, out, out_ends, sources):
    """The same with every byte as `spelling` has it: uint16 [256], of one byte if it is below 256, or else of two."""
    origin, buffer = address_of(text) + start, address_of(out)
    end, mark, out_end = address_of(ends), address_of(marks), address_of(out_ends)
    source = address_of(sources) if len(sources) > 0 else 0
    table = address_of(spelling)
    put, at = buffer, np.int64(0)
    for piece in range(len(ends)):
        stop = load32(end + 4 * piece)
        if load8(mark + piece) == kept:
            for place in range(at, stop):
                spelled = load16(table + 2 * load8(origin + place))
                store16(put, spelled)
                size = 1 + (spelled > 0xFF)
                source = _put_places(source, place, size, 0)
                put += size
            store32(out_end, put - buffer)
            out_end += 4
        at = stop
    keep(text), keep(ends), keep(marks), keep(spelling), keep(out), keep(out_ends), keep(sources)
    return put - buffer


@njit(cache=True, nogil=True)
def cut_before(text, start, ends, string, size, out_ends):
    """How many pieces there are if each of those that end at `ends` is cut before every string.

    Args:
        text: uint8, from `padded`.
        ends: int32, relative to `start`.
        string: uint64, its first `size` bytes in memory: a character.
        out_ends: int32, receives the ends; as many as the string's first byte stands in the text, and `ends`, together.
    """
    origin, end, out_end = address_of(text) + start, address_of(ends), address_of(out_ends)
    first_end, at = out_end, np.int64(0)
    first_byte = string & np.uint64(0xFF)
    firsts, lead = first_byte * _ONES, np.int64(first_byte)
    for piece in range(len(ends)):
        begin, stop = at, load32(end + 4 * piece)
        while at < stop:
            other = load64(origin + at) ^ firsts
            at += count_trailing_zeros((other - _ONES) & ~other & _TOP_BITS) >> 3
            if at >= stop:
                break
            if low_bytes(load64(origin + at) ^ string, size) == _ZERO and stop - at >= size:
                if at > begin:
                    store32(out_end, at)
                    out_end += 4
                at += size
            elif load8(origin + at) == lead:
                at += 1
        at = stop
        store32(out_end, stop)
        out_end += 4
    keep(text), keep(ends), keep(out_ends)
    return (out_end - first_end) >> 2


@njit(cache=True, nogil=True)
def substitute(text, ends, marks, matched, string, size, out):
    """How many bytes the text has with a string for each piece whose mark is `matched`.

    Args:
        text, ends, marks: as above, from the text's start.
        string: uint8, `size` bytes and 8 more.
        out: uint8, receives the bytes; 8 bytes longer than they are.
    """
    origin, buffer, content = address_of(text), address_of(out), address_of(string)
    end, mark = address_of(ends), address_of(marks)
    put, at = buffer, np.int64(0)
    for piece in range(len(ends)):
        stop = load32(end + 4 * piece)
        if load8(mark + piece) == matched:
            for i in range(0, size, 8):
                store64(put + i, load64(content + i))
            put += size
        else:
            for i in range(0, stop - at, 8):
                store64(put + i, load64(origin + at + i))
            put += stop - at
        at = stop
    keep(text), keep(ends), keep(marks), keep(string), keep(out)
    return put - buffer
