"""BERT's normaliser on the bytes of one word, and which bytes of the text each normalised byte stands for.

Most words have no marks that stay: then each code point becomes its form, and stands for itself. In a *hard* word marks
are put into canonical order, which moves them from one span to another: see `reference.decompose`.

A scratch buffer holds the word: one int64, the address where the last character that stays ends; `capacity` bytes of
normalised text; and for each of them, as int64, the addresses in the text where its character begins and ends.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import load8, load32, load_int64, store8, store64
from textmill.ops.wordpiece import tables as t
from textmill.ops.wordpiece.cpu_match import helper

_WIDTH = 7
_CODE_SHIFT = 3
_BAD_BYTE = (0xFFFD << 3) | 1
_NUM_CODE_POINTS = 0x110000
_MARK_BYTES = 8 * t.MARK_WORDS
_NO_CLASS = 256

# words of the model vector, what an encoder's kernels read; addresses, but for the numbers named so
ENTRIES, FORMS, MARKS, NUM_MARKS, EDGES, EDGE_BITS, LENGTHS, PREFIX_BYTES, LONGEST, UNKNOWN, CAPACITY = range(11)
MODEL_WORDS = 11

SPARE_BYTES = 64
"""Bytes of capacity beyond four for each character of the longest word: room for the form that goes over it."""


@njit(forceinline=True)
def word_of(model, word):
    """int64: a word of the model vector at an address."""
    return load_int64(model + (word << 3))


@njit(forceinline=True)
def symbol_at(at, end):
    """int64: (code point << 3) | bytes at an address before `end`. A byte that is not UTF-8 is U+FFFD of one byte."""
    lead = load8(at)
    if lead < 0x80:
        return (lead << 3) | 1
    room = end - at
    if lead >= 0xF0:
        if room >= 4:
            b, d, e = load8(at + 1), load8(at + 2), load8(at + 3)
            code = ((lead & 0x0F) << 18) | ((b & 0x3F) << 12) | ((d & 0x3F) << 6) | (e & 0x3F)
            if (b & 0xC0) == (d & 0xC0) == (e & 0xC0) == 0x80 and 0x10000 <= code < _NUM_CODE_POINTS:
                return (code << 3) | 4
    elif lead >= 0xE0:
        if room >= 3:
            b, d = load8(at + 1), load8(at + 2)
            code = ((lead & 0x0F) << 12) | ((b & 0x3F) << 6) | (d & 0x3F)
            if (b & 0xC0) == (d & 0xC0) == 0x80 and code >= 0x800 and (code >> 11) != 0x1B:
                return (code << 3) | 3
    elif lead >= 0xC2 and room >= 2:
        b = load8(at + 1)
        if (b & 0xC0) == 0x80:
            return (((lead & 0x1F) << 6) | (b & 0x3F)) << 3 | 2
    return _BAD_BYTE


@njit(forceinline=True)
def entry_of(symbol, entries):
    """int64: the entry of a symbol's code point."""
    return load32(entries + ((symbol >> _CODE_SHIFT) << 2))


@njit(forceinline=True)
def normalised_bytes(scratch):
    """int64: the address of the normalised bytes of the word in a scratch buffer."""
    return scratch + 8


@njit(forceinline=True)
def byte_start(scratch, capacity, place):
    """int64: the address where the character of a normalised byte begins in the text."""
    return load_int64(scratch + 8 + capacity + (place << 3))


@njit(forceinline=True)
def byte_end(scratch, capacity, place):
    """int64: the address where the character of a normalised byte ends in the text."""
    return load_int64(scratch + 8 + 9 * capacity + (place << 3))


@helper
def _append(scratch, size, source, num_bytes, start, end, capacity):
    """int64: the size after `num_bytes` bytes from `source`, which stand for the text [start, end)."""
    spans = scratch + 8 + capacity + (size << 3)
    for i in range(num_bytes):
        store8(scratch + 8 + size + i, load8(source + i))
        store64(spans + (i << 3), start)
        store64(spans + 8 * capacity + (i << 3), end)
    return size + num_bytes


@helper
def _mark_row(code, model):
    """int64: the address of the marks of a code point, or 0 if it has none and is none."""
    low, high = np.int64(0), word_of(model, NUM_MARKS)
    while low < high:
        middle = (low + high) >> 1
        row = word_of(model, MARKS) + middle * _MARK_BYTES
        found = load_int64(row)
        if found == code:
            return row
        if found < code:
            low = middle + 1
        else:
            high = middle
    return np.int64(0)


