"""Kernels of BPE training.

The corpus is one row of tokens: the symbols of every distinct piece, a fence before each piece and after the last. A
token that has grown covers several places; its first place holds it, and its first and last place both hold its span,
so both neighbours are found by arithmetic.

Training goes through *windows*. Opening a window closes the gaps that merges have left, and lists, for every pair that
occurs at least `THRESHOLD` times, where it occurs (in order of place). Merging goes on until no pair is that frequent;
then the next window opens with a lower threshold. That is exact, for a pair's count only ever falls: the new symbol of
a merge is the only way to make new pairs, and those are complete when the merge is done. So a pair is either in the
window from its first moment or can be forgotten until the next one.

A merge walks the places of its pair twice. The first walk joins the tokens and counts the new pairs, (x, new) and
(new, y), in a row per neighbour symbol: no hashing. Then the frequent ones get a slot and room in the arena, and the
second walk writes their places. Nothing is ever unlinked: a place is valid while its token still names the pair's slot.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_pairs import (
    ARENA_USED,
    FIRST_ROW,
    HEAP_SIZE,
    LEFT,
    LENGTH,
    MERGE_COUNT,
    MERGES_IN_WINDOW,
    MERGES_WANTED,
    NO_SLOT,
    NUM_BYTES,
    NUM_MERGES,
    NUM_PLACES,
    NUM_SLOTS,
    PAIR,
    PAIR_COUNT,
    PLACES,
    PLACES_NEEDED,
    RIGHT,
    ROW_COUNT,
    ROW_PLACES,
    ROW_SHIFT,
    ROW_SLOT,
    ROW_TOUCHED,
    SLOT,
    SLOT_SHIFT,
    SPAN,
    SYMBOL,
    THRESHOLD,
    TOKEN_SHIFT,
    UNTOUCHED,
    WEIGHT,
    WORK,
    heap_drop_top,
    heap_push,
    most_frequent,
    symbol_length,
    token_at,
    too_long,
)
from textmill.ops.memory import address_of, keep, load32, load_int64, prefetch, store32, store64

# what merge_pairs returns
FINISHED, WORK_DONE, WINDOW_EMPTY, SLOTS_FULL, ARENA_FULL = range(5)

_LOOK_AHEAD = 8
_HALF = np.int64(0xFFFFFFFF)


@njit(forceinline=True)
def _leave(slot, weight, slots, rows):
    """One occurrence of the pair of this slot, or of this row of a new pair, is gone."""
    if slot >= 0:
        count = slots + (slot << SLOT_SHIFT) + PAIR_COUNT
        store64(count, load_int64(count) - weight)
    elif slot <= FIRST_ROW:
        row = rows + ((FIRST_ROW - slot) << ROW_SHIFT)
        store64(row + ROW_COUNT, load_int64(row + ROW_COUNT) - weight)
        store64(row + ROW_PLACES, load_int64(row + ROW_PLACES) - 1)


@njit(forceinline=True)
def _enter(token, number, weight, rows, num_touched):
    """int64: num_touched. The token now begins an occurrence of the new pair of row `number`."""
    row = rows + (number << ROW_SHIFT)
    if load_int64(row + ROW_SLOT) == UNTOUCHED:
        store64(row + ROW_SLOT, np.int64(NO_SLOT))
        store64(rows + (num_touched << ROW_SHIFT) + ROW_TOUCHED, number)
        num_touched += 1
    store64(row + ROW_COUNT, load_int64(row + ROW_COUNT) + weight)
    store64(row + ROW_PLACES, load_int64(row + ROW_PLACES) + 1)
    store32(token + SLOT, FIRST_ROW - number)
    return num_touched


@njit(forceinline=True)
def _join_all(tokens, weights, slots, rows, places, num_places, slot, state):
    """int64: how many rows of new pairs were touched. Joins the tokens at every place that still is of this slot."""
    touched, new, num_symbols = np.int64(0), NUM_BYTES + state[NUM_MERGES], NUM_BYTES + state[MERGES_WANTED]
    for i in range(num_places):
        if i + _LOOK_AHEAD < num_places:
            prefetch(token_at(tokens, load32(places + ((i + _LOOK_AHEAD) << 2))))
        place = load32(places + (i << 2))
        token = token_at(tokens, place)
        if load32(token + SLOT) != slot:
            continue
        weight = load_int64(weights + (load32(token + WEIGHT) << 3))
        left = token_at(tokens, place - load32(token - (1 << TOKEN_SHIFT) + SPAN))
        span = load32(token + SPAN)
        partner = token_at(tokens, place + span)
        span += load32(partner + SPAN)
        right = token_at(tokens, place + span)
        left_symbol, right_symbol = load32(left + SYMBOL), load32(right + SYMBOL)
        if left_symbol >= 0:
            _leave(load32(left + SLOT), weight, slots, rows)
            touched = _enter(left, left_symbol, weight, rows, touched)
        store32(token + SLOT, np.int64(NO_SLOT))
        if right_symbol >= 0:
            _leave(load32(partner + SLOT), weight, slots, rows)
            touched = _enter(token, num_symbols + right_symbol, weight, rows, touched)
        store32(partner + SLOT, np.int64(NO_SLOT))
        store32(token + SYMBOL, new)
        store32(token + SPAN, span)
        store32(right - (1 << TOKEN_SHIFT) + SPAN, span)
    return touched


@njit(forceinline=True)
def _give_slots(rows, touched, slots, heap, merges, new, num_symbols, state):
    """Gives a slot and room in the arena to every new pair that reaches the threshold and is not too long."""
    for i in range(touched):
        number = load_int64(rows + (i << ROW_SHIFT) + ROW_TOUCHED)
        row = rows + (number << ROW_SHIFT)
        count = load_int64(row + ROW_COUNT)
        is_left = number < num_symbols
        other = number if is_left else number - num_symbols
        if count < state[THRESHOLD] or too_long(other, new, merges, state):
            continue
        slot = state[NUM_SLOTS]
        state[NUM_SLOTS] += 1
        fields = slots + (slot << SLOT_SHIFT)
        store64(fields + PAIR_COUNT, count)
        store64(fields + PAIR, ((other << 32) | new) if is_left else ((new << 32) | other))
        store64(fields + PLACES, state[ARENA_USED])
        store64(fields + NUM_PLACES, np.int64(0))
        state[ARENA_USED] += load_int64(row + ROW_PLACES)
        store64(row + ROW_SLOT, slot)
        heap_push(heap, state[HEAP_SIZE], count, slot, slots)
        state[HEAP_SIZE] += 1


@njit(forceinline=True)
def _settle(token, place, rows, slots, arena):
    """Replaces the row of a token's new pair by its slot, and lists the place there."""
    slot = load32(token + SLOT)
    if slot > FIRST_ROW:
        return
    number = load_int64(rows + ((FIRST_ROW - slot) << ROW_SHIFT) + ROW_SLOT)
    store32(token + SLOT, number)
    if number >= 0:
        fields = slots + (number << SLOT_SHIFT)
        count = load_int64(fields + NUM_PLACES)
        store32(arena + ((load_int64(fields + PLACES) + count) << 2), place)
        store64(fields + NUM_PLACES, count + 1)


