"""A table from pairs of numbers to values, and a heap: what the kernels of this folder share.

One kind of table serves twice: pairs of symbols that merge (value: rank << 32 | product), and the steps of a trie of
texts that are not merged (pair: node and byte; value: next node << 32 | symbol of the text that ends there). These are
the user-defined symbols of SentencePiece, or all tokens if WHOLE_PIECES is set.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, bits_of, fold_multiply, keep, load_int64, store64

# Numba's types leave the last two options out
helper = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]
"""For parts of kernels; without the two wrappers that Python would call, they compile in two thirds of the time."""
function = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]
"""The same for larger parts, which the compiler may leave as they are."""

NO_PAIR = np.int64((1 << 63) - 1)
"""The value of a pair that is not in the table: larger than every other."""
HALF = np.int64(0xFFFFFFFF)
"""The lower half of a value."""
NO_SYMBOL = HALF
"""The lower half of a trie's value where no symbol ends."""
IS_LEFT, IS_RIGHT = 1, 2
"""Flags of a symbol: it is the left, or the right one of some pair that merges."""
_FREE_KEY = -1
_SALT = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)

# words of the model vector of an encoder: addresses of arrays that it owns (0 for none), sizes and flags. As int64 and
# not as Python's numbers, for each of which Numba would compile `field` once
(
    PAIRS,
    PAIR_BITS,
    PAGE_INDEX,
    PAGES,
    BYTE_IDS,
    UNKNOWN,
    FUSE_UNKNOWN,
    UNKNOWN_LAST,
    NO_PIECE,
    TRIE,
    TRIE_BITS,
    TRIE_FIRSTS,
    WHOLE_PIECES,
    UNUSED,
    PARTS,
    LENGTHS,
    NUM_LENGTHS,
    SIDES,
    NEIGHBOURS,
    NEIGHBOUR_BITS,
    LONE,
) = np.arange(21)
MODEL_WORDS = 21


@helper
def field(model, word):
    """int64: one of the words above, of the model vector at the address `model`."""
    return load_int64(model + (word << 3))


@helper
def _slot(key, bits):
    return np.int64(fold_multiply(np.uint64(key) ^ _SALT, _MIX) >> np.uint64(64 - bits))


@helper
def pair_value(pairs, bits, left, right):
    """int64: the value of the pair, or NO_PAIR."""
    key = (left << 32) | right
    mask = (np.int64(1) << bits) - 1
    slot = _slot(key, bits)
    while True:
        entry = pairs + (slot << 4)
        here = load_int64(entry)
        if here == key:
            return load_int64(entry + 8)
        if here == _FREE_KEY:
            return NO_PAIR
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def fill_pairs(rows, pairs):
    """Fills a pair table (int64[2**k, 2], more than len(rows)) from rows (left, right, upper half, lower half).

    A pair that stands twice has the value of its last row.
    """
    bits = bits_of(len(pairs))
    mask = (np.int64(1) << bits) - 1
    pairs[:] = _FREE_KEY
    pairs_at = address_of(pairs)
    for row in range(len(rows)):
        key = (rows[row, 0] << 32) | rows[row, 1]
        slot = _slot(key, bits)
        while load_int64(pairs_at + (slot << 4)) != _FREE_KEY and load_int64(pairs_at + (slot << 4)) != key:
            slot = (slot + 1) & mask
        store64(pairs_at + (slot << 4), key)
        store64(pairs_at + (slot << 4) + 8, (rows[row, 2] << 32) | rows[row, 3])
    keep(pairs)


@helper
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


@helper
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
