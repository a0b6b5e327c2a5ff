"""Kernel of sentencepiece's normaliser; `reference.py` says what it computes.

Most text is left as it is, so most of the kernel finds out quickly that no rule applies. Letters and blanks of ASCII go
up to 64 bytes at a time, and a table of one bit for each code point tells which characters of two and three bytes begin no rule. A
character of three bytes whose only rule is its own has that rule's place in a table. Whatever is left is looked up in
the tries, byte by byte.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import (
    PADDING,
    address_of,
    count_trailing_zeros,
    keep,
    load8,
    load32,
    load64,
    load_int64,
    store8,
    store32,
    store64,
)
from textmill.ops.vectors import bytes_in_range

PLAIN, BLANK, RULED = 0, 1, 2
"""Classes of ASCII bytes: one that becomes one visible byte; one that becomes a blank; one that only the tries tell."""
JOINS = 4
"""Flag of a byte: after some byte of the first two classes it makes the beginning of a longer rule."""
AS_IT_IS, LOWER_CASE, EACH_BYTE = 0, 1, 2
"""What becomes of visible ASCII but for RULED_LETTERS: it stays, in small letters; or the table of bytes tells."""
MOST_RULED = 4
"""Visible characters that RULED_LETTERS can name, a byte each."""
MOST_MATCHES = 32
"""sentencepiece looks at no more rules that begin alike."""
MOST_USER_MATCHES = 64
ROOM = 4 * PADDING + 16
"""Bytes of `out` beyond what a step may count on."""
NUM_WIDE = 1 << 16
"""Code points that have an entry in the tables of characters of two and three bytes."""

# words of the model: addresses of arrays and their lengths, then settings
(
    CLASSES,
    UNTOUCHED,
    OWN_RULES,
    UNITS,
    NUM_UNITS,
    STRINGS,
    NUM_BYTES,
    USER,
    NUM_USER,
    LETTERS,
    SQUEEZE,
    ESCAPE,
    PREFIX,
    SUFFIX,
    RULED_LETTERS,
    BLANKS_ARE,
    LINES_ARE,
) = range(17)
MODEL_WORDS = 17

# words of the state: number of the document, bytes read and written, whether a blank was last, how far the document
# is, where in `out` it begins, the end of what counts of it
DOCUMENT, AT, WRITTEN, AFTER_BLANK, FRESH, BEGUN, READ = range(7)
STATE_WORDS = 7

NOTHING_READ, READING = 0, 1
"""Values of FRESH."""
FIRST_VISIBLE, NUM_VISIBLE = 0x21, 0x7F - 0x21
FIRST_LINE, NUM_LINES = 0x09, 2
"""The tabulator and the end of a line."""

_LOW = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_BLANK_BYTE = 0x20
_ESCAPED = 0x8196E2
_LEAF = 1 << 8
_FAR = 1 << 9
_LABEL = (1 << 31) | 0xFF
_WORD = (1 << 32) - 1

# Numba's types leave the last two options out
_helper = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]
_function = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]


@_helper
def _word_of(model, word):
    return load_int64(model + (word << 3))


@_helper
def unit_offset(unit):
    """int64: how far (in exclusive or) the unit's children are."""
    return (unit >> 10) << ((unit & _FAR) >> 6)


@_function
def longest_match(units_at, num_units, text_at, length, most):
    """(value, length of the longest string of the trie that the text begins with; 0 if there is none)."""
    place, value, matched, found = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    place ^= unit_offset(load32(units_at) & _WORD)
    for i in range(length):
        byte = load8(text_at + i)
        place ^= byte
        if place >= num_units:
            break
        unit = load32(units_at + 4 * place) & _WORD
        if unit & _LABEL != byte:
            break
        place ^= unit_offset(unit)
        if place >= num_units:
            break
        if unit & _LEAF:
            value, matched = load32(units_at + 4 * place) & 0x7FFFFFFF, i + 1
            found += 1
            if found == most:
                break
    return value, matched


@_helper
def continues(text_at, i):
    return load8(text_at + i) & 0xC0 == 0x80


@_function
def character_length(text_at, length):
    """int64: bytes of the UTF-8 character that the text begins with, 0 if they are none."""
    first = load8(text_at)
    second = load8(text_at + 1)
    if first < 0x80:
        return 1
    if length >= 2 and 0xC2 <= first < 0xE0 and continues(text_at, 1):
        return 2
    if length >= 3 and 0xE0 <= first < 0xF0 and continues(text_at, 1) and continues(text_at, 2):
        # neither longer than need be nor a surrogate
        return 0 if (first == 0xE0 and second < 0xA0) or (first == 0xED and second >= 0xA0) else 3
    if length >= 4 and 0xF0 <= first < 0xF5 and continues(text_at, 1) and continues(text_at, 2):
        outside = (first == 0xF0 and second < 0x90) or (first == 0xF4 and second >= 0x90)
        return 4 if continues(text_at, 3) and not outside else 0
    return 0