@njit(forceinline=True)
def _settle_all(tokens, slots, rows, places, num_places, new, arena):
    """The second walk. A place was joined by this merge exactly if it now holds the new symbol."""
    for i in range(num_places):
        if i + _LOOK_AHEAD < num_places:
            prefetch(token_at(tokens, load32(places + ((i + _LOOK_AHEAD) << 2))))
        place = load32(places + (i << 2))
        token = token_at(tokens, place)
        if load32(token + SYMBOL) != new:
            continue
        left = place - load32(token - (1 << TOKEN_SHIFT) + SPAN)
        _settle(token_at(tokens, left), left, rows, slots, arena)
        _settle(token, place, rows, slots, arena)


@njit(forceinline=True)
def _forget_rows(rows, touched):
    for i in range(touched):
        row = rows + (load_int64(rows + (i << ROW_SHIFT) + ROW_TOUCHED) << ROW_SHIFT)
        store64(row + ROW_COUNT, np.int64(0))
        store64(row + ROW_PLACES, np.int64(0))
        store64(row + ROW_SLOT, np.int64(UNTOUCHED))


@njit(cache=True, nogil=True)
def merge_pairs(tokens, weights, slots, heap, arena, rows, merges, state):
    """Merges until WORK places were walked, all is done, the window is empty, or an array is too small; says which."""
    tokens_at, weights_at, slots_at = address_of(tokens), address_of(weights), address_of(slots)
    heap_at, arena_at, rows_at = address_of(heap), address_of(arena), address_of(rows)
    num_symbols = NUM_BYTES + state[MERGES_WANTED]
    while state[NUM_MERGES] < state[MERGES_WANTED]:
        if state[WORK] <= 0:
            return WORK_DONE
        slot = most_frequent(heap_at, slots_at, state)
        if slot < 0:
            return WINDOW_EMPTY
        fields = slots_at + (slot << SLOT_SHIFT)
        num_places = load_int64(fields + NUM_PLACES)
        if state[NUM_SLOTS] + 2 * min(num_places, num_symbols) > len(slots):
            return SLOTS_FULL
        if state[ARENA_USED] + 2 * num_places > len(arena):
            state[PLACES_NEEDED] = 2 * num_places
            return ARENA_FULL
        heap_drop_top(heap_at, slots_at, state)
        pair, number = load_int64(fields + PAIR), state[NUM_MERGES]
        left, right, new = pair >> 32, pair & _HALF, number + NUM_BYTES
        merges[number, LEFT], merges[number, RIGHT] = left, right
        merges[number, MERGE_COUNT] = load_int64(fields + PAIR_COUNT)
        merges[number, LENGTH] = symbol_length(left, merges) + symbol_length(right, merges)
        places = arena_at + (load_int64(fields + PLACES) << 2)
        touched = _join_all(tokens_at, weights_at, slots_at, rows_at, places, num_places, slot, state)
        _give_slots(rows_at, touched, slots_at, heap_at, merges, new, num_symbols, state)
        _settle_all(tokens_at, slots_at, rows_at, places, num_places, new, arena_at)
        _forget_rows(rows_at, touched)
        store64(fields + PAIR_COUNT, np.int64(0))
        state[NUM_MERGES] = number + 1
        state[MERGES_IN_WINDOW] += 1
        state[WORK] -= num_places + touched
    keep(tokens), keep(weights), keep(slots), keep(heap), keep(arena), keep(rows)
    return FINISHED
