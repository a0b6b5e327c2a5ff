"""Kernels of WordPiece training by likelihood: BPE's row of tokens with another order of pairs.

The pair that is merged next has the highest score count(xy) / (count(x) count(y)). A merge of x and y changes the
counts of the symbols x and y, of pairs that hold one of them, and of new pairs: so it changes the scores of pairs that
hold x, y or the new symbol, and of no others. Each symbol therefore keeps lists of the pairs it is in, and the pairs
stand in a heap that knows where each is: after a merge those scores are computed anew and moved up or down. Nothing is
estimated or put off, so the first pair of the heap is always the best one.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_pairs import (
    ARENA_USED,
    LEFT,
    MADE,
    MERGE_COUNT,
    MERGES_IN_WINDOW,
    NUM_MERGES,
    NUM_PLACES,
    NUM_SLOTS,
    NUM_SYMBOLS,
    PAIR,
    PAIR_COUNT,
    PLACES,
    PLACES_NEEDED,
    PRODUCT,
    RIGHT,
    ROW_COUNT,
    ROW_PLACES,
    ROW_SHIFT,
    ROW_SLOT,
    ROW_TOUCHED,
    SLOT_SHIFT,
    SYMBOL,
    SYMBOLS_WANTED,
    THRESHOLD,
    WEIGHT,
    WORK,
    may_merge,
    token_at,
)
from textmill.ops.bpe.cpu_train import (
    ARENA_FULL,
    CHECK_NAME,
    FINISHED,
    HALF,
    MERGES_FULL,
    PRODUCT_KNOWN,
    SLOTS_FULL,
    UNKNOWN,
    WINDOW_EMPTY,
    WORK_DONE,
    describe,
    forget_rows,
    join_all,
    join_only,
    needs_check,
    settle_all,
)
from textmill.ops.memory import address_of, bits_of, keep, load32, load_int64, store32, store64

# int64 fields of a pair's links: its score, its node in the heap (or -1), the next pair with this left or right symbol
SCORE, NODE, NEXT_LEFT, NEXT_RIGHT = 0, 8, 16, 24
LINK_WORDS = 4
_LINK_SHIFT = 5

# int64 fields of a symbol: the first pair of which it is the left or right symbol, and how often it occurs
FIRST_LEFT, FIRST_RIGHT, COUNT = 0, 8, 16
HEAD_WORDS = 4
_HEAD_SHIFT = 5

_NONE = np.int64(-1)


@njit(forceinline=True)
def _score(slot, slots, heads):
    """int64: the bits of the float64 score; those of positive numbers are in the numbers' order."""
    fields = slots + (slot << SLOT_SHIFT)
    pair = load_int64(fields + PAIR)
    left = load_int64(heads + ((pair >> 32) << _HEAD_SHIFT) + COUNT)
    right = load_int64(heads + ((pair & HALF) << _HEAD_SHIFT) + COUNT)
    return np.float64(np.float64(load_int64(fields + PAIR_COUNT)) / (np.float64(left) * np.float64(right))).view(
        np.int64
    )


@njit(forceinline=True)
def _before(slot, other, slots, links):
    mine, its = load_int64(links + (slot << _LINK_SHIFT)), load_int64(links + (other << _LINK_SHIFT))
    if mine != its:
        return mine > its
    return load_int64(slots + (slot << SLOT_SHIFT) + PAIR) < load_int64(slots + (other << SLOT_SHIFT) + PAIR)


@njit(forceinline=True)
def _put(heap, node, slot, links):
    store32(heap + (node << 2), slot)
    store64(links + (slot << _LINK_SHIFT) + NODE, node)


@njit
def _settle_node(heap, size, node, slot, slots, links):
    """Puts the pair at the node, or above or below it, where its score belongs."""
    while node > 0:
        parent = (node - 1) >> 2
        above = load32(heap + (parent << 2))
        if not _before(slot, above, slots, links):
            break
        _put(heap, node, above, links)
        node = parent
    while 4 * node + 1 < size:
        child = 4 * node + 1
        best = load32(heap + (child << 2))
        for i in range(child + 1, min(child + 4, size)):
            other = load32(heap + (i << 2))
            if _before(other, best, slots, links):
                child, best = np.int64(i), other
        if not _before(best, slot, slots, links):
            break
        _put(heap, node, best, links)
        node = child
    _put(heap, node, slot, links)


