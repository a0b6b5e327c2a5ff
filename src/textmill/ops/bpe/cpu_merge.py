"""Kernels that merge a row of symbols: always the pair of the lowest rank, the leftmost first.

Pairs live in one flat table: key left << 32 | right, value rank << 32 | product, in vocabulary ids. In front of it
stands a filter, one bit for each value of a hash: most pairs that are asked for do not exist, and the filter, which
stays in the CPU's second-level cache, says so without a look at the table. The pairs of two bytes have a grid besides.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_characters import NO_CHARACTER, NUM_IDS, character_at, num_bytes
from textmill.ops.bpe.cpu_vocabulary import VOCABULARY_WORDS
from textmill.ops.bpe.keys import helper, inlined
from textmill.ops.memory import (
    address_of,
    bits_of,
    fold_multiply,
    keep,
    load8,
    load32,
    load_int64,
    store8,
    store32,
    store64,
)

NO_PAIR = np.int64((1 << 63) - 1)
"""The value of a pair that no merge joins."""
_FREE_KEY = -1
_HALF = np.int64(0xFFFFFFFF)
_PAIR_SALT = np.uint64(0x9E3779B97F4A7C15)
_PAIR_MIX = np.uint64(0xD6E8FEB86659FD93)

# words of the model vector: addresses of arrays that the encoder owns, and table sizes
(
    PAIRS,
    PAIR_BITS,
    FILTER,
    FILTER_BITS,
    BYTE_PAIRS,
    BYTE_IDS,
    CLEAN,
    CHARACTERS,
    LINKS,
    LINK_BITS,
    SPLITS,
    MERGED_WIDE,
    TOKENS,
) = range(13)
MODEL_WORDS = TOKENS + VOCABULARY_WORDS
"""From `TOKENS` on: the words of `cpu_vocabulary`."""

SHORT_SYMBOLS = 96
"""Up to so many ids a scan for the smallest rank beats a heap."""

# What merging works in: arrays of int64, one entry a symbol (a place of the segment), and one more entry.
# KEYS: rank << 8 | place of the pair that begins here, or NO_PAIR. PRODUCTS: what that pair makes.
# SYMBOLS: ids. FOLLOWING, PRECEDING: the place of the next symbol, and of the one before.
_ROW = SHORT_SYMBOLS + 8
KEYS, PRODUCTS, SYMBOLS, _FOLLOWING, _PRECEDING = (8 * _ROW * number for number in range(5))
SCRATCH = 5 * _ROW
"""int64 entries of the scratch memory that merging needs."""
_PLACE_BITS = 8
_PLACE = (1 << _PLACE_BITS) - 1
_SCAN = 8


@inlined
def _pair_hash(key):
    return fold_multiply(np.uint64(key) ^ _PAIR_SALT, _PAIR_MIX)


@inlined
def _may_exist(filter_at, filter_bits, hashed):
    """bool: False if the filter knows that there is no such pair. Its bits come from the low end of the hash."""
    place = np.int64(hashed & ((np.uint64(1) << np.uint64(filter_bits)) - np.uint64(1)))
    return (load8(filter_at + (place >> 3)) >> (place & 7)) & 1 != 0


@inlined
def _in_table(pairs, bits, key, hashed):
    mask = (np.int64(1) << bits) - 1
    slot = np.int64(hashed >> np.uint64(64 - bits))
    while True:
        entry = pairs + (slot << 4)
        here = load_int64(entry)
        if here == key:
            return load_int64(entry + 8)
        if here == _FREE_KEY:
            return NO_PAIR
        slot = (slot + 1) & mask


@inlined
def pair_value(model, left, right):
    """int64: rank << 32 | product of the pair, or NO_PAIR. model: the address of the model vector."""
    key = (left << 32) | right
    hashed = _pair_hash(key)
    if not _may_exist(load_int64(model + 8 * FILTER), load_int64(model + 8 * FILTER_BITS), hashed):
        return NO_PAIR
    return _in_table(load_int64(model + 8 * PAIRS), load_int64(model + 8 * PAIR_BITS), key, hashed)


@inlined
def _add_pair(pairs, bits, filter_at, filter_bits, key, value):
    """A pair that is already there gets the new value, as in `tokenizers`."""
    mask = (np.int64(1) << bits) - 1
    hashed = _pair_hash(key)
    slot = np.int64(hashed >> np.uint64(64 - bits))
    while load_int64(pairs + (slot << 4)) != _FREE_KEY and load_int64(pairs + (slot << 4)) != key:
        slot = (slot + 1) & mask
    store64(pairs + (slot << 4), key)
    store64(pairs + (slot << 4) + 8, value)
    place = np.int64(hashed & ((np.uint64(1) << np.uint64(filter_bits)) - np.uint64(1)))
    store8(filter_at + (place >> 3), load8(filter_at + (place >> 3)) | (1 << (place & 7)))


@njit(cache=True, nogil=True)
def build_pairs(merges, byte_ids, pairs, pair_filter, byte_pairs):
    """Fills the pair table (int64[2**k, 2]), its filter (uint8[2**m / 8], zeros) and the grid of byte pairs
    (int64[65536]) from (left, right, product)."""
    bits, filter_bits = bits_of(len(pairs)), bits_of(len(pair_filter)) + 3
    pairs[:] = _FREE_KEY
    pairs_at, filter_at = address_of(pairs), address_of(pair_filter)
    for rank in range(len(merges)):
        left, right, product = np.int64(merges[rank, 0]), np.int64(merges[rank, 1]), np.int64(merges[rank, 2])
        if left >= 0:
            _add_pair(pairs_at, bits, filter_at, filter_bits, (left << 32) | right, (np.int64(rank) << 32) | product)
    for left in range(256):
        for right in range(256):
            key = (np.int64(byte_ids[left]) << 32) | np.int64(byte_ids[right])
            byte_pairs[(left << 8) | right] = _in_table(pairs_at, bits, key, _pair_hash(key))
    keep(pairs), keep(pair_filter)


@inlined
def set_pair(scratch, place, value):
    store64(scratch + KEYS + (place << 3), value if value == NO_PAIR else ((value >> 32) << _PLACE_BITS) | place)
    store64(scratch + PRODUCTS + (place << 3), value & _HALF)


@inlined
def _smallest_key(scratch, count):
    """The entries up to the next multiple of `_SCAN` count too: a fixed number at a time makes vector instructions."""
    best = NO_PAIR
    for first in range(0, count, _SCAN):
        for i in range(_SCAN):
            best = min(best, load_int64(scratch + KEYS + ((first + i) << 3)))
    return best


@helper
def merge_segment(scratch, count, out, model):
    """int64: how many ids the segment of `count` symbols became; they are written to `out`."""
    symbols, following, preceding = scratch + SYMBOLS, scratch + _FOLLOWING, scratch + _PRECEDING
    for i in range(count - 1, (count + _SCAN - 1) & ~(_SCAN - 1)):
        store64(scratch + KEYS + (i << 3), NO_PAIR)
    best = _smallest_key(scratch, count)
    if best == NO_PAIR:
        for i in range(count):
            store32(out + (i << 2), load_int64(symbols + (i << 3)))
        return count
    for i in range(count + 1):
        store64(following + (i << 3), i + 1)
        store64(preceding + (i << 3), i - 1)
    while best != NO_PAIR:
        place = best & _PLACE
        product = load_int64(scratch + PRODUCTS + (place << 3))
        taken = load_int64(following + (place << 3))
        right, left = load_int64(following + (taken << 3)), load_int64(preceding + (place << 3))
        store64(symbols + (place << 3), product)
        store64(following + (place << 3), right)
        store64(preceding + (right << 3), place)
        store64(scratch + KEYS + (taken << 3), NO_PAIR)
        if left >= 0:
            set_pair(scratch, left, pair_value(model, load_int64(symbols + (left << 3)), product))
        if right < count:
            set_pair(scratch, place, pair_value(model, product, load_int64(symbols + (right << 3))))
        else:
            store64(scratch + KEYS + (place << 3), NO_PAIR)
        best = _smallest_key(scratch, count)
    place, number = np.int64(0), np.int64(0)
    while place < count:
        store32(out + (number << 2), load_int64(symbols + (place << 3)))
        number += 1
        place = load_int64(following + (place << 3))
    return number


@inlined
def _first_ids(piece, length, out, model):
    """int64: how many ids merging starts with: bytes, and whole characters where that makes no difference."""
    byte_ids = load_int64(model + 8 * BYTE_IDS)
    clean, characters = load_int64(model + 8 * CLEAN), load_int64(model + 8 * CHARACTERS)
    at, count = np.int64(0), np.int64(0)
    while at < length:
        lead = load8(piece + at)
        entry = np.int64(NO_CHARACTER)
        if lead >= 0x80 and characters != 0:
            entry = character_at(piece, at, length, clean, characters)
        if entry == NO_CHARACTER:
            store32(out + (count << 2), load32(byte_ids + (lead << 2)))
            at += 1
            count += 1
        else:
            for i in range(load32(entry) & NUM_IDS):
                store32(out + (count << 2), load32(entry + 4 + (i << 2)))
                count += 1
            at += num_bytes(entry)
    return count


@inlined
def push(heap, size, item):
    """Adds the item to a heap of `size` int64 at the address `heap`."""
    node = size
    while node > 0:
        parent = (node - 1) >> 1
        above = load_int64(heap + (parent << 3))
        if item >= above:
            break
        store64(heap + (node << 3), above)
        node = parent
    store64(heap + (node << 3), item)


@inlined
def pop(heap, size):
    """int64: the smallest of `size` items, which is taken out."""
    top, item, node = load_int64(heap), load_int64(heap + ((size - 1) << 3)), np.int64(0)
    while True:
        child = 2 * node + 1
        if child >= size - 1:
            break
        smallest = load_int64(heap + (child << 3))
        if child + 1 < size - 1 and load_int64(heap + ((child + 1) << 3)) < smallest:
            child += 1
            smallest = load_int64(heap + (child << 3))
        if item <= smallest:
            break
        store64(heap + (node << 3), smallest)
        node = child
    store64(heap + (node << 3), item)
    return top


@inlined
def _push_pair(heap, size, place, following, ids, length, model):
    """int64: items of the heap, after the pair that begins at `place` was added if a merge joins it."""
    right = load_int64(following + (place << 3))
    if right >= length:
        return size
    value = pair_value(model, load_int64(ids + (place << 3)), load_int64(ids + (right << 3)))
    if value == NO_PAIR:
        return size
    push(heap, size, (value & ~_HALF) | place)
    return size + 1


@helper
def merge_long(piece, length, out, model):
    """As merge_piece, in O(length log length): a linked list of ids, and a heap of rank << 32 | place."""
    length = _first_ids(piece, length, out, model)
    # every merge takes one id away and adds at most two pairs
    memory, size = np.empty(6 * length, np.int64), np.int64(0)
    ids = address_of(memory)
    following, preceding, heap = ids + (length << 3), ids + (length << 4), ids + 24 * length
    for i in range(length):
        store64(ids + (i << 3), load32(out + (i << 2)))
        store64(following + (i << 3), i + 1)
        store64(preceding + (i << 3), i - 1)
    for i in range(length):
        size = _push_pair(heap, size, i, following, ids, length, model)
    while size > 0:
        item = pop(heap, size)
        size -= 1
        place = item & _HALF
        right, left_id = load_int64(following + (place << 3)), load_int64(ids + (place << 3))
        # a place whose id was taken by its left neighbour, or whose pair has changed since
        if left_id < 0 or right >= length:
            continue
        value = pair_value(model, left_id, load_int64(ids + (right << 3)))
        if value == NO_PAIR or value >> 32 != item >> 32:
            continue
        store64(ids + (place << 3), value & _HALF)
        store64(ids + (right << 3), np.int64(-1))
        right, left = load_int64(following + (right << 3)), load_int64(preceding + (place << 3))
        store64(following + (place << 3), right)
        if right < length:
            store64(preceding + (right << 3), place)
        for start in range(2):
            if start > 0 or left >= 0:
                size = _push_pair(heap, size, place if start > 0 else left, following, ids, length, model)
    place, count = np.int64(0), np.int64(0)
    while place < length:
        store32(out + (count << 2), load_int64(ids + (place << 3)))
        count += 1
        place = load_int64(following + (place << 3))
    keep(memory)
    return count
