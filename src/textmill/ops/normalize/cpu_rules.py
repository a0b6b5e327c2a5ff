"""What the kernel of the normaliser asks: the rule for what a text begins with, in tables and tries."""

import numpy as np
from numba import njit

from textmill.ops.memory import load8, load32, load_int64

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
NUM_WIDE = 1 << 16
# no rule is for more bytes: see `charsmap`
LONGEST_RULE = 1 << 10
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
    FIRST_LEAD,
    NUM_LEADS,
) = range(19)
MODEL_WORDS = 19
"""NUM_LEADS bytes from FIRST_LEAD on: no rule begins with a character of three bytes that one of them begins."""

FIRST_VISIBLE, NUM_VISIBLE = 0x21, 0x7F - 0x21
FIRST_LINE, NUM_LINES = 0x09, 2
"""The tabulator and the end of a line."""

_LEAF = 1 << 8
_FAR = 1 << 9
_LABEL = (1 << 31) | 0xFF
_WORD = (1 << 32) - 1

# Numba's types leave the last two options out
helper = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]
function = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]


@helper
def word_of(model, word):
    return load_int64(model + (word << 3))


@helper
def unit_offset(unit):
    """int64: how far (in exclusive or) the unit's children are."""
    return (unit >> 10) << ((unit & _FAR) >> 6)


@function
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


@helper
def continues(text_at, i):
    return load8(text_at + i) & 0xC0 == 0x80


@function
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


@helper
def string_length(strings_at, num_bytes, value):
    """int64: bytes before the zero byte; the last byte of the strings is one."""
    end = value
    while end < num_bytes and load8(strings_at + end) != 0:
        end += 1
    return end - value


@function
def next_string(text_at, length, model):
    """(where the bytes lie that stand for what the text begins with, how many, how much of the text; -1: a
    replacement character stands for it)."""
    num_user = word_of(model, NUM_USER)
    if num_user > 0:
        _, matched = longest_match(word_of(model, USER), num_user, text_at, length, MOST_USER_MATCHES)
        if matched > 0:
            return text_at, matched, matched
    # a damaged trie may run in circles
    near = min(length, LONGEST_RULE)
    value, matched = longest_match(word_of(model, UNITS), word_of(model, NUM_UNITS), text_at, near, MOST_MATCHES)
    if matched > 0:
        strings, num_bytes = word_of(model, STRINGS), word_of(model, NUM_BYTES)
        value = min(value, num_bytes - 1)
        return strings + value, string_length(strings, num_bytes, value), matched
    matched = character_length(text_at, length)
    if matched == 0:
        return text_at, np.int64(-1), np.int64(1)
    return text_at, matched, matched


@helper
def wide_character(text_at, length):
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