@helper
def _next_span(at, stop, entries):
    """(start, end) of the next symbol that is not dropped."""
    while True:
        symbol = symbol_at(at, stop)
        end = at + (symbol & _WIDTH)
        if end >= stop or entry_of(symbol, entries) & t.KIND_MASK != t.DROPPED:
            return at, end
        at = end


@helper
def _append_marks(begin, stop, size, chars, scratch, model):
    """(address after the marks, size, chars): the marks that begin at `begin`, or follow the starter there, in order.

    One pass over the text for each combining class, so time is linear and no room is needed, however many they are.
    """
    entries, capacity, longest = word_of(model, ENTRIES), word_of(model, CAPACITY), word_of(model, LONGEST)
    slot, slot_end = begin, begin + (symbol_at(begin, stop) & _WIDTH)
    # where the span begins that the first part of the next mark takes; a starter has taken its own
    waiting = np.int64(0)
    kind, end = np.int64(0), stop
    while kind < _NO_CLASS:
        following, at = np.int64(_NO_CLASS), begin
        while at < end:
            symbol = symbol_at(at, stop)
            row = _mark_row(symbol >> _CODE_SHIFT, model)
            leads = row != 0 and load_int64(row + 8 * t.MARK_FIRST) != 0
            # in the first pass, class 0, nothing is written: it finds the end and the first class
            if kind == 0 and not leads:
                if at == begin:
                    waiting = slot_end
                elif entry_of(symbol, entries) & t.KIND_MASK != t.DROPPED:
                    end = at
                    break
            num_marks = load_int64(row + 8 * t.MARK_COUNT) if row != 0 else np.int64(0)
            for i in range(num_marks):
                source = row + 8 * (t.MARK_PARTS + i)
                part = load_int64(source)
                if kind < part >> t.CLASS_SHIFT < following:
                    following = part >> t.CLASS_SHIFT
                if part >> t.CLASS_SHIFT != kind:
                    continue
                if leads and i == 0:
                    slot, slot_end = _next_span(max(waiting, begin), stop, entries)
                    waiting = slot_end
                num_bytes = (part >> t.SIZE_SHIFT) & _WIDTH
                if num_bytes > 0:
                    if chars <= longest:
                        size = _append(scratch, size, source, num_bytes, slot, slot_end, capacity)
                    chars += 1
                    store64(scratch, slot_end)
            at += symbol & _WIDTH
        kind = following
    return end, size, chars


@helper
def _marks_that_stay(row):
    """(bytes, characters) that the marks of a code point leave."""
    num_bytes = num_chars = np.int64(0)
    for i in range(load_int64(row + 8 * t.MARK_COUNT)):
        size = (load_int64(row + 8 * (t.MARK_PARTS + i)) >> t.SIZE_SHIFT) & _WIDTH
        num_bytes += size
        num_chars += size > 0
    return num_bytes, num_chars


@helper
def normalise(begin, stop, hard, to_end, scratch, model):
    """(bytes, characters) of the normalised word whose text is [begin, stop).

    Of more than LONGEST characters the bytes are cut short, and unless `to_end` the rest is not looked at.
    """
    size, chars, at = np.int64(0), np.int64(0), begin
    entries, forms, capacity, longest = (
        word_of(model, ENTRIES),
        word_of(model, FORMS),
        word_of(model, CAPACITY),
        word_of(model, LONGEST),
    )
    while at < stop and (to_end != 0 or chars <= longest):
        symbol = symbol_at(at, stop)
        entry = entry_of(symbol, entries)
        end = at + (symbol & _WIDTH)
        if entry & t.KIND_MASK == t.DROPPED:
            at = end
            continue
        source, num_bytes, num_chars = at, symbol & _WIDTH, np.int64(1)
        form = entry >> t.PAYLOAD_SHIFT
        if form != 0:
            source, num_bytes, num_chars = forms + form + 2, load8(forms + form), load8(forms + form + 1)
        row = _mark_row(symbol >> _CODE_SHIFT, model) if hard != 0 else np.int64(0)
        if row != 0:
            # the starter comes first, its marks go with those that follow
            mark_bytes, mark_chars = _marks_that_stay(row)
            num_bytes -= mark_bytes
            num_chars -= mark_chars
        if num_chars > 0:
            # too long a word keeps the character that made it so: its first one may have, and its span is asked for
            if chars <= longest:
                size = _append(scratch, size, source, num_bytes, at, end, capacity)
            chars += num_chars
            store64(scratch, end)
        if row != 0:
            end, size, chars = _append_marks(at, stop, size, chars, scratch, model)
        at = end
    return size, chars