@_helper
def string_length(strings_at, num_bytes, value):
    """int64: bytes before the zero byte; the last byte of the strings is one."""
    end = value
    while end < num_bytes and load8(strings_at + end) != 0:
        end += 1
    return end - value


@_function
def next_string(text_at, length, model):
    """(where the bytes lie that stand for what the text begins with, how many, how much of the text; -1: a
    replacement character stands for it)."""
    num_user = _word_of(model, NUM_USER)
    if num_user > 0:
        _, matched = longest_match(_word_of(model, USER), num_user, text_at, length, MOST_USER_MATCHES)
        if matched > 0:
            return text_at, matched, matched
    value, matched = longest_match(_word_of(model, UNITS), _word_of(model, NUM_UNITS), text_at, length, MOST_MATCHES)
    if matched > 0:
        strings, num_bytes = _word_of(model, STRINGS), _word_of(model, NUM_BYTES)
        value = min(value, num_bytes - 1)
        return strings + value, string_length(strings, num_bytes, value), matched
    matched = character_length(text_at, length)
    if matched == 0:
        return text_at, np.int64(-1), np.int64(1)
    return text_at, matched, matched


@_helper
def _wide(text_at, length):
    """(code, bytes) of the character of two or three bytes that the text begins with, as far as the kinds of its bytes
    tell; bytes 0 for anything else. Code points that could be shorter do not count. Reads four bytes."""
    word = load32(text_at)
    if (word & 0xC0C0F0) == 0x8080E0 and length >= 3:
        code = (word & 0x0F) << 12 | (word >> 2 & 0xFC0) | (word >> 16 & 0x3F)
        return code, np.int64(3 if code >= 0x800 else 0)
    if (word & 0xC0E0) == 0x80C0 and length >= 2:
        code = (word & 0x1F) << 6 | (word >> 8 & 0x3F)
        return code, np.int64(2 if code >= 0x80 else 0)
    return np.int64(0), np.int64(0)


@_helper
def _small_letters(word):
    """uint64: the bytes of ASCII in lower case. A byte that is not ASCII may change itself and those after it."""
    capitals = (word + _LOW * np.uint64(0x80 - 0x41)) & ~(word + _LOW * np.uint64(0x80 - 0x5B)) & _HIGH
    return word | (capitals >> np.uint64(2))


@_helper
def _put(out_at, sources_at, written, byte, source):
    store8(out_at + written, byte)
    if sources_at != 0:
        store32(sources_at + 4 * written, source)
    return written + 1


@_helper
def _put_wide(out_at, sources_at, written, word, size, source):
    """Writes the `size` <= 3 low bytes of the word, and maybe others after them."""
    store32(out_at + written, word)
    if sources_at != 0:
        both = (source << 32) | source
        store64(sources_at + 4 * written, both)
        store64(sources_at + 4 * written + 8, both)
    return written + size


@_helper
def _put_blank(out_at, sources_at, written, escape, source):
    if escape:
        return _put_wide(out_at, sources_at, written, _ESCAPED, np.int64(3), source)
    return _put(out_at, sources_at, written, _BLANK_BYTE, source)


@_function
def _put_string(out_at, sources_at, written, string, source, after_blank, model):
    """(bytes written, whether a blank was last): the replacement string (address, length) has gone out."""
    at, length = string
    escape, squeeze = _word_of(model, ESCAPE), _word_of(model, SQUEEZE)
    skipped = np.int64(0)
    while after_blank and skipped < length and load8(at + skipped) == _BLANK_BYTE:
        skipped += 1
    for i in range(skipped, length):
        byte = load8(at + i)
        if byte == _BLANK_BYTE:
            written = _put_blank(out_at, sources_at, written, escape, source)
        else:
            written = _put(out_at, sources_at, written, byte, source)
    if skipped < length:
        after_blank = squeeze if load8(at + length - 1) == _BLANK_BYTE else np.int64(0)
    return written, after_blank


@_function
def _skip_blanks(text_at, at, stop, model):
    """int64: where the text begins, its first blanks apart."""
    while at < stop and _word_of(model, SQUEEZE):
        source, length, step = next_string(text_at + at, stop - at, model)
        if length != 1 or load8(source) != _BLANK_BYTE:
            break
        at += step
    return at


