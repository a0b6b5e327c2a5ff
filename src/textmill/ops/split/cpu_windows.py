"""Pre-tokenisation of ASCII and Chinese text 64 bytes at a time, for the patterns of GPT-2 and cl100k.

A *window* is the 64 bytes from the start of a piece. Every class of bytes is a mask of 64 bits, and a dozen shifts and
ands of masks give the mask of all places in the window where a piece starts. So no branch depends on where words end.
The last start that is certain begins the next window; a window that has none, because it begins with a character that
is not known here, with a long run of white space, or with a piece of over 60 bytes, is left to the state machine of
`cpu.py` for some pieces. Both give the same pieces; the tests hold them to it.

Known are ASCII and the characters of `_wide_leads`. A class holds all three bytes of these, so runs of them are runs of
bits like any other.

What is certain: a start depends on the bytes before it and on the white space that follows it up to the next byte that
is none. So with the window cut at its first byte that is not known, and at the end of the text, all starts up to the
last byte that isn't white space are certain.

    kernel(text, bounds, state, ends, marks, classes) -> number of pieces

cuts many texts that lie one after the other: text i is `text[bounds[i]:bounds[i + 1]]`. It goes on at text
state[DOCUMENT], byte state[AT], and writes ends relative to where it began, until `ends` is nearly full, `marks` is
full or the last text is done. marks receives for each text that came to its end the number of pieces before that end.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, count_trailing_zeros, keep, store32
from textmill.ops.split import cpu
from textmill.ops.vectors import VECTOR_BYTES, bytes_in_range, count_leading_zeros, count_ones

SPARE_ENDS = 2 * VECTOR_BYTES
"""Entries of `ends` that stay unused at its end: a window writes in groups of eight."""

# words of the state vector
DOCUMENT, AT, NUM_MARKS = range(3)
STATE_WORDS = 3

# code that Python could call is left out, to compile in less time; Numba's types leave the last two options out
_inlined = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]

_GROUP = 8
_MOST_SCALAR = 64
_MOST_BYTES = (1 << 31) - (1 << 16)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_THREE = np.uint64(3)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)

# which rule for white space at the very end of the text, see `cpu.py`
_UP_TO_LINE, _LINE = 1, 2


@_inlined
def _below(count):
    """uint64: the low `count` bits, int64 in 0..64."""
    return _ALL if count >= 64 else (_ONE << np.uint64(count)) - _ONE


@_inlined
def _wide_leads(at, end):
    """(uint64, uint64): where in the window common characters of three bytes begin: letters, and other ones.

    Letters are U+4E00 to U+9FBF. Others are marks of Chinese text, none of them a letter, a number or white space:
    U+3001, U+3002, U+3008 to U+3011; U+FF01 to U+FF0F, U+FF1A to U+FF20; U+2010 to U+2027.
    """
    following = bytes_in_range(at, 0, 0x80, 0x40)
    whole = (following >> _ONE) & (following >> _TWO) & _below(max(end - at - 2, 0))
    letters = bytes_in_range(at, 0, 0xE5, 4)
    letters |= bytes_in_range(at, 0, 0xE4, 1) & (bytes_in_range(at, 0, 0xB8, 8) >> _ONE)
    letters |= bytes_in_range(at, 0, 0xE9, 1) & (bytes_in_range(at, 0, 0x80, 0x3F) >> _ONE)
    after_80 = bytes_in_range(at, 0, 0x80, 1) >> _ONE
    marks = bytes_in_range(at, 0, 0x81, 2) | bytes_in_range(at, 0, 0x88, 10)
    others = bytes_in_range(at, 0, 0xE3, 1) & after_80 & (marks >> _TWO)
    marks = bytes_in_range(at, 0, 0x81, 15) | bytes_in_range(at, 0, 0x9A, 7)
    others |= bytes_in_range(at, 0, 0xEF, 1) & (bytes_in_range(at, 0, 0xBC, 1) >> _ONE) & (marks >> _TWO)
    others |= bytes_in_range(at, 0, 0xE2, 1) & after_80 & (bytes_in_range(at, 0, 0x90, 0x18) >> _TWO)
    return letters & whole, others & whole


@_inlined
def _three_bytes(leads):
    return leads | (leads << _ONE) | (leads << _TWO)


@_inlined
def _known_bytes(at, end):
    """(int64, uint64, uint64): how many bytes of the window are ASCII or known wide characters before the first that
    isn't, or the end of the text, comes; then as `_wide_leads`."""
    ascii_bytes = bytes_in_range(at, 0, 0, 128)
    known, letters, others = min(count_trailing_zeros(~ascii_bytes), end - at), _ZERO, _ZERO
    if known < min(np.int64(VECTOR_BYTES), end - at):
        letters, others = _wide_leads(at, end)
        known = min(count_trailing_zeros(~(ascii_bytes | _three_bytes(letters | others))), end - at)
    return known, letters, others


