"""Runs a `Machine` over a text: the pieces of any pattern that has one.

    split_by_machine(text, start, stop, ends, marks, classes, rows, leads, first, lower, letters) -> number of pieces

The first four parameters, the halting rule and bytes that are not UTF-8 are those of `cpu.py`; those from `classes` on
are the fields of `automaton.Machine`. A piece is a match, or a longest stretch without one. `marks`, uint8 and as long
as `ends` or empty, receives 1 for a match and 0 for such a stretch.

A byte that is not part of valid UTF-8 is read as the lone surrogate that Python's `surrogateescape` makes of it.

How it is fast: one load tells the class of an ASCII byte, one more the next state; in a state that letters don't
change, eight of them are skipped at a time; and most words, a byte and then letters, begin in such a state.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, count_trailing_zeros, keep, load8, load32, load64, store8, store32

_TOP_BITS = np.uint64(0x8080808080808080)
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_CASE_BITS = np.uint64(0x2020202020202020)
_NO_BITS = np.uint64(0)
_FROM_LOWER_A = np.uint64(0x1F1F1F1F1F1F1F1F)
_AFTER_LOWER_Z = np.uint64(0x0505050505050505)
_ESCAPED = 0xDC00
_WIDTH = 7
TOO_LONG = -1
"""Comes back instead of a number of pieces: the pattern reads on and on beyond its matches, as `<[^>]*>|<` does where
there is no >, so that the time would grow with the square of the text's length."""
_MOST_READINGS = 256
"""How often every byte may be read beyond a match, on average."""
_FREE_READING = 1 << 20

_ENDED = 1
"""An entry: a match ends here, and no state follows."""


@njit(forceinline=True)
def _wide_symbol(at, end, classes, lead):
    """(class << 3) | bytes of the symbol at a byte above 127. Overlong forms, surrogates and cut sequences are bad."""
    room = end - at
    if lead >= 0xF0:
        if room >= 4:
            b, d, e = load8(at + 1), load8(at + 2), load8(at + 3)
            code = ((lead & 0x0F) << 18) | ((b & 0x3F) << 12) | ((d & 0x3F) << 6) | (e & 0x3F)
            if (b & 0xC0) == (d & 0xC0) == (e & 0xC0) == 0x80 and 0x10000 <= code < 0x110000:
                return (load8(classes + code) << 3) | 4
    elif lead >= 0xE0:
        if room >= 3:
            b, d = load8(at + 1), load8(at + 2)
            code = ((lead & 0x0F) << 12) | ((b & 0x3F) << 6) | (d & 0x3F)
            if (b & 0xC0) == (d & 0xC0) == 0x80 and code >= 0x800 and (code >> 11) != 0x1B:
                return (load8(classes + code) << 3) | 3
    elif lead >= 0xC2 and room >= 2:
        b = load8(at + 1)
        if (b & 0xC0) == 0x80:
            return (load8(classes + (((lead & 0x1F) << 6) | (b & 0x3F))) << 3) | 2
    return (load8(classes + _ESCAPED + lead) << 3) | 1


@njit(forceinline=True)
def _symbol(at, end, classes):
    """(class << 3) | bytes of the symbol at an address; 0 at the end of the text."""
    if at >= end:
        return 0
    lead = load8(at)
    if lead < 0x80:
        return (load8(classes + lead) << 3) | 1
    return _wide_symbol(at, end, classes, lead)


@njit(forceinline=True)
def _after_letters(at, end, fold):
    """The address after the ASCII letters at `at`: from a to z, or, with the bits of `fold` set, of either case."""
    run = 8
    while run == 8 and at < end:
        word = load64(at) | fold
        low = word & _LOW_BITS
        is_letter = (low + _FROM_LOWER_A) & ~(low + _AFTER_LOWER_Z) & ~word & _TOP_BITS
        run = count_trailing_zeros(is_letter ^ _TOP_BITS) >> 3
        at += run
    # what follows the end of the text in memory may be letters too
    return min(at, end)