@_helper
def _copy_letters(text_at, at, length, out_at, sources_at, written, letters):
    """int64: how many bytes are written after `length` more; up to 15 after them are written to as well."""
    for i in range(0, length, 16):
        first, second = load64(text_at + at + i), load64(text_at + at + i + 8)
        if letters == LOWER_CASE:
            first, second = _small_letters(first), _small_letters(second)
        store64(out_at + written + i, first)
        store64(out_at + written + i + 8, second)
    if sources_at != 0:
        for i in range(length):
            store32(sources_at + 4 * (written + i), at + i)
    return written + length


@_helper
def _simple_bytes(text_at, model):
    """(uint64, uint64): which of the next 64 bytes are visible and go out by the rule for letters, which are blanks."""
    visible, blanks = bytes_in_range(text_at, 0, FIRST_VISIBLE, NUM_VISIBLE), np.uint64(0)
    ruled = _word_of(model, RULED_LETTERS)
    while ruled != 0:
        visible &= ~bytes_in_range(text_at, 0, ruled & 0xFF, 1)
        ruled >>= 8
    if _word_of(model, BLANKS_ARE) == BLANK:
        blanks |= bytes_in_range(text_at, 0, _BLANK_BYTE, 1)
    if _word_of(model, LINES_ARE) == BLANK:
        blanks |= bytes_in_range(text_at, 0, FIRST_LINE, NUM_LINES)
    elif _word_of(model, LINES_ARE) == PLAIN:
        visible |= bytes_in_range(text_at, 0, FIRST_LINE, NUM_LINES)
    return visible, blanks


@_helper
def _ascii_run(text_at, at, stop, out_at, sources_at, written, after_blank, classes, model):
    """(bytes read, bytes written, whether a blank was last) after up to 64 bytes of letters and blanks."""
    visible, blanks = _simple_bytes(text_at + at, model)
    run = min(count_trailing_zeros(~(visible | blanks)), stop - at)
    # the last one may be the beginning of a longer rule
    if run > 0 and load8(classes + load8(text_at + at + run)) & JOINS != 0:
        run -= 1
    if run == 0:
        return at, written, after_blank
    letters, escape, squeeze = _word_of(model, LETTERS), _word_of(model, ESCAPE), _word_of(model, SQUEEZE)
    if run < 64:
        blanks &= (np.uint64(1) << np.uint64(run)) - np.uint64(1)
    done = np.int64(0)
    while blanks != np.uint64(0):
        blank = count_trailing_zeros(blanks)
        written = _copy_letters(text_at, at + done, blank - done, out_at, sources_at, written, letters)
        if blank > done or after_blank == 0:
            written = _put_blank(out_at, sources_at, written, escape, at + blank)
        after_blank = squeeze
        done = blank + 1
        blanks &= blanks - np.uint64(1)
    if run > done:
        written = _copy_letters(text_at, at + done, run - done, out_at, sources_at, written, letters)
        after_blank = np.int64(0)
    return at + run, written, after_blank


@_helper
def _wide_run(text_at, at, stop, out_at, sources_at, written, room, untouched):
    """(bytes read, bytes written) after the characters of two and three bytes that begin no rule have gone out."""
    while at < stop and written < room:
        code, size = _wide(text_at + at, stop - at)
        if size == 0 or (load8(untouched + (code >> 3)) >> (code & 7)) & 1 == 0:
            break
        written = _put_wide(out_at, sources_at, written, load32(text_at + at), size, at)
        at += size
    return at, written


@_helper
def _next_rule(text_at, length, model):
    """As `next_string`, without the tries where a character of three bytes has a rule of its own alone."""
    code, size = _wide(text_at, length)
    if size == 3:
        value = load32(_word_of(model, OWN_RULES) + (code << 2))
        if value >= 0:
            strings = _word_of(model, STRINGS)
            return strings + value, string_length(strings, _word_of(model, NUM_BYTES), value), size
    return next_string(text_at, length, model)


