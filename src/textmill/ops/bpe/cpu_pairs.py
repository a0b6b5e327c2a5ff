"""What the kernels of BPE training share: the layout of their arrays, and the heap of pairs.

Arrays are read by address in the inner loops (see `ops.memory`), so the fields are byte offsets.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import load_int64, store64

# int32 fields of a token, by byte offset
SYMBOL, SPAN, SLOT, WEIGHT = 0, 4, 8, 12
TOKEN_WORDS = 4
TOKEN_SHIFT = 4
FENCE = -1
"""The symbol of a fence."""
NO_SLOT = -1
# slots from here down are the rows of new pairs while a merge is under way
FIRST_ROW = -2

# int64 fields of a slot: how often its pair occurs, left << 32 | right, and its places in the arena
PAIR_COUNT, PAIR, PLACES, NUM_PLACES = 0, 8, 16, 24
SLOT_WORDS = 4
SLOT_SHIFT = 5

# int64 fields of a new pair's row; row x holds (x, new), row num_symbols + y holds (new, y)
ROW_COUNT, ROW_PLACES, ROW_SLOT, ROW_TOUCHED = 0, 8, 16, 24
ROW_WORDS = 4
ROW_SHIFT = 5
# ROW_SLOT of a row that this merge has not met, and of one that gets no slot
UNTOUCHED = -2

# words of the state vector
(
    NUM_MERGES,
    MERGES_WANTED,
    NUM_SLOTS,
    HEAP_SIZE,
    ARENA_USED,
    THRESHOLD,
    MAX_LENGTH,
    WORK,
    PLACES_NEEDED,
    MERGES_IN_WINDOW,
) = range(10)
STATE_WORDS = 10

NUM_BYTES = 256

# columns of the merges table
LEFT, RIGHT, MERGE_COUNT, LENGTH = range(4)
MERGE_WORDS = 4


@njit(forceinline=True)
def token_at(tokens, place):
    return tokens + (place << TOKEN_SHIFT)


@njit(forceinline=True)
def symbol_length(symbol, merges):
    return np.int64(1) if symbol < NUM_BYTES else merges[symbol - NUM_BYTES, LENGTH]


@njit(forceinline=True)
def too_long(left, right, merges, state):
    """bool: whether the pair may not be merged for its length. Two bytes always may, as in `tokenizers`."""
    if max(left, right) < NUM_BYTES:
        return False
    return symbol_length(left, merges) + symbol_length(right, merges) >= state[MAX_LENGTH]


# The heap: pairs of int64 (count, slot), four children a node; the most frequent pair first, ties by the pair itself.


@njit(forceinline=True)
def _before(count, slot, other_count, other_slot, slots):
    if count != other_count:
        return count > other_count
    return load_int64(slots + (slot << SLOT_SHIFT) + PAIR) < load_int64(slots + (other_slot << SLOT_SHIFT) + PAIR)


@njit(forceinline=True)
def _heap_put(heap, node, count, slot):
    store64(heap + (node << 4), count)
    store64(heap + (node << 4) + 8, slot)


@njit
def heap_push(heap, size, count, slot, slots):
    node = size
    while node > 0:
        parent = (node - 1) >> 2
        parent_count, parent_slot = load_int64(heap + (parent << 4)), load_int64(heap + (parent << 4) + 8)
        if not _before(count, slot, parent_count, parent_slot, slots):
            break
        _heap_put(heap, node, parent_count, parent_slot)
        node = parent
    _heap_put(heap, node, count, slot)


@njit
def heap_replace_top(heap, size, count, slot, slots):
    """Puts (count, slot) in place of the first of `size` entries."""
    node = np.int64(0)
    while True:
        child = 4 * node + 1
        if child >= size:
            break
        best, best_count, best_slot = child, load_int64(heap + (child << 4)), load_int64(heap + (child << 4) + 8)
        for other in range(child + 1, min(child + 4, size)):
            other_count, other_slot = load_int64(heap + (other << 4)), load_int64(heap + (other << 4) + 8)
            if _before(other_count, other_slot, best_count, best_slot, slots):
                best, best_count, best_slot = other, other_count, other_slot
        if not _before(best_count, best_slot, count, slot, slots):
            break
        _heap_put(heap, node, best_count, best_slot)
        node = best
    _heap_put(heap, node, count, slot)


@njit(forceinline=True)
def most_frequent(heap, slots, state):
    """int64: the slot of the pair to merge, left on top of the heap, or -1. Puts counts that have fallen right."""
    while state[HEAP_SIZE] > 0:
        count, slot = load_int64(heap), load_int64(heap + 8)
        now = load_int64(slots + (slot << SLOT_SHIFT) + PAIR_COUNT)
        if now == count:
            return slot
        if now >= state[THRESHOLD]:
            heap_replace_top(heap, state[HEAP_SIZE], now, slot, slots)
        else:
            heap_drop_top(heap, slots, state)
    return np.int64(-1)


@njit(forceinline=True)
def heap_drop_top(heap, slots, state):
    state[HEAP_SIZE] -= 1
    last = heap + (state[HEAP_SIZE] << 4)
    if state[HEAP_SIZE] > 0:
        heap_replace_top(heap, state[HEAP_SIZE], load_int64(last), load_int64(last + 8), slots)