@njit(forceinline=True)
def _match(at, end, classes, rows, leads, first, lower, letters):
    """(the end of the match that begins at `at`, or `at` if there is none; how far it was read to find out)."""
    last = at
    row = first
    lead = load8(at)
    if lead < 0x80:
        word_row = load32(leads + (lead << 2))
        if word_row > 0:
            after = _after_letters(at + 1, end, _CASE_BITS if word_row >= letters else _NO_BITS)
            if after > at + 1:
                at, row = after, word_row
    while at < end:
        lead = load8(at)
        if lead < 0x80:
            entry = load32(rows + row + (load8(classes + lead) << 2))
            # the commonest end, as a branch: the next match can begin before the load above is done
            if entry == _ENDED:
                return at, at
            row = entry >> 1
            if entry & 1:
                last = at
            if row == 0:
                return last, at
            at += 1
            if row >= lower:
                at = _after_letters(at, end, _CASE_BITS if row >= letters else _NO_BITS)
        else:
            symbol = _wide_symbol(at, end, classes, lead)
            entry = load32(rows + row + ((symbol >> 3) << 2))
            if entry == _ENDED:
                return at, at
            row = entry >> 1
            if entry & 1:
                last = at
            if row == 0:
                return last, at
            at += symbol & _WIDTH
    return at if load32(rows + row) & 1 else last, at


@njit(forceinline=True)
def _put(out, end, mark, kind):
    """Writes the end of a piece, and its mark if `mark` isn't 0; where the next ones go comes back."""
    store32(out, end)
    if mark == 0:
        return out + 4, mark
    store8(mark, kind)
    return out + 4, mark + 1


@njit(forceinline=True)
def _cut(at, end, origin, out, full, mark, classes, rows, leads, first, lower, letters):
    """Cuts what lies from `at` to `end`; where the next end goes comes back, 0 if that would take too long.

    `mark`: where the next mark goes, or 0.
    """
    in_gap = False
    spare = _MOST_READINGS * (end - at) + _FREE_READING
    while at < end and out < full:
        after, reached = _match(at, end, classes, rows, leads, first, lower, letters)
        spare -= reached - after
        if spare < 0:
            return 0
        if after == at:
            at += _symbol(at, end, classes) & _WIDTH
            in_gap = True
            # most of what lies between matches are ASCII bytes that begin none
            while at < end and load8(at) < 0x80 and load32(rows + first + (load8(classes + load8(at)) << 2)) == _ENDED:
                at += 1
            continue
        if in_gap:
            # the gap ends before the match, for which there may be no room
            in_gap = False
            out, mark = _put(out, at - origin, mark, 0)
            if out == full:
                break
        at = after
        out, mark = _put(out, at - origin, mark, 1)
    if in_gap:
        out, mark = _put(out, at - origin, mark, 0)
    return out


@njit(cache=True, nogil=True)
def split_by_machine(text, start, stop, ends, marks, classes, rows, leads, first, lower, letters):
    """See the head of this file."""
    origin, out = address_of(text) + start, address_of(ends)
    full = out + 4 * len(ends)
    mark = address_of(marks) if len(marks) > 0 else 0
    table, states, words = address_of(classes), address_of(rows), address_of(leads)
    end = origin + (stop - start)
    last = _cut(origin, end, origin, out, full, mark, table, states, words, first, lower, letters)
    keep(text)
    keep(ends)
    keep(marks)
    keep(classes)
    keep(rows)
    keep(leads)
    return (last - out) >> 2 if last != 0 else TOO_LONG


@njit(cache=True, nogil=True)
def split_within(text, start, outer, done, ends, marks, classes, rows, leads, first, lower, letters):
    """Cuts each piece of a text that has been cut before, as if it were alone; otherwise as `split_by_machine`.

    `outer` are the ends of those pieces relative to `start`. `done` bytes are done already: 0, or the last end of the
    call before, if its `ends` were full.
    """
    origin, out = address_of(text) + start, address_of(ends)
    full, begin = out + 4 * len(ends), out
    mark = address_of(marks)
    table, states, words = address_of(classes), address_of(rows), address_of(leads)
    outer_end = address_of(outer)
    at = origin + done
    for piece in range(len(outer)):
        end = origin + load32(outer_end + 4 * piece)
        if at < end and out < full:
            here = mark + ((out - begin) >> 2)
            out = _cut(at, end, origin, out, full, here, table, states, words, first, lower, letters)
            if out == 0:
                break
            at = origin + load32(out - 4)
    keep(text)
    keep(outer)
    keep(ends)
    keep(marks)
    keep(classes)
    keep(rows)
    keep(leads)
    return (out - begin) >> 2 if out != 0 else TOO_LONG
