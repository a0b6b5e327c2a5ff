"""Kernels that encode one piece: looked up as a whole, else cut into segments that no merge joins, each merged apart.

`cpu_characters` tells where the cuts are, and why ids stay the same.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_characters import (
    NO_CHARACTER,
    NUM_IDS,
    WIDE_BYTES,
    character_at,
    is_wide,
    may_link,
    may_meet,
    may_split,
    num_bytes,
    wide_entry,
)
from textmill.ops.bpe.cpu_merge import (
    BYTE_IDS,
    BYTE_PAIRS,
    CHARACTERS,
    CLEAN,
    KEYS,
    LINK_BITS,
    LINKS,
    NO_PAIR,
    PRODUCTS,
    SCRATCH,
    SHORT_SYMBOLS,
    SPLITS,
    SYMBOLS,
    TOKENS,
    merge_long,
    merge_segment,
    pair_value,
    set_pair,
)
from textmill.ops.bpe.cpu_vocabulary import VOCABULARY_IDS, find_number
from textmill.ops.bpe.keys import helper, inlined
from textmill.ops.memory import address_of, keep, load8, load32, load64, load_int64, store32, store64

FIRST_WIDE = 0xE0
"""The first byte of a wide character, one of three bytes, is this or more."""
ROW_WORDS = 4


@inlined
def _add_symbol(scratch, count, number, model):
    """Puts an id after the `count` symbols of the segment, and the pair that it makes with the last of them."""
    symbols = scratch + SYMBOLS
    if count > 0:
        set_pair(scratch, count - 1, pair_value(model, load_int64(symbols + ((count - 1) << 3)), number))
    store64(symbols + (count << 3), number)


@inlined
def _merge_linked(scratch, count, out, model):
    """int64: how many ids the segment of `count` >= 2 symbols became."""
    if count > 2:
        return merge_segment(scratch, count, out, model)
    product = load_int64(scratch + PRODUCTS)
    if load_int64(scratch + KEYS) == NO_PAIR:
        store32(out, load_int64(scratch + SYMBOLS))
        store32(out + 4, load_int64(scratch + SYMBOLS + 8))
        return np.int64(2)
    store32(out, product)
    return np.int64(1)


@helper
def _linked_end(piece, at, length, scratch, model):
    """(int64, int64): where the segment of wide characters from byte `at` on ends, and its symbols, put into scratch.

    0 symbols if its end is not clean: the character there is not whole.
    """
    clean, splits = load_int64(model + 8 * CLEAN), load_int64(model + 8 * SPLITS)
    characters, links = load_int64(model + 8 * CHARACTERS), load_int64(model + 8 * LINKS)
    link_bits = load_int64(model + 8 * LINK_BITS)
    count, word = np.int64(0), load32(piece + at)
    entry = wide_entry(word, characters)
    while count < SHORT_SYMBOLS:
        _add_symbol(scratch, count, load32(entry + 4), model)
        count += 1
        at += WIDE_BYTES
        if at == length:
            return at, count
        following = load32(piece + at)
        next_entry = wide_entry(following, characters)
        if at + WIDE_BYTES > length or not is_wide(next_entry) or may_split(word, following, clean, splits):
            break
        if not may_link(entry, next_entry, characters, links, link_bits):
            return at, count
        word, entry = following, next_entry
    return at, np.int64(0)


@helper
def _merge_wide(piece, at, length, out, model, scratch):
    """(int64, int64): up to which byte the wide characters from byte `at` on are done, and how many ids they became.

    `at` is the start of a segment, and so is the byte it stops at.
    """
    clean, splits = load_int64(model + 8 * CLEAN), load_int64(model + 8 * SPLITS)
    characters, links = load_int64(model + 8 * CHARACTERS), load_int64(model + 8 * LINKS)
    link_bits, target = load_int64(model + 8 * LINK_BITS), out
    word = load32(piece + at)
    entry = wide_entry(word, characters)
    while is_wide(entry) & (at + WIDE_BYTES <= length):
        following = load32(piece + at + WIDE_BYTES)
        next_entry = wide_entry(following, characters)
        if at + WIDE_BYTES < length:
            if not is_wide(next_entry):
                break
            if may_meet(entry, next_entry):
                if may_split(word, following, clean, splits):
                    break
                if may_link(entry, next_entry, characters, links, link_bits):
                    after, count = _linked_end(piece, at, length, scratch, model)
                    if count == 0:
                        break
                    target += _merge_linked(scratch, count, target, model) << 2
                    at, word = after, load32(piece + after)
                    entry = wide_entry(word, characters)
                    continue
        # no merge goes beyond it: all the room of an entry, since a wide character has room for three ids
        store64(target, load64(entry + 4))
        store32(target + 8, load32(entry + 12))
        target += (load32(entry) & NUM_IDS) << 2
        at += WIDE_BYTES
        word, entry = following, next_entry
    return at, (target - out) >> 2


@helper
def merge_piece(piece, length, out, model, scratch):
    """int64: how many ids it wrote to `out` (int32, `length` of them fit). model, scratch: addresses."""
    byte_ids, grid = load_int64(model + 8 * BYTE_IDS), load_int64(model + 8 * BYTE_PAIRS)
    clean, characters = load_int64(model + 8 * CLEAN), load_int64(model + 8 * CHARACTERS)
    at, count, written = np.int64(0), np.int64(0), np.int64(0)
    begin = at  # of the segment
    before = np.int64(-1)  # the byte that the last symbol is, or -1
    while at < length:
        lead = load8(piece + at)
        if count == 0 and lead >= FIRST_WIDE and characters != 0:
            at, number = _merge_wide(piece, at, length, out + (written << 2), model, scratch)
            written += number
            begin = at
            if at == length:
                break
            lead = load8(piece + at)
        entry = np.int64(NO_CHARACTER)
        if lead >= 0x80 and characters != 0:
            entry = character_at(piece, at, length, clean, characters)
        if entry == NO_CHARACTER:
            number, size, byte = load32(byte_ids + (lead << 2)), np.int64(1), lead
        else:
            number, size, byte = load32(entry + 4), num_bytes(entry), np.int64(-1)
            num_ids = load32(entry) & NUM_IDS
            if num_ids > 1:
                # these ids join with no other
                if count > 0:
                    written += merge_segment(scratch, count, out + (written << 2), model)
                for i in range(num_ids):
                    store32(out + ((written + i) << 2), load32(entry + 4 + (i << 2)))
                written += num_ids
                at += size
                count, begin = np.int64(0), at
                continue
        if count == SHORT_SYMBOLS:
            return written + merge_long(piece + begin, length - begin, out + (written << 2), model)
        if count > 0 and before >= 0 and byte >= 0:
            set_pair(scratch, count - 1, load_int64(grid + (((before << 8) | byte) << 3)))
            store64(scratch + SYMBOLS + (count << 3), number)
        else:
            _add_symbol(scratch, count, number, model)
        count += 1
        at += size
        before = byte
    if count > 0:
        written += merge_segment(scratch, count, out + (written << 2), model)
    return written


@helper
def encode_piece(piece, length, out, model, scratch):
    """int64: how many ids the piece becomes; they are written to `out`. model, scratch: addresses, see `SCRATCH`."""
    number = find_number(piece, length, model + 8 * TOKENS)
    if number >= 0:
        store32(out, load32(load_int64(model + 8 * (TOKENS + VOCABULARY_IDS)) + (number << 2)))
        return np.int64(1)
    return merge_piece(piece, length, out, model, scratch)


@njit(cache=True, nogil=True)
def _merge_each(text, offsets, longest, model, rows):
    """Fills what `merge_rows` gives. longest: bytes of the longest piece."""
    out, scratch = np.empty(longest + ROW_WORDS, np.int32), np.empty(SCRATCH, np.int64)
    base, out_at, model_at, scratch_at = address_of(text), address_of(out), address_of(model), address_of(scratch)
    for i in range(len(rows)):
        length = np.int64(offsets[i + 1] - offsets[i])
        rows[i, 0] = merge_piece(base + np.int64(offsets[i]), length, out_at, model_at, scratch_at)
        for place in range(1, ROW_WORDS):
            rows[i, place] = out[place - 1] if place <= rows[i, 0] else 0
    keep(text), keep(out), keep(scratch), keep(model)


def merge_rows(text: np.ndarray, offsets: np.ndarray, model: np.ndarray) -> np.ndarray:
    """int32[pieces, ROW_WORDS]: how many ids merging makes of each piece text[offsets[i]:offsets[i + 1]], and the first
    three of them."""
    rows = np.empty((len(offsets) - 1, ROW_WORDS), dtype=np.int32)
    _merge_each(text, offsets, int(np.diff(offsets).max(initial=0)), model, rows)
    return rows
