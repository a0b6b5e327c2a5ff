"""Pre-tokenisation as hand-written UTF-8 state machines: one kernel a pattern, all with one signature.

    kernel(text, start, stop, ends, classes) -> number of pieces

`text` is a padded uint8 buffer, `text[start:stop]` is to be cut, and `classes` is `class_table()`. The kernel writes
the end of each piece, relative to `start`, into the int32 array `ends`. It halts when `ends` is full or `stop` is
reached. The pieces tile the text, so a caller goes on at `start + ends[n - 1]`, and gets the same pieces as from one
call with a longer `ends`. `stop` must be the true end of the text: the rules for white space look ahead.

A byte that is not part of valid UTF-8 is a symbol of its own, of the class OTHER. `reference.py` has the published
patterns, and the same definition of invalid bytes.

How it is fast: most pieces of most texts are a space and ASCII letters, and eight bytes at a time are enough to find
their end without a branch per byte. Everything else goes through `_symbol`, one code point at a time.

A *symbol* is a number: (class bit << 3) | bytes. The end of the text is the symbol 0, which is in no class.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, count_trailing_zeros, keep, load8, load64, store32
from textmill.ops.split import classes as c

_WIDTH = 7
_LETTER = (c.UPPER | c.LOWER | c.CASELESS) << 3
_LOWER = c.LOWER << 3
_NOT_LOWER = (c.UPPER | c.CASELESS | c.MARK) << 3
_NOT_UPPER = (c.LOWER | c.CASELESS | c.MARK) << 3
_EITHER_CASE = (c.CASELESS | c.MARK) << 3
_NUMBER = c.NUMBER << 3
_PUNCTUATION = (c.OTHER | c.MARK) << 3  # [^\s\p{L}\p{N}]
_PREFIX = (c.OTHER | c.SPACE) << 3  # what may lead a word of o200k, but for marks: see _o200k_word
_SPACE = (c.SPACE | c.NEWLINE) << 3
_NEWLINE = c.NEWLINE << 3
_BAD_BYTE = (c.OTHER << 3) | 1

# which alternative comes first for a run of white space
_RUN_AT_END = 0  # \s++$ | \s+(?!\S) | \s                    gpt2
_RUN_AT_END_THEN_LINE = 1  # \s++$ | \s*[\r\n] | \s+(?!\S) | \s      cl100k
_LINE = 2  # \s*[\r\n]+ | \s+(?!\S) | \s+            o200k, llama3

_TOP_BITS = np.uint64(0x8080808080808080)
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_ZERO = np.uint64(0)
_CASE_BITS = np.uint64(0x2020202020202020)
# added to seven low bits, each raises the top bit of a byte from the named character on
_FROM_LOWER_A = np.uint64(0x1F1F1F1F1F1F1F1F)
_AFTER_LOWER_Z = np.uint64(0x0505050505050505)
_FROM_UPPER_A = np.uint64(0x3F3F3F3F3F3F3F3F)
_AFTER_UPPER_Z = np.uint64(0x2525252525252525)

_BLANK, _APOSTROPHE, _SLASH = 32, 39, 47


@njit(forceinline=True)
def _lower_bits(word):
    """uint64: the top bit of each byte that is an ASCII lower-case letter."""
    low = word & _LOW_BITS
    return (low + _FROM_LOWER_A) & ~(low + _AFTER_LOWER_Z) & ~word & _TOP_BITS


@njit(forceinline=True)
def _upper_bits(word):
    """uint64: the top bit of each byte that is an ASCII upper-case letter."""
    low = word & _LOW_BITS
    return (low + _FROM_UPPER_A) & ~(low + _AFTER_UPPER_Z) & ~word & _TOP_BITS


@njit(forceinline=True)
def _leading(bits):
    """int64 in 0..8: how many of the first bytes have their top bit set; the other bits are zero."""
    return count_trailing_zeros(bits ^ _TOP_BITS) >> 3


@njit(forceinline=True)
def _wide_symbol(at, end, classes, lead):
    """The symbol at a byte above 127. Overlong forms, surrogates and cut sequences are bad bytes."""
    room = end - at
    if lead >= 0xF0:
        if room >= 4:
            b, d, e = load8(at + 1), load8(at + 2), load8(at + 3)
            code = ((lead & 0x0F) << 18) | ((b & 0x3F) << 12) | ((d & 0x3F) << 6) | (e & 0x3F)
            if (b & 0xC0) == (d & 0xC0) == (e & 0xC0) == 0x80 and 0x10000 <= code < c.NUM_CODE_POINTS:
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
    return _BAD_BYTE


@njit(forceinline=True)
def _symbol(at, end, classes):
    """The symbol at an address; 0 at the end of the text."""
    if at >= end:
        return 0
    lead = load8(at)
    if lead < 0x80:
        return (load8(classes + lead) << 3) | 1
    return _wide_symbol(at, end, classes, lead)


@njit(forceinline=True)
def _run(at, end, classes, mask):
    """The address after the symbols of the mask's classes that start at `at`."""
    while at < end:
        lead = load8(at)
        # apart, so that the width of a symbol is known before its class is loaded
        if lead < 0x80:
            if not (load8(classes + lead) << 3) & mask:
                break
            at += 1
        else:
            symbol = _wide_symbol(at, end, classes, lead)
            if not symbol & mask:
                break
            at += symbol & _WIDTH
    return at


