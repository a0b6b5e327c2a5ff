"""Kernels that encode one piece by merging: always the pair of the lowest rank, the leftmost first.

Pairs live in one flat table: key left << 32 | right, value rank << 32 | product, in vocabulary ids. A value is also the
priority, so the smallest value tells which pair to merge and what it makes. The pairs of two bytes have a grid besides.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_characters import NO_CHARACTER, whole_character
from textmill.ops.bpe.cpu_count import find_index
from textmill.ops.memory import address_of, bits_of, fold_multiply, keep, load8, load32, load_int64, store32, store64

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
    BYTE_PAIRS,
    BYTE_IDS,
    VOCABULARY,
    VOCABULARY_BITS,
    VOCABULARY_ARENA,
    VOCABULARY_OFFSETS,
    WHOLE_IDS,
    CLEAN,
    CHARACTERS,
) = range(11)
MODEL_WORDS = 11

SHORT_BYTES = 96
"""Up to this length a scan for the smallest value beats a heap."""


@njit(forceinline=True)
def pair_value(pairs, bits, left, right):
    """int64: rank << 32 | product of the pair, or NO_PAIR."""
    key = (left << 32) | right
    mask = (np.int64(1) << bits) - 1
    slot = np.int64(fold_multiply(np.uint64(key) ^ _PAIR_SALT, _PAIR_MIX) >> np.uint64(64 - bits))
    while True:
        entry = pairs + (slot << 4)
        here = load_int64(entry)
        if here == key:
            return load_int64(entry + 8)
        if here == _FREE_KEY:
            return NO_PAIR
        slot = (slot + 1) & mask


@njit(forceinline=True)
def _add_pair(pairs, bits, left, right, value):
    """A pair that is already there gets the new value, as in `tokenizers`."""
    key = (left << 32) | right
    mask = (np.int64(1) << bits) - 1
    slot = np.int64(fold_multiply(np.uint64(key) ^ _PAIR_SALT, _PAIR_MIX) >> np.uint64(64 - bits))
    while load_int64(pairs + (slot << 4)) != _FREE_KEY and load_int64(pairs + (slot << 4)) != key:
        slot = (slot + 1) & mask
    store64(pairs + (slot << 4), key)
    store64(pairs + (slot << 4) + 8, value)


@njit(cache=True, nogil=True)
def build_pairs(merges, byte_ids, pairs, byte_pairs):
    """Fills the pair table (int64[2**k, 2]) and the grid of byte pairs (int64[65536]) from (left, right, product)."""
    bits = bits_of(len(pairs))
    pairs[:] = _FREE_KEY
    pairs_at = address_of(pairs)
    for rank in range(len(merges)):
        left, right, product = np.int64(merges[rank, 0]), np.int64(merges[rank, 1]), np.int64(merges[rank, 2])
        if left >= 0:
            _add_pair(pairs_at, bits, left, right, (np.int64(rank) << 32) | product)
    for left in range(256):
        for right in range(256):
            byte_pairs[(left << 8) | right] = pair_value(
                pairs_at, bits, np.int64(byte_ids[left]), np.int64(byte_ids[right])
            )
    keep(pairs)


@njit(forceinline=True)
def _first_ids(piece, length, out, model):
    """int64: how many ids merging starts with: bytes, and whole characters where that makes no difference."""
    byte_ids, clean, characters = model[BYTE_IDS], model[CLEAN], model[CHARACTERS]
    at, count = np.int64(0), np.int64(0)
    while at < length:
        number = whole_character(piece, at, length, clean, characters) if characters != 0 else np.int64(NO_CHARACTER)
        if number < 0:
            number = load32(byte_ids + (load8(piece + at) << 2))
            at += 1
        else:
            at += 3
        store32(out + (count << 2), number)
        count += 1
    return count


@njit(forceinline=True)
def _first_values(piece, length, count, ids, values, model):
    """Value i belongs to ids i and i + 1."""
    if count == length:
        left = load8(piece)
        for i in range(1, length):
            right = load8(piece + i)
            values[i - 1] = load_int64(model[BYTE_PAIRS] + (((left << 8) | right) << 3))
            left = right
    else:
        for i in range(count - 1):
            values[i] = pair_value(model[PAIRS], model[PAIR_BITS], load32(ids + (i << 2)), load32(ids + ((i + 1) << 2)))


@njit
def merge_short(piece, length, out, model, symbols, values):
    """int64: how many ids it wrote to `out` (int32, `length` of them fit).

    symbols: int32[SHORT_BYTES + 1], values: int64[SHORT_BYTES], both for scratch.
    """
    pairs, bits = model[PAIRS], model[PAIR_BITS]
    count = _first_ids(piece, length, address_of(symbols), model)
    _first_values(piece, length, count, address_of(symbols), values, model)
    while count > 1:
        # the minimum alone can be computed several at a time, so where it stands is looked up after
        best = NO_PAIR
        for i in range(count - 1):
            best = min(best, values[i])
        if best == NO_PAIR:
            break
        at = np.int64(0)
        while values[at] != best:
            at += 1
        count -= 1
        product = best & _HALF
        symbols[at] = product
        for i in range(at + 1, count):
            symbols[i] = symbols[i + 1]
        for i in range(at, count - 1):
            values[i] = values[i + 1]
        if at > 0:
            values[at - 1] = pair_value(pairs, bits, np.int64(symbols[at - 1]), product)
        if at < count - 1:
            values[at] = pair_value(pairs, bits, product, np.int64(symbols[at + 1]))
    for i in range(count):
        store32(out + (i << 2), np.int64(symbols[i]))
    return count


@njit(forceinline=True)
def _push(heap, size, item):
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


@njit(forceinline=True)
def _pop(heap, size):
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


@njit
def merge_long(piece, length, out, model):
    """As merge_short, in O(length log length): a linked list of ids, and a heap of rank << 32 | place."""
    pairs, bits = model[PAIRS], model[PAIR_BITS]
    length = _first_ids(piece, length, out, model)
    ids, following, preceding = np.empty(length, np.int64), np.empty(length, np.int64), np.empty(length, np.int64)
    # every merge takes one id away and adds at most two pairs
    items, size = np.empty(3 * length, np.int64), np.int64(0)
    heap = address_of(items)
    for i in range(length):
        ids[i], following[i], preceding[i] = load32(out + (i << 2)), i + 1, i - 1
    for i in range(length - 1):
        value = pair_value(pairs, bits, ids[i], ids[i + 1])
        if value != NO_PAIR:
            _push(heap, size, (value & ~_HALF) | i)
            size += 1
    while size > 0:
        item = _pop(heap, size)
        size -= 1
        place = item & _HALF
        right = following[place]
        # a place whose id was taken by its left neighbour, or whose pair has changed since
        if ids[place] < 0 or right >= length:
            continue
        value = pair_value(pairs, bits, ids[place], ids[right])
        if value == NO_PAIR or value >> 32 != item >> 32:
            continue
        ids[place], ids[right], following[place] = value & _HALF, -1, following[right]
        if following[right] < length:
            preceding[following[right]] = place
        for start in (preceding[place], place):
            if start >= 0 and following[start] < length:
                value = pair_value(pairs, bits, ids[start], ids[following[start]])
                if value != NO_PAIR:
                    _push(heap, size, (value & ~_HALF) | start)
                    size += 1
    place, count = np.int64(0), np.int64(0)
    while place < length:
        store32(out + (count << 2), ids[place])
        count += 1
        place = following[place]
    keep(items)
    return count


@njit
def encode_piece(piece, length, out, model, symbols, values):
    """int64: how many ids the piece becomes; they are written to `out`. symbols, values: scratch, see merge_short."""
    if model[VOCABULARY] != 0:
        table, bits = model[VOCABULARY], model[VOCABULARY_BITS]
        index = find_index(piece, length, table, bits, model[VOCABULARY_ARENA], model[VOCABULARY_OFFSETS])
        if index >= 0:
            store32(out, load32(model[WHOLE_IDS] + (index << 2)))
            return np.int64(1)
    if length <= SHORT_BYTES:
        return merge_short(piece, length, out, model, symbols, values)
    return merge_long(piece, length, out, model)


@njit(cache=True, nogil=True)
def encode_alone(text, length, model):
    """int32: the ids of the piece text[:length], without the cache."""
    out, symbols, values = (
        np.empty(length + 1, np.int32),
        np.empty(SHORT_BYTES + 1, np.int32),
        np.empty(SHORT_BYTES, np.int64),
    )
    count = encode_piece(address_of(text), length, address_of(out), model, symbols, values)
    keep(text)
    return out[:count]


@njit
def _last_two_parts(begin, length, none, bounds, joined, vocabulary):
    """int64: in how many parts the bytes end up, at most two wanted. Part i is bytes bounds[i] to bounds[i + 1].

    joined[i] is the rank of parts i and i + 1 together, `none` if that is no token. vocabulary: a model vector.
    """
    table, bits = vocabulary[VOCABULARY], vocabulary[VOCABULARY_BITS]
    arena, offsets = vocabulary[VOCABULARY_ARENA], vocabulary[VOCABULARY_OFFSETS]
    for i in range(length + 1):
        bounds[i] = i
    first, last = np.int64(0), length - 2
    count = length
    while True:
        for i in range(first, last + 1):
            index = find_index(begin + bounds[i], bounds[i + 2] - bounds[i], table, bits, arena, offsets)
            joined[i] = none if index < 0 else index
        if count <= 2:
            return count
        best, at = none, np.int64(0)
        for i in range(count - 1):
            if joined[i] < best:
                best, at = joined[i], np.int64(i)
        if best == none:
            return count
        count -= 1
        for i in range(at + 1, count + 1):
            bounds[i] = bounds[i + 1]
        for i in range(at, count - 1):
            joined[i] = joined[i + 1]
        first, last = max(at - 1, np.int64(0)), min(at, count - 2)


@njit(cache=True, nogil=True)
def derive_merges(vocabulary, longest, ids, merges):
    """Fills row i of merges with the last two parts of token i when its bytes are encoded on their own, and its id.

    Tokens are in rank order; a token that encoding never makes gets -1. No other pair can ever make the token: while
    it is being made no merge crosses its bounds, so inside them all goes as if its bytes stood alone.
    """
    table, bits = vocabulary[VOCABULARY], vocabulary[VOCABULARY_BITS]
    arena, offsets = vocabulary[VOCABULARY_ARENA], vocabulary[VOCABULARY_OFFSETS]
    bounds, joined = np.empty(longest + 2, np.int64), np.empty(longest + 2, np.int64)
    for token in range(len(ids)):
        start = load_int64(offsets + (token << 3))
        begin, length = arena + start, load_int64(offsets + ((token + 1) << 3)) - start
        for column in range(3):
            merges[token, column] = -1
        if length < 2 or _last_two_parts(begin, length, np.int64(len(ids)), bounds, joined, vocabulary) != 2:
            continue
        left = find_index(begin, bounds[1], table, bits, arena, offsets)
        right = find_index(begin + bounds[1], length - bounds[1], table, bits, arena, offsets)
        merges[token, 0], merges[token, 1], merges[token, 2] = ids[left], ids[right], ids[token]