@_inlined
def _certain(white, known):
    """uint64: the places up to the last byte that isn't white space, but for place 0."""
    solid = _below(known) & ~white
    return _below(64 - count_leading_zeros(solid)) & ~_ONE


@_inlined
def _gpt2_starts(at, end):
    """uint64: the places in the window, but for the first, where pieces certainly start."""
    known, wide_letters, _ = _known_bytes(at, end)
    letter = bytes_in_range(at, 32, 97, 26) | _three_bytes(wide_letters)
    number = bytes_in_range(at, 0, 48, 10)
    blank = bytes_in_range(at, 0, 32, 1)
    white = blank | bytes_in_range(at, 0, 9, 5)
    other = ~(letter | number | white)
    after_blank = blank << _ONE
    runs = (letter & ~(letter << _ONE)) | (number & ~(number << _ONE)) | (other & ~(other << _ONE))
    # the last of a run of white space goes with what follows if it is a blank, else it stands alone
    starts = (runs & ~after_blank) | (white & ~((white << _ONE) & (white >> _ONE)))
    certain = _certain(white, known)
    quotes = bytes_in_range(at, 0, 39, 1) & other & ~(other << _ONE) & ~after_blank & (certain | _ONE)
    while quotes != _ZERO:
        place = count_trailing_zeros(quotes)
        quotes &= quotes - _ONE
        length = cpu._contraction(at + place, end, False)
        if length > 0:
            starts &= ~(_TWO << np.uint64(place))
            starts |= (_ONE << np.uint64(place)) << np.uint64(length)
    return starts & certain


@_inlined
def _cl100k_starts(at, end):
    """uint64: the places in the window, but for the first, where pieces certainly start."""
    known, wide_letters, wide_others = _known_bytes(at, end)
    letter = bytes_in_range(at, 32, 97, 26) | _three_bytes(wide_letters)
    number = bytes_in_range(at, 0, 48, 10)
    blank = bytes_in_range(at, 0, 32, 1)
    line = bytes_in_range(at, 0, 10, 1) | bytes_in_range(at, 0, 13, 1)
    white = blank | bytes_in_range(at, 0, 9, 5)
    other = ~(letter | number | white)
    certain = _certain(white, known)
    # line ends right after punctuation belong to it: adding the first of such a run clears the run
    tail = line & ~(line + (line & (other << _ONE)))
    free = white & ~tail
    line &= free
    gap = free & ~line
    # a run of free white space up to its last line end is one piece; of what then remains, the last stands apart
    after_line = (line << _ONE) & ~line
    gap_starts = gap & ~(gap << _ONE)
    inner = (gap + gap_starts) & ~gap & line
    while inner != _ZERO:
        # white space between two line ends of one run: what follows the first of them is no start
        before = (inner & (~inner + _ONE)) - _ONE
        inner &= inner - _ONE
        gap_start = _ONE << np.uint64(64 - count_leading_zeros(before & ~gap))
        after_line &= ~gap_start
    after_blank = blank << _ONE
    others = other & ~(other << _ONE) & ~after_blank
    # one character before a word belongs to it: white space, or punctuation that stands alone
    joins = (gap | (others & ~wide_others & ~(other >> _ONE))) << _ONE
    joins |= (others & wide_others & ~(other >> _THREE)) << _THREE
    words = letter & ~(letter << _ONE) & ~joins
    numbers = number & ~(number << _ONE)
    starts = words | numbers | others | after_line | (free & ~(free << _ONE)) | (gap & ~(free >> _ONE))
    # numbers have three digits at most
    pairs = number & (number << _ONE)
    numbers = (numbers << _THREE) & pairs & (pairs << _ONE)
    while numbers != _ZERO:
        starts |= numbers
        numbers = (numbers << _THREE) & pairs & (pairs << _ONE)
    quotes = bytes_in_range(at, 0, 39, 1) & others & (certain | _ONE)
    while quotes != _ZERO:
        place = count_trailing_zeros(quotes)
        quotes &= quotes - _ONE
        length = cpu._contraction(at + place, end, True)
        if length > 0:
            starts |= (_ONE << np.uint64(place)) << np.uint64(length)
    return starts & certain


