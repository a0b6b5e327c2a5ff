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

# int64 fields of a symbol: its length, its words (see `joined_words`), and three fingerprints (see `joined_name`)
LENGTH, WORDS, NAME, TAIL, TAIL_POWER, OPENS_PREFIX = 0, 8, 16, 24, 32, 40
SYMBOL_WORDS = 8
SYMBOL_SHIFT = 6

# words of the state vector
(
    NUM_MERGES,
    NUM_SYMBOLS,
    SYMBOLS_WANTED,
    NUM_INITIAL,
    NUM_SLOTS,
    HEAP_SIZE,
    ARENA_USED,
    THRESHOLD,
    MAX_LENGTH,
    MAX_WORDS,
    WORK,
    PLACES_NEEDED,
    MERGES_IN_WINDOW,
    PRODUCT,
    CHECKED_LEFT,
    CHECKED_RIGHT,
) = range(16)
STATE_WORDS = 16

NUM_BYTES = 256

# columns of the merges table
LEFT, RIGHT, MERGE_COUNT, MADE = range(4)
MERGE_WORDS = 4

# bits of a symbol's words: it begins or ends inside a word, it takes part in no merge; above them, how many words
BEGINS_INSIDE, ENDS_INSIDE, CLOSED = 1, 2, 4
WORD_COUNT_SHIFT = 3


@njit(forceinline=True)
def token_at(tokens, place):
    return tokens + (place << TOKEN_SHIFT)


@njit(forceinline=True)
def symbol_field(symbols, symbol, field):
    """int64: one field of a symbol; `symbols` is the address of the table."""
    return load_int64(symbols + (symbol << SYMBOL_SHIFT) + field)


@njit(forceinline=True)
def joined_words(left, right):
    """int64: the words field of two symbols joined. A word is a run of bytes that are not white space."""
    count = (left >> WORD_COUNT_SHIFT) + (right >> WORD_COUNT_SHIFT)
    if (left & ENDS_INSIDE) != 0 and (right & BEGINS_INSIDE) != 0:
        count -= 1
    return (count << WORD_COUNT_SHIFT) | (left & BEGINS_INSIDE) | (right & ENDS_INSIDE)


@njit(forceinline=True)
def may_merge(left, right, symbols, state):
    """bool: whether the length and the words of the pair allow it. Two initial symbols are never too long."""
    if max(left, right) >= state[NUM_INITIAL]:
        length = symbol_field(symbols, left, LENGTH) + symbol_field(symbols, right, LENGTH)
        if length >= state[MAX_LENGTH]:
            return False
    if state[MAX_WORDS] == 0:
        return True
    left_words, right_words = symbol_field(symbols, left, WORDS), symbol_field(symbols, right, WORDS)
    if ((left_words | right_words) & CLOSED) != 0:
        return False
    return (joined_words(left_words, right_words) >> WORD_COUNT_SHIFT) <= state[MAX_WORDS]


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