@njit(forceinline=True)
def _add(slot, heap, size, slots, links, heads):
    """int64: the heap's size. Links the pair to its symbols and puts it into the heap."""
    row = links + (slot << _LINK_SHIFT)
    pair = load_int64(slots + (slot << SLOT_SHIFT) + PAIR)
    left, right = heads + ((pair >> 32) << _HEAD_SHIFT), heads + ((pair & HALF) << _HEAD_SHIFT)
    store64(row + NEXT_LEFT, load_int64(left + FIRST_LEFT))
    store64(left + FIRST_LEFT, slot)
    store64(row + NEXT_RIGHT, load_int64(right + FIRST_RIGHT))
    store64(right + FIRST_RIGHT, slot)
    store64(row + SCORE, _score(slot, slots, heads))
    _settle_node(heap, size + 1, size, slot, slots, links)
    return size + 1


@njit(forceinline=True)
def _remove(slot, heap, size, slots, links):
    """int64: the heap's size without the pair."""
    node = load_int64(links + (slot << _LINK_SHIFT) + NODE)
    if node < 0:
        return size
    store64(links + (slot << _LINK_SHIFT) + NODE, _NONE)
    size -= 1
    last = load32(heap + (size << 2))
    if node < size:
        _settle_node(heap, size, node, last, slots, links)
    return size


@njit
def _rescore(first, next_field, threshold, heap, size, slots, links, heads):
    """int64: the heap's size. Scores every pair of a list anew, drops those that are too rare; first: an address."""
    link = first
    slot = load_int64(link)
    while slot >= 0:
        row = links + (slot << _LINK_SHIFT)
        following = load_int64(row + next_field)
        if load_int64(slots + (slot << SLOT_SHIFT) + PAIR_COUNT) < threshold:
            size = _remove(slot, heap, size, slots, links)
            store64(link, following)
        else:
            score, node = _score(slot, slots, heads), load_int64(row + NODE)
            if score != load_int64(row + SCORE) and node >= 0:
                store64(row + SCORE, score)
                _settle_node(heap, size, node, slot, slots, links)
            link = row + next_field
        slot = following
    return size


@njit(cache=True, nogil=True)
def open_scores(tokens, num_places, weights, alone, slots, links, heads, heap, state):
    """int64: the heap's size. Counts the symbols, links all pairs, and fills the heap.

    alone: int64, how often each of the first symbols is a piece of its own, which is not among the tokens.
    """
    tokens_at, slots_at, links_at = address_of(tokens), address_of(slots), address_of(links)
    heads_at, heap_at = address_of(heads), address_of(heap)
    heads[:, FIRST_LEFT >> 3] = _NONE
    heads[:, FIRST_RIGHT >> 3] = _NONE
    heads[:, COUNT >> 3] = 0
    heads[: len(alone), COUNT >> 3] = alone
    for place in range(num_places):
        token = token_at(tokens_at, place)
        symbol = load32(token + SYMBOL)
        if symbol >= 0:
            heads[symbol, COUNT >> 3] += weights[load32(token + WEIGHT)]
    size = np.int64(0)
    for slot in range(state[NUM_SLOTS]):
        size = _add(np.int64(slot), heap_at, size, slots_at, links_at, heads_at)
    keep(tokens), keep(slots), keep(links), keep(heads), keep(heap)
    return size


@njit(forceinline=True)
def _give_slots(rows, touched, heap, size, slots, links, heads, symbols, new, num_symbols, state):
    """int64: the heap's size. As in BPE, gives a slot to every new pair that is frequent enough and not too long."""
    for i in range(touched):
        number = load_int64(rows + (i << ROW_SHIFT) + ROW_TOUCHED)
        row = rows + (number << ROW_SHIFT)
        count = load_int64(row + ROW_COUNT)
        is_left = number < num_symbols
        other = number if is_left else number - num_symbols
        left, right = (other, new) if is_left else (new, other)
        if count < state[THRESHOLD] or not may_merge(left, right, symbols, state):
            continue
        slot = state[NUM_SLOTS]
        state[NUM_SLOTS] += 1
        fields = slots + (slot << SLOT_SHIFT)
        store64(fields + PAIR_COUNT, count)
        store64(fields + PAIR, (left << 32) | right)
        store64(fields + PLACES, state[ARENA_USED])
        store64(fields + NUM_PLACES, np.int64(0))
        state[ARENA_USED] += load_int64(row + ROW_PLACES)
        store64(row + ROW_SLOT, slot)
        size = _add(slot, heap, size, slots, links, heads)
    return size


