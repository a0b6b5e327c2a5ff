"""Kernel of sentencepiece's normaliser; `reference.py` says what it computes.

Most text is left as it is, so most of the kernel finds out quickly that no rule applies. Letters and blanks of ASCII go
up to 64 bytes at a time, and a table of one bit for each code point tells which characters of two and three bytes begin
no rule. A character of three bytes whose only rule is its own has that rule's place in a table. Whatever is left is
looked up in the tries, byte by byte.
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
from textmill.ops.normalize.cpu_rules import (
    BLANK,
    BLANKS_ARE,
    CLASSES,
    EACH_BYTE,
    ESCAPE,
    FIRST_LEAD,
    FIRST_LINE,
    FIRST_VISIBLE,
    JOINS,
    LETTERS,
    LINES_ARE,
    LOWER_CASE,
    NUM_BYTES,
    NUM_LEADS,
    NUM_LINES,
    NUM_VISIBLE,
    OWN_RULES,
    PLAIN,
    PREFIX,
    RULED,
    RULED_LETTERS,
    SQUEEZE,
    STRINGS,
    SUFFIX,
    UNTOUCHED,
    function,
    helper,
    next_string,
    string_length,
    wide_character,
    word_of,
)
from textmill.ops.vectors import bytes_in_range

ROOM = 4 * PADDING + 16
"""Bytes of `out` beyond what a step may count on."""
# words of the state: number of the document, bytes read and written, whether a blank was last, how far the document
# is, where in `out` it begins, the end of what counts of it
DOCUMENT, AT, WRITTEN, AFTER_BLANK, FRESH, BEGUN, READ = range(7)
STATE_WORDS = 7

NOTHING_READ, READING = 0, 1
"""Values of FRESH."""
_LOW = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_EVERY_THIRD = np.uint64(0x9249249249249249)
_BLANK_BYTE = 0x20
_ESCAPED = 0x8196E2


@helper
def _small_letters(word):
    """uint64: the bytes of ASCII in lower case. A byte that is not ASCII may change itself and those after it."""
    capitals = (word + _LOW * np.uint64(0x80 - 0x41)) & ~(word + _LOW * np.uint64(0x80 - 0x5B)) & _HIGH
    return word | (capitals >> np.uint64(2))


@helper
def _put(out_at, sources_at, written, byte, source):
    store8(out_at + written, byte)
    if sources_at != 0:
        store32(sources_at + 4 * written, source)
    return written + 1


@helper
def _putwide_character(out_at, sources_at, written, word, size, source):
    """Writes the `size` <= 3 low bytes of the word, and maybe others after them."""
    store32(out_at + written, word)
    if sources_at != 0:
        both = (source << 32) | source
        store64(sources_at + 4 * written, both)
        store64(sources_at + 4 * written + 8, both)
    return written + size


@helper
def _put_blank(out_at, sources_at, written, escape, source):
    if escape:
        return _putwide_character(out_at, sources_at, written, _ESCAPED, np.int64(3), source)
    return _put(out_at, sources_at, written, _BLANK_BYTE, source)


@function
def _put_string(out_at, sources_at, written, string, source, after_blank, model):
    """(bytes written, whether a blank was last): the replacement string (address, length) has gone out."""
    at, length = string
    escape, squeeze = word_of(model, ESCAPE), word_of(model, SQUEEZE)
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


@function
def _skip_blanks(text_at, at, stop, model):
    """int64: where the text begins, its first blanks apart."""
    while at < stop and word_of(model, SQUEEZE):
        source, length, step = next_string(text_at + at, stop - at, model)
        if length != 1 or load8(source) != _BLANK_BYTE:
            break
        at += step
    return at


@helper
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


@helper
def _simple_bytes(text_at, model):
    """(uint64, uint64): which of the next 64 bytes are visible and go out by the rule for letters, which are blanks."""
    visible, blanks = bytes_in_range(text_at, 0, FIRST_VISIBLE, NUM_VISIBLE), np.uint64(0)
    ruled = word_of(model, RULED_LETTERS)
    while ruled != 0:
        visible &= ~bytes_in_range(text_at, 0, ruled & 0xFF, 1)
        ruled >>= 8
    if word_of(model, BLANKS_ARE) == BLANK:
        blanks |= bytes_in_range(text_at, 0, _BLANK_BYTE, 1)
    if word_of(model, LINES_ARE) == BLANK:
        blanks |= bytes_in_range(text_at, 0, FIRST_LINE, NUM_LINES)
    elif word_of(model, LINES_ARE) == PLAIN:
        visible |= bytes_in_range(text_at, 0, FIRST_LINE, NUM_LINES)
    return visible, blanks


@helper
def _ascii_run(text_at, at, stop, out_at, sources_at, written, after_blank, classes, model):
    """(bytes read, bytes written, whether a blank was last) after up to 64 bytes of letters and blanks."""
    visible, blanks = _simple_bytes(text_at + at, model)
    run = min(count_trailing_zeros(~(visible | blanks)), stop - at)
    # the last one may be the beginning of a longer rule
    if run > 0 and load8(classes + load8(text_at + at + run)) & JOINS != 0:
        run -= 1
    if run == 0:
        return at, written, after_blank
    letters, escape, squeeze = word_of(model, LETTERS), word_of(model, ESCAPE), word_of(model, SQUEEZE)
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


@helper
def _copy_wide(text_at, at, stop, out_at, sources_at, written, first, count):
    """int64: bytes of the characters of three bytes that begin here and are copied, 63 at most; `out` gets 64 bytes.

    first, count: the bytes that they may begin with.
    """
    leads, others = bytes_in_range(text_at + at, 0, first, count), bytes_in_range(text_at + at, 0, 0x80, 0x40)
    fits = (leads & _EVERY_THIRD) | (others & ~_EVERY_THIRD)
    run = min(count_trailing_zeros(~fits), stop - at) // 3 * 3
    for i in range(0, 64, 8):
        store64(out_at + written + i, load64(text_at + at + i))
    if sources_at != 0:
        for i in range(0, run, 3):
            for k in range(3):
                store32(sources_at + 4 * (written + i + k), at + i)
    return run


@helper
def _wide_run(text_at, at, stop, out_at, sources_at, written, room, model):
    """(bytes read, bytes written) after the characters of two and three bytes that begin no rule have gone out."""
    untouched, first, count = word_of(model, UNTOUCHED), word_of(model, FIRST_LEAD), word_of(model, NUM_LEADS)
    while at < stop and written < room:
        byte = load8(text_at + at)
        if byte >= first and byte < first + count:
            run = _copy_wide(text_at, at, stop, out_at, sources_at, written, first, count)
            at += run
            written += run
            if run > 0:
                continue
        code, size = wide_character(text_at + at, stop - at)
        if size == 0 or (load8(untouched + (code >> 3)) >> (code & 7)) & 1 == 0:
            break
        written = _putwide_character(out_at, sources_at, written, load32(text_at + at), size, at)
        at += size
    return at, written


@helper
def _next_rule(text_at, length, model):
    """As `next_string`, without the tries where a character of three bytes has a rule of its own alone."""
    code, size = wide_character(text_at, length)
    if size == 3:
        value = load32(word_of(model, OWN_RULES) + (code << 2))
        if value >= 0:
            strings = word_of(model, STRINGS)
            return strings + value, string_length(strings, word_of(model, NUM_BYTES), value), size
    return next_string(text_at, length, model)


@helper
def _single_byte_rule(text_at, length, model):
    """int64: the one byte that stands for the character of three bytes at the address, -1 if that is not so."""
    code, size = wide_character(text_at, length)
    if size != 3:
        return np.int64(-1)
    value = load32(word_of(model, OWN_RULES) + (code << 2))
    if value < 0:
        return np.int64(-1)
    string = word_of(model, STRINGS) + value
    # the last byte of the strings is zero, so an empty string is the only one that no byte follows
    byte = load8(string)
    return byte if byte != 0 and load8(string + 1) == 0 else np.int64(-1)


@function
def _go_on(text_at, stop, out_at, sources_at, room, state_at, model):
    """Reads from AT until `stop`, or until `out` has too little room; moves AT, WRITTEN and AFTER_BLANK."""
    at, written = load_int64(state_at + 8 * AT), load_int64(state_at + 8 * WRITTEN)
    after_blank, classes = load_int64(state_at + 8 * AFTER_BLANK), word_of(model, CLASSES)
    squeeze, escape, letters = word_of(model, SQUEEZE), word_of(model, ESCAPE), word_of(model, LETTERS)
    while at < stop and written < room:
        byte = load8(text_at + at)
        if letters != EACH_BYTE and byte < 0x80:
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
            at, written = _wide_run(text_at, at, stop, out_at, sources_at, written, room, model)
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
            single = _single_byte_rule(text_at + at, stop - at, model)
            if single > _BLANK_BYTE:
                written = _put(out_at, sources_at, written, single, at)
                after_blank = np.int64(0)
                at += 3
                continue
        source, length, step = _next_rule(text_at + at, stop - at, model)
        if length < 0:
            written = _putwide_character(out_at, sources_at, written, 0xBDBFEF, np.int64(3), at)
            after_blank = np.int64(0)
        else:
            if written + 3 * length > room:
                break
            written, after_blank = _put_string(out_at, sources_at, written, (source, length), at, after_blank, model)
        at += step
    store64(state_at + 8 * AT, at)
    store64(state_at + 8 * WRITTEN, written)
    store64(state_at + 8 * AFTER_BLANK, after_blank)


@function
def _begin(text_at, at, stop, out_at, sources_at, state_at, model):
    """Skips the blanks before a document and writes the blank that comes first."""
    written = load_int64(state_at + 8 * WRITTEN)
    store64(state_at + 8 * BEGUN, written)
    at = _skip_blanks(text_at, at, stop, model)
    if at < stop and word_of(model, PREFIX):
        written = _put_blank(out_at, sources_at, written, word_of(model, ESCAPE), at)
    store64(state_at + 8 * AT, at)
    store64(state_at + 8 * WRITTEN, written)
    store64(state_at + 8 * AFTER_BLANK, word_of(model, SQUEEZE))
    store64(state_at + 8 * FRESH, READING)
    # a text without anything but blanks becomes nothing at all
    return at < stop


@function
def _finish(stop, out_at, sources_at, state_at, model):
    """Drops the blanks at a document's end, and writes the one that comes last."""
    written, begun, read = load_int64(state_at + 8 * WRITTEN), load_int64(state_at + 8 * BEGUN), stop
    escape = word_of(model, ESCAPE)
    size = np.int64(3) if escape else np.int64(1)
    while word_of(model, SQUEEZE) and written - size >= begun:
        last = out_at + written - size
        if (load32(last) & 0xFFFFFF if escape else load8(last)) != (_ESCAPED if escape else _BLANK_BYTE):
            break
        written -= size
        if sources_at != 0:
            read = load32(sources_at + 4 * written)
    if word_of(model, SUFFIX):
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
