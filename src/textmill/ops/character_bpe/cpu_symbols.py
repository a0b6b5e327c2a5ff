"""The two ends of encoding a piece: text to the symbols that merging starts with, and merged symbols to tokens.

`tokenizers` gives unknown characters their tokens before merging, SentencePiece after it (UNKNOWN_LAST): there a
character that is no piece is a symbol numbered NO_PIECE or more, and may yet be merged into a piece.
"""

import numpy as np

from textmill.ops.character_bpe.cpu_pairs import (
    BYTE_IDS,
    FUSE_UNKNOWN,
    HALF,
    IS_LEFT,
    IS_RIGHT,
    LENGTHS,
    NO_PAIR,
    NO_PIECE,
    NO_SYMBOL,
    PAGE_INDEX,
    PAGES,
    PAIR_BITS,
    PAIRS,
    PARTS,
    SIDES,
    TRIE,
    TRIE_BITS,
    TRIE_FIRSTS,
    UNKNOWN,
    UNKNOWN_LAST,
    UNUSED,
    WHOLE_PIECES,
    field,
    function,
    helper,
    pair_value,
)
from textmill.ops.memory import load8, load32, load_int64, store32, store64

PAGE_BITS = 8
NUM_PAGES = 0x110000 >> PAGE_BITS
CONTINUED, LAST = 1, 2
"""A character's place in its word, as a sum; 0 is a first one with others after it."""
NUM_PLACES = 4
_SURELY_VALID = 0x80


@helper
def _continuation(address):
    """int64: the six bits of a continuation byte, or a number below 0 for another byte."""
    value = load8(address)
    return value & 0x3F if value & 0xC0 == 0x80 else np.int64(-(1 << 24))


@helper
def read_character(address, room):
    """(int64, int64): code point and bytes of the character at `address`; -1 and 1 where no character begins.

    room: the bytes that are left; a character that needs more is none.
    """
    first = load8(address)
    if first < _SURELY_VALID:
        return first, np.int64(1)
    point, size = np.int64(-1), np.int64(1)
    if 0xC2 <= first < 0xE0 and room >= 2:
        point, size = ((first & 0x1F) << 6) + _continuation(address + 1), np.int64(2)
    elif 0xE0 <= first < 0xF0 and room >= 3:
        point, size = (
            ((first & 0x0F) << 12) + (_continuation(address + 1) << 6) + _continuation(address + 2),
            np.int64(3),
        )
        if point < 0x800:
            point = np.int64(-1)
    elif 0xF0 <= first < 0xF5 and room >= 4:
        point = ((first & 0x07) << 18) + (_continuation(address + 1) << 12)
        point, size = point + (_continuation(address + 2) << 6) + _continuation(address + 3), np.int64(4)
        if point < 0x10000 or point > 0x10FFFF:
            point = np.int64(-1)
    if point < 0:
        return np.int64(-1), np.int64(1)
    return point, size


@helper
def _symbol_of(point, place, model):
    """int64: the symbol of a character in this place of its word, or -1."""
    if point < 0:
        return np.int64(-1)
    page = load32(field(model, PAGE_INDEX) + ((place * NUM_PAGES + (point >> PAGE_BITS)) << 2))
    return load32(field(model, PAGES) + (((page << PAGE_BITS) + (point & ((1 << PAGE_BITS) - 1))) << 2))


@helper
def longest_match(address, room, model):
    """(int64, int64): the symbol of the longest text of the trie that begins here, and its bytes; or -1 and 0."""
    symbol, size = np.int64(-1), np.int64(0)
    if load8(field(model, TRIE_FIRSTS) + load8(address)) == 0:
        return symbol, size
    node = np.int64(0)
    for i in range(room):
        value = pair_value(field(model, TRIE), field(model, TRIE_BITS), node, load8(address + i))
        if value == NO_PAIR:
            break
        node = value >> 32
        if value & HALF != NO_SYMBOL:
            symbol, size = value & HALF, np.int64(i + 1)
    return symbol, size


@helper
def _add(symbols, sizes, count, symbol, size):
    store32(symbols + (count << 2), symbol)
    store32(sizes + (count << 2), size)
    return count + 1


@helper
def _all_bytes_known(address, size, byte_ids):
    lowest = np.int64(0)
    for i in range(size):
        lowest = min(lowest, load32(byte_ids + (load8(address + i) << 2)))
    return lowest == 0