@njit(forceinline=True)
def _letters(at, end, classes):
    """The address after the letters, of any case, that start at `at`."""
    while at < end:
        lead = load8(at)
        if lead < 0x80:
            run = _leading(_lower_bits(load64(at) | _CASE_BITS))
            at += run
            if run < 8 and (at >= end or load8(at) < 0x80):
                break
        else:
            symbol = _wide_symbol(at, end, classes, lead)
            if not symbol & _LETTER:
                break
            at += symbol & _WIDTH
    return min(at, end)


@njit(forceinline=True)
def _numbers(at, end, classes, most):
    """The address after at most `most` numbers."""
    symbol = _symbol(at, end, classes)
    while symbol & _NUMBER and most > 0:
        at += symbol & _WIDTH
        most -= 1
        symbol = _symbol(at, end, classes)
    return at


@njit(forceinline=True)
def _white_space(at, end, classes, order):
    """The end of the piece at a run of white space, none of whose symbols begins a word."""
    after_line = at  # after the last line end of the run
    last = at  # the last symbol of the run
    stop = at
    symbol = _symbol(at, end, classes)
    while symbol & _SPACE:
        last = stop
        stop += symbol & _WIDTH
        if symbol & _NEWLINE:
            after_line = stop
        symbol = _symbol(stop, end, classes)
    if stop == end and order != _LINE:
        return stop
    if after_line > at and order != _RUN_AT_END:
        return after_line
    # \s+(?!\S) leaves the last one to the word that follows, unless it is the only one
    return last if last > at and stop < end else stop


@njit(forceinline=True)
def _contraction(at, end, any_case):
    """Bytes of 's 't 'm 'd 'll 've 're at the address; 0 if there is none."""
    room = end - at
    if room < 2 or load8(at) != _APOSTROPHE:
        return 0
    first, second = load8(at + 1), load8(at + 2)
    if any_case:
        if first == 0xC5 and second == 0xBF and room >= 3:  # U+017F, the long s, is a form of s
            return 3
        first, second = first | 32, second | 32
    # s, t, m, d
    if first == 115 or first == 116 or first == 109 or first == 100:
        return 2
    # ll, ve, re
    pair = (first << 8) | second
    return 3 if room >= 3 and (pair == 0x6C6C or pair == 0x7665 or pair == 0x7265) else 0


@njit(forceinline=True)
def _gpt2_rest(at, end, classes):
    """The end of the piece at `at`, when it isn't a word of ASCII letters."""
    length = _contraction(at, end, False)
    if length > 0:
        return at + length
    body = at + (load8(at) == _BLANK)
    symbol = _symbol(body, end, classes)
    if symbol & _LETTER:
        return _letters(body + (symbol & _WIDTH), end, classes)
    if symbol & _NUMBER:
        return _run(body, end, classes, _NUMBER)
    if symbol & _PUNCTUATION:
        return _run(body, end, classes, _PUNCTUATION)
    return _white_space(at, end, classes, _RUN_AT_END)


@njit(forceinline=True)
def _cl100k_rest(at, end, classes, order, most_numbers=3):
    """The end of the piece at `at`, when it isn't a word of ASCII letters."""
    length = _contraction(at, end, True)
    if length > 0:
        return at + length
    symbol = _symbol(at, end, classes)
    after = at + (symbol & _WIDTH)
    if symbol & _LETTER:
        return _letters(after, end, classes)
    if symbol & _NUMBER:
        return _numbers(at, end, classes, most_numbers)
    if symbol & _NEWLINE:
        return _white_space(at, end, classes, order)
    following = _symbol(after, end, classes)
    if following & _LETTER:
        return _letters(after + (following & _WIDTH), end, classes)
    if load8(at) == _BLANK and following & _PUNCTUATION:
        symbol = following
    if symbol & _PUNCTUATION:
        return _run(_run(after, end, classes, _PUNCTUATION), end, classes, _NEWLINE)
    return _white_space(at, end, classes, order)


@njit(forceinline=True)
def _o200k_word(at, end, classes):
    """The end of the word at `at`, without prefix or contraction; `at` itself if there is none.

    The two alternatives [not lower]*[not upper]+ and [not lower]+[not upper]*, where marks and letters without case are
    neither. The first takes every symbol that isn't lower case; if no lower case follows, it gives back symbols until
    the last one given back isn't upper case either. A mark can be a prefix too, with the same end.
    """
    # most texts without case end in this loop
    stop = _run(at, end, classes, _EITHER_CASE)
    after_either = stop
    symbol = _symbol(stop, end, classes)
    while symbol & _NOT_LOWER:
        stop += symbol & _WIDTH
        if symbol & _EITHER_CASE:
            after_either = stop
        symbol = _symbol(stop, end, classes)
    if symbol & _LOWER:
        return _run(stop, end, classes, _NOT_UPPER)
    return after_either if after_either > at else stop


