"""Kernel of sentencepiece's normaliser; `reference.py` says what it computes."""

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
    store8,
    store32,
    store64,
)

PLAIN, BLANK, RULED = 0, 1, 2
"""Classes of bytes: one that stays as it is before an ASCII byte; such a blank; one that only the tries can tell."""
MOST_MATCHES = 32
"""sentencepiece looks at no more rules that begin alike."""
MOST_USER_MATCHES = 64
ROOM = 8 + PADDING
"""Bytes of `out` beyond what a step may count on."""

# places in the state: bytes read and written, whether a blank was last, how far it is; then the settings
AT, WRITTEN, AFTER_BLANK, FRESH, STOP, SQUEEZE, ESCAPE, PREFIX = range(8)

READING, NOTHING_READ, ALL_BLANK = range(3)
"""Values of FRESH."""

_HIGH = np.uint64(0x8080808080808080)
_LOW = np.uint64(0x0101010101010101)
_BLANK_BYTE = 0x20
_ASCII = 0x80
_LEAF = 1 << 8
_FAR = 1 << 9
_LABEL = (1 << 31) | 0xFF
_WORD = (1 << 32) - 1


@njit(forceinline=True)
def unit_offset(unit):
    """int64: how far (in exclusive or) the unit's children are."""
    return (unit >> 10) << ((unit & _FAR) >> 6)


@njit
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


@njit(forceinline=True)
def continues(text_at, i):
    return load8(text_at + i) & 0xC0 == 0x80


@njit
def character_length(text_at, length):
    """int64: bytes of the UTF-8 character that the text begins with, 0 if they are none."""
    first = load8(text_at)
    second = load8(text_at + 1)
    if first < _ASCII:
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


@njit
def string_length(strings_at, num_bytes, value):
    """int64: bytes before the zero byte; the last byte of the strings is one."""
    end = value
    while end < num_bytes and load8(strings_at + end) != 0:
        end += 1
    return end - value


@njit
def next_string(text_at, length, tables):
    """(where the bytes lie that stand for what the text begins with, how many, how much of the text; -1: a
    replacement character stands for it)."""
    units_at, num_units, strings_at, num_bytes, user_at, num_user = tables
    if num_user > 0:
        _, matched = longest_match(user_at, num_user, text_at, length, MOST_USER_MATCHES)
        if matched > 0:
            return text_at, matched, matched
    value, matched = longest_match(units_at, num_units, text_at, length, MOST_MATCHES)
    if matched > 0:
        value = min(value, num_bytes - 1)
        return strings_at + value, string_length(strings_at, num_bytes, value), matched
    matched = character_length(text_at, length)
    if matched == 0:
        return text_at, np.int64(-1), np.int64(1)
    return text_at, matched, matched


@njit(forceinline=True)
def letters_plain(classes_at):
    """bool: whether every visible character of ASCII stays as it is before another one."""
    ruled = np.int64(0)
    for byte in range(0x21, 0x7F):
        ruled |= load8(classes_at + byte)
    return ruled == PLAIN


@njit(forceinline=True)
def word_length(text_at):
    """int64 in 0..8: how many of the next bytes are visible ASCII characters before another one of ASCII."""
    word = load64(text_at)
    # the highest bit of a byte says that it is no such character: not ASCII, below U+0021, U+007F
    below = ~((word | _HIGH) - _LOW * np.uint64(0x21))
    delete = (word & ~_HIGH) + _LOW
    stops = (word | below | delete) & _HIGH
    length = count_trailing_zeros(stops) >> 3
    return length - 1 if load8(text_at + length) >= _ASCII and length > 0 else length


@njit(forceinline=True)
def put(out_at, sources_at, written, byte, source):
    store8(out_at + written, byte)
    if sources_at != 0:
        store32(sources_at + 4 * written, source)
    return written + 1