@function
def first_symbols(piece, length, symbols, sizes, model):
    """int64: how many symbols merging starts with, `length` at most. symbols, sizes: addresses of int32 to fill."""
    byte_ids, unknown = field(model, BYTE_IDS), field(model, UNKNOWN)
    at, count, waiting, skipped = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while at < length:
        symbol, size = np.int64(-1), np.int64(0)
        if field(model, TRIE) != 0 and field(model, WHOLE_PIECES) == 0:
            symbol, size = longest_match(piece + at, length - at, model)
        if symbol < 0:
            point, size = read_character(piece + at, length - at)
            place = np.int64(CONTINUED if at > 0 else 0) + np.int64(LAST if at + size == length else 0)
            symbol = _symbol_of(point, place, model)
            if symbol < 0 and field(model, UNKNOWN_LAST) != 0:
                symbol = field(model, NO_PIECE)
        if symbol >= 0:
            if waiting > 0:
                count = _add(symbols, sizes, count, unknown, waiting)
                waiting = np.int64(0)
            count = _add(symbols, sizes, count, symbol, size + skipped)
            skipped = np.int64(0)
        elif byte_ids != 0 and _all_bytes_known(piece + at, size, byte_ids):
            # they overtake an unknown token that waits, as in `tokenizers`
            for i in range(size):
                number = load32(byte_ids + (load8(piece + at + i) << 2))
                count = _add(symbols, sizes, count, number, 1 + skipped)
                skipped = np.int64(0)
        elif unknown < 0:
            skipped += size
        elif waiting > 0 and field(model, FUSE_UNKNOWN) != 0:
            waiting += size
        else:
            if waiting > 0:
                count = _add(symbols, sizes, count, unknown, waiting)
            waiting = size
        at += size
    if waiting > 0:
        count = _add(symbols, sizes, count, unknown, waiting)
    return count


@helper
def candidate(left, right, model):
    """int64: the value of two neighbours. If their union is an unused piece, they are noted as its parts."""
    sides = field(model, SIDES)
    # most characters of a large script are in no pair: two bytes tell so before the large table is asked
    if sides != 0 and (load8(sides + left) & IS_LEFT == 0 or load8(sides + right) & IS_RIGHT == 0):
        return NO_PAIR
    value = pair_value(field(model, PAIRS), field(model, PAIR_BITS), left, right)
    if field(model, PARTS) != 0 and value != NO_PAIR:
        product = value & HALF
        if load8(field(model, UNUSED) + product) != 0:
            store32(field(model, PARTS) + (product << 3), left)
            store32(field(model, PARTS) + (product << 3) + 4, right)
    return value


@helper
def _emit(out, out_sizes, count, number, size):
    store32(out + (count << 2), number)
    if out_sizes != 0:
        store32(out_sizes + (count << 2), size)
    return count + 1


@helper
def _emit_unknown(address, size, out, out_sizes, count, model):
    """int64: how many tokens there are after those of a character that is no piece."""
    byte_ids, unknown = field(model, BYTE_IDS), field(model, UNKNOWN)
    if byte_ids != 0:
        for i in range(size):
            count = _emit(out, out_sizes, count, load32(byte_ids + (load8(address + i) << 2)), np.int64(1))
        return count
    if count > 0 and load32(out + ((count - 1) << 2)) == unknown:
        if out_sizes != 0:
            last = out_sizes + ((count - 1) << 2)
            store32(last, load32(last) + size)
        return count
    return _emit(out, out_sizes, count, unknown, size)


@helper
def _take_apart(address, symbol, out, out_sizes, written, stack, model):
    """int64: how many tokens there are after those of a symbol that may be an unused piece."""
    depth = np.int64(1)
    store64(stack, symbol)
    while depth > 0:
        depth -= 1
        symbol = load_int64(stack + (depth << 3))
        if symbol < field(model, NO_PIECE) and load8(field(model, UNUSED) + symbol) != 0:
            parts = field(model, PARTS) + (symbol << 3)
            store64(stack + (depth << 3), load32(parts + 4))
            store64(stack + (depth << 3) + 8, load32(parts))
            depth += 2
            continue
        size = load32(field(model, LENGTHS) + (symbol << 2))
        if symbol >= field(model, NO_PIECE):
            written = _emit_unknown(address, size, out, out_sizes, written, model)
        else:
            written = _emit(out, out_sizes, written, symbol, size)
        address += size
    return written


@function
def finish(piece, symbols, sizes, count, out, out_sizes, stack, model):
    """int64: how many tokens the symbols become. out, out_sizes: addresses of int32 (out_sizes may be 0).

    stack: the address of int64, one for each byte of the piece, for scratch.
    """
    written, at = np.int64(0), np.int64(0)
    for i in range(count):
        symbol, size = load32(symbols + (i << 2)), load32(sizes + (i << 2))
        if field(model, UNKNOWN_LAST) == 0:
            written = _emit(out, out_sizes, written, symbol, size)
        elif symbol >= field(model, NO_PIECE):
            written = _emit_unknown(piece + at, size, out, out_sizes, written, model)
        elif field(model, PARTS) != 0 and load8(field(model, UNUSED) + symbol) != 0:
            # every part that waits has a byte at least, so the stack is long enough
            written = _take_apart(piece + at, symbol, out, out_sizes, written, stack, model)
        else:
            written = _emit(out, out_sizes, written, symbol, size)
        at += size
    return written