@njit(forceinline=True)
def _joined_weight(tokens, weights, places, num_places, new):
    """int64: how often the merge was made. A place was joined by it exactly if it now holds the new symbol."""
    total = np.int64(0)
    for i in range(num_places):
        token = token_at(tokens, load32(places + (i << 2)))
        if load32(token + SYMBOL) == new:
            total += load_int64(weights + (load32(token + WEIGHT) << 3))
    return total


@njit(forceinline=True)
def _change_count(symbol, change, heads):
    count = heads + (symbol << _HEAD_SHIFT) + COUNT
    store64(count, load_int64(count) + change)


@njit(cache=True, nogil=True)
def merge_by_score(tokens, weights, slots, heap, arena, rows, merges, symbols, names, state, links, heads, sizes):
    """As `cpu_train.merge_pairs`, by score. heap: int32; sizes[0] is its size."""
    tokens_at, weights_at, slots_at = address_of(tokens), address_of(weights), address_of(slots)
    heap_at, arena_at, rows_at = address_of(heap), address_of(arena), address_of(rows)
    symbols_at, names_at, name_bits = address_of(symbols), address_of(names), bits_of(len(names))
    links_at, heads_at = address_of(links), address_of(heads)
    num_symbols = state[SYMBOLS_WANTED]
    while state[NUM_SYMBOLS] < num_symbols:
        if state[WORK] <= 0:
            return WORK_DONE
        if sizes[0] == 0:
            return WINDOW_EMPTY
        slot = load32(heap_at)
        fields = slots_at + (slot << SLOT_SHIFT)
        num_places = load_int64(fields + NUM_PLACES)
        if state[NUM_MERGES] >= len(merges):
            return MERGES_FULL
        if state[NUM_SLOTS] + 2 * min(num_places, num_symbols) > len(slots):
            return SLOTS_FULL
        if state[ARENA_USED] + 2 * num_places > len(arena):
            state[PLACES_NEEDED] = 2 * num_places
            return ARENA_FULL
        pair, number = load_int64(fields + PAIR), state[NUM_MERGES]
        left, right = pair >> 32, pair & HALF
        if name_bits > 0 and needs_check(left, right, symbols_at, names_at, name_bits, state):
            return CHECK_NAME
        # a caller who was asked for a new symbol's name has filled in the fingerprints
        told, new = state[PRODUCT] != UNKNOWN, state[NUM_SYMBOLS]
        if told:
            new = state[PRODUCT]
        state[PRODUCT] = UNKNOWN
        merges[number, LEFT], merges[number, RIGHT], merges[number, MADE] = left, right, new
        merges[number, MERGE_COUNT] = load_int64(fields + PAIR_COUNT)
        places = arena_at + (load_int64(fields + PLACES) << 2)
        state[NUM_MERGES] = number + 1
        state[MERGES_IN_WINDOW] += 1
        if new < state[NUM_SYMBOLS]:
            join_only(tokens_at, places, num_places, slot, new)
            return PRODUCT_KNOWN
        state[NUM_SYMBOLS] += 1
        describe(new, left, right, symbols_at, names_at, np.int64(0) if told else name_bits)
        touched = join_all(tokens_at, weights_at, slots_at, rows_at, places, num_places, slot, new, num_symbols)
        store64(fields + PAIR_COUNT, np.int64(0))
        joined = _joined_weight(tokens_at, weights_at, places, num_places, new)
        _change_count(left, -joined, heads_at)
        _change_count(right, -joined, heads_at)
        _change_count(new, joined, heads_at)
        size = _give_slots(
            rows_at, touched, heap_at, sizes[0], slots_at, links_at, heads_at, symbols_at, new, num_symbols, state
        )
        settle_all(tokens_at, slots_at, rows_at, places, num_places, new, arena_at)
        forget_rows(rows_at, touched)
        for field in (FIRST_LEFT, FIRST_RIGHT):
            follow = NEXT_LEFT if field == FIRST_LEFT else NEXT_RIGHT
            for symbol in (left, right):
                first = heads_at + (symbol << _HEAD_SHIFT) + field
                size = _rescore(first, follow, state[THRESHOLD], heap_at, size, slots_at, links_at, heads_at)
        sizes[0] = size
        state[WORK] -= num_places + touched
    keep(tokens), keep(weights), keep(slots), keep(heap), keep(arena), keep(rows), keep(symbols), keep(names)
    keep(links), keep(heads)
    return FINISHED