@njit(forceinline=True)
def _o200k_rest(at, end, classes):
    """The end of the piece at `at`, when it isn't a word of a few ASCII letters."""
    symbol = _symbol(at, end, classes)
    if symbol & _NUMBER:
        return _numbers(at, end, classes, 3)
    if symbol & _NEWLINE:
        return _white_space(at, end, classes, _LINE)
    body = at + (symbol & _WIDTH) if symbol & _PREFIX else at
    stop = _o200k_word(body, end, classes)
    if stop > body:
        return stop + _contraction(stop, end, True)
    if load8(at) != _BLANK:
        body = at
    stop = _run(body, end, classes, _PUNCTUATION)
    if stop > body:
        # [\r\n/]*
        while stop < end and (load8(stop) == _SLASH or _symbol(stop, end, classes) & _NEWLINE):
            stop += 1
        return stop
    return _white_space(at, end, classes, _LINE)


@njit(forceinline=True)
def _ascii_word(at, end, classes):
    """The end of an optional blank and letters of any case at `at`, if the first letter is ASCII; else 0.

    Nearly every piece of English ends here, in the first `if`: one load, and no branch that depends on the length.
    """
    first = load8(at)
    word = load64(at + 1)
    run = _leading(_lower_bits(word | _CASE_BITS))
    if not ((first == _BLANK and run > 0) or 97 <= (first | 32) <= 122):
        return 0
    stop = at + 1 + run
    # what follows the end of the text in memory may be letters too
    if run < 8 and word & _TOP_BITS == _ZERO:
        return min(stop, end)
    return _letters(stop, end, classes)


@njit(forceinline=True)
def _cased_ascii_word(at, end):
    """The end of an optional blank and an o200k word of ASCII letters that a non-letter of ASCII follows; else 0."""
    first = load8(at)
    word = load64(at + 1)
    starts_lower = 97 <= first <= 122
    upper = 0 if starts_lower else _leading(_upper_bits(word))
    # the bytes before the lower-case letters count as done; a shift by 64 would not give zero
    done = (_TOP_BITS << np.uint64(8 * (upper & 7))) ^ _TOP_BITS
    run = _leading(_lower_bits(word) | done)
    if upper == 8 or not ((first == _BLANK and run > 0) or starts_lower or 65 <= first <= 90):
        return 0
    stop = at + 1 + run
    if run < 8:
        return stop if stop < end and word & _TOP_BITS == _ZERO else 0
    while run == 8 and stop < end:
        run = _leading(_lower_bits(load64(stop)))
        stop += run
    return stop if stop < end and load8(stop) < 0x80 else 0


@njit(cache=True, nogil=True)
def split_gpt2(text, start, stop, ends, classes):
    """See the head of this file."""
    origin, table, out = address_of(text) + start, address_of(classes), address_of(ends)
    at, end = origin, origin + (stop - start)
    full = out + 4 * len(ends)
    first = out
    while at < end and out < full:
        after = _ascii_word(at, end, table)
        at = after if after > 0 else _gpt2_rest(at, end, table)
        store32(out, at - origin)
        out += 4
    keep(text)
    keep(classes)
    keep(ends)
    return (out - first) >> 2


@njit(forceinline=True)
def _split_cl100k(text, start, stop, ends, classes, order, most_numbers):
    origin, table, out = address_of(text) + start, address_of(classes), address_of(ends)
    at, end = origin, origin + (stop - start)
    full = out + 4 * len(ends)
    first = out
    while at < end and out < full:
        after = _ascii_word(at, end, table)
        at = after if after > 0 else _cl100k_rest(at, end, table, order, most_numbers)
        store32(out, at - origin)
        out += 4
    keep(text)
    keep(classes)
    keep(ends)
    return (out - first) >> 2


@njit(cache=True, nogil=True)
def split_cl100k(text, start, stop, ends, classes):
    """See the head of this file."""
    return _split_cl100k(text, start, stop, ends, classes, _RUN_AT_END_THEN_LINE, 3)


@njit(cache=True, nogil=True)
def split_llama3(text, start, stop, ends, classes):
    """See the head of this file. cl100k as it was first published: only white space at the end differs."""
    return _split_cl100k(text, start, stop, ends, classes, _LINE, 3)


@njit(cache=True, nogil=True)
def split_qwen2(text, start, stop, ends, classes):
    """See the head of this file. Llama 3's with each number alone."""
    return _split_cl100k(text, start, stop, ends, classes, _LINE, 1)


@njit(cache=True, nogil=True)
def split_o200k(text, start, stop, ends, classes):
    """See the head of this file."""
    origin, table, out = address_of(text) + start, address_of(classes), address_of(ends)
    at, end = origin, origin + (stop - start)
    full = out + 4 * len(ends)
    first = out
    while at < end and out < full:
        after = _cased_ascii_word(at, end)
        if after == 0:
            at = _o200k_rest(at, end, table)
        elif load8(after) == _APOSTROPHE:
            at = after + _contraction(after, end, True)
        else:
            at = after
        store32(out, at - origin)
        out += 4
    keep(text)
    keep(classes)
    keep(ends)
    return (out - first) >> 2
