"""Where a text may be cut before it is segmented.

The best path goes through every place that no piece crosses. In most vocabularies no piece has a blank ▁ after another
character, so that is every place in front of a run of blanks; in those that write blanks behind words no piece has
another character after a blank, and it is every place behind such a run. Unknown characters are single: they cross
nothing.

Texts without blanks are cut between two characters that stand side by side in no piece: a piece that crossed the place
would have both. That is asked of neighbours of which one has three bytes in UTF-8 and the other three or one, in a
table of one bit for each hash of a pair. Two pairs may share a bit; then a cut is missed, and none is made wrongly. A
run of characters that stand in no piece at all is unknown from end to end.
"""

import numpy as np

from textmill.ops.memory import count_trailing_zeros, load8, load16, load32, load64
from textmill.ops.unigram.cpu_floats import helper
from textmill.ops.vectors import VECTOR_BYTES, bytes_in_range

NO_CUT, CUT_BEFORE_BLANKS, CUT_AFTER_BLANKS = range(3)
BLANK_BYTES = 3

_BLANK_START = 0xE2
_BLANK_REST = 0x8196
_FIRST_EVERYWHERE = np.uint64(0xE2E2E2E2E2E2E2E2)
_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_EVERY_THIRD = np.uint64(0x9249249249249249)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
FIRST_WIDE = 0x800
"""The first code point of three bytes."""
PAIR_FACTOR = 0x9E3779B97F4A7C15
"""Multiplied by this, first << 16 | second has the number of its bit in the highest bits."""
_PAIR_FACTOR = np.uint64(PAIR_FACTOR)


@helper
def is_blank(address):
    """bool: whether the three bytes of ▁ are there."""
    return load8(address) == _BLANK_START and load16(address + 1) == _BLANK_REST


@helper
def find_blank(address, end):
    """int64: the address of the first ▁ that lies wholly before `end`, or `end`. Reads up to 63 bytes beyond it."""
    # most words end within eight bytes, which take fewer instructions
    different = load64(address) ^ _FIRST_EVERYWHERE
    # the lowest set bit tells the first zero byte; bits above it may be wrong
    zeros = (different - _ONES) & ~different & _HIGH_BITS
    if zeros != _ZERO:
        near = address + (count_trailing_zeros(zeros) >> 3)
        if near + BLANK_BYTES > end:
            return end
        if is_blank(near):
            return near
        address = near + 1
    else:
        address += 8
    while address < end:
        # three bytes in a row, so those that begin at the last two of the window are left to the next one
        starts = bytes_in_range(address, 0, _BLANK_START, 1)
        starts &= bytes_in_range(address, 0, _BLANK_REST & 0xFF, 1) >> _ONE
        starts &= bytes_in_range(address, 0, _BLANK_REST >> 8, 1) >> np.uint64(2)
        if starts != _ZERO:
            address += count_trailing_zeros(starts)
            return address if address + BLANK_BYTES <= end else end
        address += VECTOR_BYTES - (BLANK_BYTES - 1)
    return end


@helper
def skip_blanks(address, end):
    """int64: the first address that no ▁ begins at, at most `end`."""
    while address + BLANK_BYTES <= end and is_blank(address):
        address += BLANK_BYTES
    return address


@helper
def next_cut(address, end, rule):
    """int64: where the word that begins at the address ends, by one of the three rules."""
    if rule == NO_CUT:
        return end
    if rule == CUT_BEFORE_BLANKS:
        return find_blank(skip_blanks(address, end), end)
    return skip_blanks(find_blank(address, end), end)


@helper
def wide_or_ascii(address, end):
    """int64: the code point of the character of one or three bytes at the address, -1 for anything else."""
    word = load32(address)
    if word & 0x80 == 0:
        return word & 0x7F
    if (word & 0xC0C0F0) != 0x8080E0 or address + 3 > end:
        return np.int64(-1)
    code = (word & 0x0F) << 12 | (word >> 2 & 0xFC0) | (word >> 16 & 0x3F)
    # shorter forms and surrogates are no characters
    return code if code >= FIRST_WIDE and (code >> 11) != 0x1B else np.int64(-1)


@helper
def may_be_joined(first, second, pairs, bits):
    """bool: False where no piece has the two characters side by side. pairs: the address of 2**bits bits."""
    key = np.uint64((first << 16) | second)
    bit = np.int64((key * _PAIR_FACTOR) >> np.uint64(64 - bits))
    return (load8(pairs + (bit >> 3)) >> (bit & 7)) & 1 != 0


@helper
def is_known(code, known):
    """bool: whether some piece has the character, or the code point is not one of three bytes.

    known: the address of a bit for each code point below 2**16.
    """
    return (load8(known + (code >> 3)) >> (code & 7)) & 1 != 0


@helper
def has_wide(address, end):
    """bool: whether a byte beyond ASCII is among the 8 first bytes, or there are more. Reads 8 bytes."""
    length = end - address
    if length >= 8:
        return True
    return (
        length > 0
        and (load64(address) & _HIGH_BITS & ((np.uint64(1) << np.uint64(8 * length)) - np.uint64(1))) != _ZERO
    )


@helper
def pair_cut(address, end, pairs, bits):
    """int64: the first place after the address, at most `end`, that no piece crosses. A character begins there."""
    previous, at = wide_or_ascii(address, end), address
    at += 3 if previous >= FIRST_WIDE else 1
    while at < end:
        if previous < FIRST_WIDE:
            # letters of ASCII are not asked about one another
            while at + 8 < end and load64(at) & _HIGH_BITS == _ZERO:
                at += 8
                previous = load8(at - 1)
        code = wide_or_ascii(at, end)
        # those of three bytes by themselves: where the next one begins need not wait for what this one is
        while code >= FIRST_WIDE:
            if previous >= 0 and not may_be_joined(previous, code, pairs, bits):
                return at
            previous = code
            at += 3
            code = wide_or_ascii(at, end) if at < end else np.int64(-1)
        if at >= end:
            break
        if code >= 0 and previous >= FIRST_WIDE and not may_be_joined(previous, code, pairs, bits):
            return at
        previous = code
        at += 1
    return end


@helper
def unknown_run(address, end, known):
    """int64: where the run of characters of three bytes ends that are in no piece; the address itself if there is
    none. Reads 64 bytes beyond `end`."""
    while address < end:
        leads, others = bytes_in_range(address, 0, 0xE0, 16), bytes_in_range(address, 0, 0x80, 0x40)
        fits = (leads & _EVERY_THIRD) | (others & ~_EVERY_THIRD)
        run = min(count_trailing_zeros(~fits), end - address) // 3
        for _ in range(run):
            word = load32(address)
            # the 64 code points that share the first two bytes; a shift takes the six lowest bits of its distance
            row = load64(known + ((word & 0x0F) << 9 | (word >> 5 & 0x1F8)))
            if (row >> np.uint64(word >> 16 & 0x3F)) & _ONE != _ZERO:
                return address
            address += 3
        if run < 21:
            break
    return address