@njit(forceinline=True)
def put_three(out_at, sources_at, written, word, source):
    """Writes the three low bytes of the word."""
    store32(out_at + written, word)
    if sources_at != 0:
        for i in range(3):
            store32(sources_at + 4 * (written + i), source)
    return written + 3


@njit(forceinline=True)
def put_blank(out_at, sources_at, written, escape, source):
    if escape:
        return put_three(out_at, sources_at, written, 0x8196E2, source)
    return put(out_at, sources_at, written, _BLANK_BYTE, source)


@njit
def skip_blanks(text_at, at, stop, squeeze, tables):
    """int64: where the text begins, its first blanks apart."""
    while squeeze and at < stop:
        source, length, step = next_string(text_at + at, stop - at, tables)
        if length != 1 or load8(source) != _BLANK_BYTE:
            break
        at += step
    return at


@njit(cache=True, nogil=True)
def normalize_block(text, classes, units, strings, user_units, out, sources, state):
    """Reads on until the text ends or `out` has too little room, which `state` then says.

    Args:
        text: padded UTF-8; classes: uint8 [256], a class per byte; units, strings: of a `Charsmap`.
        user_units: the trie of user-defined strings, empty if there are none.
        out: uint8, with `ROOM` to spare; sources: int32 of the same length, or empty if not wanted.
        state: int64 [8].
    """
    text_at, classes_at, out_at = address_of(text), address_of(classes), address_of(out)
    sources_at = address_of(sources) if len(sources) > 0 else np.int64(0)
    tables = (
        address_of(units), np.int64(len(units)), address_of(strings), np.int64(len(strings)),
        address_of(user_units), np.int64(len(user_units)),
    )  # fmt: skip
    at, written, after_blank, stop = state[AT], state[WRITTEN], state[AFTER_BLANK], state[STOP]
    squeeze, escape = state[SQUEEZE], state[ESCAPE]
    room = len(out) - ROOM
    if state[FRESH] == NOTHING_READ:
        at = skip_blanks(text_at, at, stop, squeeze, tables)
        if at < stop and state[PREFIX]:
            written = put_blank(out_at, sources_at, written, escape, at)
        state[FRESH] = READING if at < stop else ALL_BLANK
    has_words = letters_plain(classes_at)
    while at < stop and written < room:
        if has_words:
            length = min(word_length(text_at + at), stop - at)
            store64(out_at + written, load64(text_at + at))
            if sources_at != 0:
                for i in range(length):
                    store32(sources_at + 4 * (written + i), at + i)
            at, written = at + length, written + length
            if length > 0:
                after_blank = np.int64(0)
            if length == 8:
                continue
            if at == stop:
                break
        byte = load8(text_at + at)
        kind = load8(classes_at + byte)
        if kind != RULED and load8(text_at + at + 1) < _ASCII:
            if kind == PLAIN:
                written = put(out_at, sources_at, written, byte, at)
                after_blank = np.int64(0)
            elif not after_blank:
                written = put_blank(out_at, sources_at, written, escape, at)
                after_blank = squeeze
            at += 1
            continue
        source, length, step = next_string(text_at + at, stop - at, tables)
        if length < 0:
            written = put_three(out_at, sources_at, written, 0xBDBFEF, at)
            after_blank = np.int64(0)
        else:
            if written + 3 * length > room:
                break
            skipped = np.int64(0)
            while after_blank and skipped < length and load8(source + skipped) == _BLANK_BYTE:
                skipped += 1
            for i in range(skipped, length):
                byte = load8(source + i)
                if byte == _BLANK_BYTE:
                    written = put_blank(out_at, sources_at, written, escape, at)
                else:
                    written = put(out_at, sources_at, written, byte, at)
            if skipped < length:
                after_blank = squeeze if load8(source + length - 1) == _BLANK_BYTE else np.int64(0)
        at += step
    state[AT], state[WRITTEN], state[AFTER_BLANK] = at, written, after_blank
    keep(text), keep(classes), keep(units), keep(strings), keep(user_units), keep(out), keep(sources)