@_function
def _go_on(text_at, stop, out_at, sources_at, room, state_at, model):
    """Reads from AT until `stop`, or until `out` has too little room; moves AT, WRITTEN and AFTER_BLANK."""
    at, written = load_int64(state_at + 8 * AT), load_int64(state_at + 8 * WRITTEN)
    after_blank, classes = load_int64(state_at + 8 * AFTER_BLANK), _word_of(model, CLASSES)
    squeeze, escape, letters = _word_of(model, SQUEEZE), _word_of(model, ESCAPE), _word_of(model, LETTERS)
    while at < stop and written < room:
        if letters != EACH_BYTE:
            begun = at
            at, written, after_blank = _ascii_run(
                text_at, at, stop, out_at, sources_at, written, after_blank, classes, model
            )
            if at == stop or at - begun == 64:
                continue
        byte = load8(text_at + at)
        kind = load8(classes + byte)
        if byte >= 0x80:
            begun = at
            at, written = _wide_run(text_at, at, stop, out_at, sources_at, written, room, _word_of(model, UNTOUCHED))
            if at > begun:
                after_blank = np.int64(0)
                if at == stop or written >= room or load8(text_at + at) < 0x80:
                    continue
        elif kind & RULED == 0 and load8(classes + load8(text_at + at + 1)) & JOINS == 0:
            if kind & BLANK == 0:
                written = _put(out_at, sources_at, written, load8(classes + 256 + byte), at)
                after_blank = np.int64(0)
                at += 1
            else:
                if not after_blank:
                    written = _put_blank(out_at, sources_at, written, escape, at)
                    after_blank = squeeze
                at += 1
            continue
        source, length, step = _next_rule(text_at + at, stop - at, model)
        if length < 0:
            written = _put_wide(out_at, sources_at, written, 0xBDBFEF, np.int64(3), at)
            after_blank = np.int64(0)
        else:
            if written + 3 * length > room:
                break
            written, after_blank = _put_string(out_at, sources_at, written, (source, length), at, after_blank, model)
        at += step
    store64(state_at + 8 * AT, at)
    store64(state_at + 8 * WRITTEN, written)
    store64(state_at + 8 * AFTER_BLANK, after_blank)


@_function
def _begin(text_at, at, stop, out_at, sources_at, state_at, model):
    """Skips the blanks before a document and writes the blank that comes first."""
    written = load_int64(state_at + 8 * WRITTEN)
    store64(state_at + 8 * BEGUN, written)
    at = _skip_blanks(text_at, at, stop, model)
    if at < stop and _word_of(model, PREFIX):
        written = _put_blank(out_at, sources_at, written, _word_of(model, ESCAPE), at)
    store64(state_at + 8 * AT, at)
    store64(state_at + 8 * WRITTEN, written)
    store64(state_at + 8 * AFTER_BLANK, _word_of(model, SQUEEZE))
    store64(state_at + 8 * FRESH, READING)
    # a text without anything but blanks becomes nothing at all
    return at < stop


@_function
def _finish(stop, out_at, sources_at, state_at, model):
    """Drops the blanks at a document's end, and writes the one that comes last."""
    written, begun, read = load_int64(state_at + 8 * WRITTEN), load_int64(state_at + 8 * BEGUN), stop
    escape = _word_of(model, ESCAPE)
    size = np.int64(3) if escape else np.int64(1)
    while _word_of(model, SQUEEZE) and written - size >= begun:
        last = out_at + written - size
        if (load32(last) & 0xFFFFFF if escape else load8(last)) != (_ESCAPED if escape else _BLANK_BYTE):
            break
        written -= size
        if sources_at != 0:
            read = load32(sources_at + 4 * written)
    if _word_of(model, SUFFIX):
        written = _put_blank(out_at, sources_at, written, escape, read)
    store64(state_at + 8 * WRITTEN, written)
    store64(state_at + 8 * READ, read)


@njit(cache=True, nogil=True)
def normalize_block(text, bounds, model, out, sources, ends, state):
    """bool: whether all documents are done; if not, `out` has too little room for more than `state` says.

    Args:
        text: padded UTF-8; document i is text[bounds[i]:bounds[i + 1]].
        model: int64 [MODEL_WORDS]; the caller holds what it names.
        out: uint8, with `ROOM` to spare; sources: int32 of the same length, or empty if not wanted.
        ends: int64: where each document ends in `out`.
        state: int64 [STATE_WORDS], zeros at first.
    """
    text_at, out_at, state_at, model_at = address_of(text), address_of(out), address_of(state), address_of(model)
    sources_at = address_of(sources) if len(sources) > 0 else np.int64(0)
    room, done = len(out) - ROOM, True
    while state[DOCUMENT] < len(bounds) - 1 and done:
        document = state[DOCUMENT]
        start, stop = np.int64(bounds[document]), np.int64(bounds[document + 1])
        if state[WRITTEN] >= room:
            done = False
            break
        if state[FRESH] == READING or _begin(text_at, start, stop, out_at, sources_at, state_at, model_at):
            _go_on(text_at, stop, out_at, sources_at, room, state_at, model_at)
            if state[AT] < stop:
                done = False
                break
            _finish(stop, out_at, sources_at, state_at, model_at)
        else:
            state[READ] = stop
        ends[document] = state[WRITTEN]
        state[FRESH] = NOTHING_READ
        state[DOCUMENT] = document + 1
    keep(text), keep(bounds), keep(model), keep(out), keep(sources), keep(ends)
    return done