@_inlined
def _store_places(out, origin, starts):
    """int64: the address after the ends it wrote: origin + place for each bit."""
    count = count_ones(starts)
    for first in range(0, count, _GROUP):
        for i in range(_GROUP):
            store32(out + ((first + i) << 2), origin + count_trailing_zeros(starts))
            starts &= starts - _ONE
    return out + (count << 2)


@_inlined
def _gpt2_end(at, end, classes):
    """int64: where the piece that begins at `at` ends."""
    after = cpu._ascii_word(at, end, classes)
    return after if after > 0 else cpu._gpt2_rest(at, end, classes)


@_inlined
def _cl100k_end(at, end, classes):
    after = cpu._ascii_word(at, end, classes)
    return after if after > 0 else cpu._cl100k_rest(at, end, classes, _UP_TO_LINE)


@_inlined
def _llama3_end(at, end, classes):
    after = cpu._ascii_word(at, end, classes)
    return after if after > 0 else cpu._cl100k_rest(at, end, classes, _LINE)


@_inlined
def _split(text, bounds, state, ends, marks, classes, find_starts, find_end):
    """See the head of this file. find_starts, find_end: the functions of the pattern, so that no other is compiled."""
    base, table, first_out = address_of(text), address_of(classes), address_of(ends)
    out = first_out
    full = first_out + 4 * (len(ends) - SPARE_ENDS)
    origin = base + state[AT]
    at = origin
    document, num_marks, quota = state[DOCUMENT], np.int64(0), np.int64(1)
    while document < len(bounds) - 1 and num_marks < len(marks):
        end = base + bounds[document + 1]
        while at < end and out < full and at - origin < _MOST_BYTES:
            starts = find_starts(at, end)
            if starts != _ZERO:
                out = _store_places(out, at - origin, starts)
                at += 63 - count_leading_zeros(starts)
                quota = np.int64(1)
            else:
                done = np.int64(0)
                while done < quota and at < end and out < full:
                    at = find_end(at, end, table)
                    store32(out, at - origin)
                    out += 4
                    done += 1
                quota = min(2 * quota, np.int64(_MOST_SCALAR))
        if at < end:
            break
        marks[num_marks] = (out - first_out) >> 2
        num_marks += 1
        document += 1
    state[DOCUMENT], state[AT], state[NUM_MARKS] = document, at - base, num_marks
    keep(text), keep(classes), keep(ends)
    return (out - first_out) >> 2


@njit(cache=True, nogil=True)
def split_gpt2(text, bounds, state, ends, marks, classes):
    """See the head of this file."""
    return _split(text, bounds, state, ends, marks, classes, _gpt2_starts, _gpt2_end)


@njit(cache=True, nogil=True)
def split_cl100k(text, bounds, state, ends, marks, classes):
    """See the head of this file."""
    return _split(text, bounds, state, ends, marks, classes, _cl100k_starts, _cl100k_end)


@njit(cache=True, nogil=True)
def split_llama3(text, bounds, state, ends, marks, classes):
    """See the head of this file. cl100k as it was first published: only white space at the end differs."""
    return _split(text, bounds, state, ends, marks, classes, _cl100k_starts, _llama3_end)


KERNELS = {"gpt2": split_gpt2, "cl100k": split_cl100k, "llama3": split_llama3}
"""By the name of the pattern."""
