"""Kernels that open a window of BPE training; `cpu_train` tells what a window is."""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_pairs import (
    ARENA_USED,
    FENCE,
    HEAP_SIZE,
    NO_SLOT,
    NUM_PLACES,
    NUM_SLOTS,
    PAIR,
    PAIR_COUNT,
    SLOT,
    SLOT_SHIFT,
    SPAN,
    SYMBOL,
    THRESHOLD,
    TOKEN_SHIFT,
    WEIGHT,
    heap_push,
    may_merge,
    token_at,
)
from textmill.ops.memory import address_of, bits_of, fold_multiply, keep, load32, load_int64, store32, store64

PAIR_SALT = 0x9E3779B97F4A7C15
PAIR_MIX = 0xD6E8FEB86659FD93


@njit(forceinline=True)
def pair_bucket(pair, bits):
    """int64 in 0..2**bits - 1: where a table keeps a pair, left << 32 | right."""
    return np.int64(fold_multiply(np.uint64(pair) ^ np.uint64(PAIR_SALT), np.uint64(PAIR_MIX)) >> np.uint64(64 - bits))


@njit(cache=True, nogil=True)
def close_gaps(tokens, num_places, weights, sketch):
    """(int64, int64): how many places are left, and an upper bound of the largest pair count.

    Moves every token to the front. sketch: int64[2**k]; bucket i receives the sum of the counts of all pairs that hash
    to i, which is never less than the count of any of them.
    """
    bits = bits_of(len(sketch))
    sketch[:] = 0
    base = address_of(tokens)
    source, target, left, largest = np.int64(0), np.int64(0), np.int64(FENCE), np.int64(0)
    while source < num_places:
        token = token_at(base, source)
        source += load32(token + SPAN)
        symbol, weight = load32(token + SYMBOL), load32(token + WEIGHT)
        moved = token_at(base, target)
        store32(moved + SYMBOL, symbol)
        store32(moved + SPAN, np.int64(1))
        # the slot that another token left at this place; counting gives new ones to all but the last fence
        store32(moved + SLOT, np.int64(NO_SLOT))
        store32(moved + WEIGHT, weight)
        if left >= 0 and symbol >= 0:
            bucket = pair_bucket((left << 32) | symbol, bits)
            sketch[bucket] += weights[weight]
            largest = max(largest, sketch[bucket])
        left = symbol
        target += 1
    keep(tokens)
    return target, largest


@njit(cache=True, nogil=True)
def count_frequent(tokens, num_places, weights, sketch, table, slots, symbols, state):
    """int64: how many slots were given to pairs whose sketch reaches the threshold, or -1 if there is too little room.

    table: int32[2**k], slot + 1 or 0 for free. Every token gets its pair's slot, or none.
    """
    table_bits, sketch_bits = bits_of(len(table)), bits_of(len(sketch))
    mask = len(table) - 1
    table[:] = 0
    num_slots = np.int64(0)
    base, slots_at, symbols_at = address_of(tokens), address_of(slots), address_of(symbols)
    for place in range(num_places - 1):
        token = token_at(base, place)
        left, right = load32(token + SYMBOL), load32(token + (1 << TOKEN_SHIFT) + SYMBOL)
        store32(token + SLOT, np.int64(NO_SLOT))
        pair = (left << 32) | right
        if left < 0 or right < 0 or sketch[pair_bucket(pair, sketch_bits)] < state[THRESHOLD]:
            continue
        if not may_merge(left, right, symbols_at, state):
            continue
        bucket = pair_bucket(pair, table_bits)
        while (
            table[bucket] != 0 and load_int64(slots_at + ((np.int64(table[bucket]) - 1) << SLOT_SHIFT) + PAIR) != pair
        ):
            bucket = (bucket + 1) & mask
        if table[bucket] == 0:
            if 2 * num_slots >= len(table) or num_slots >= len(slots):
                return np.int64(-1)
            num_slots += 1
            table[bucket] = num_slots
            fresh = slots_at + ((num_slots - 1) << SLOT_SHIFT)
            store64(fresh + PAIR_COUNT, np.int64(0))
            store64(fresh + PAIR, pair)
            store64(fresh + NUM_PLACES, np.int64(0))
        number = np.int64(table[bucket]) - 1
        slot = slots_at + (number << SLOT_SHIFT)
        store64(slot + PAIR_COUNT, load_int64(slot + PAIR_COUNT) + weights[load32(token + WEIGHT)])
        store64(slot + NUM_PLACES, load_int64(slot + NUM_PLACES) + 1)
        store32(token + SLOT, number)
    keep(tokens), keep(slots), keep(symbols)
    return num_slots


@njit(cache=True, nogil=True)
def keep_frequent(slots, new_numbers, state):
    """int64: how many places the pairs that reach the threshold have. Renumbers their slots.

    new_numbers[old] is the new number, -1 for the other slots.
    """
    kept, places, threshold = np.int64(0), np.int64(0), state[THRESHOLD]
    for number in range(state[NUM_SLOTS]):
        if slots[number, 0] < threshold:
            new_numbers[number] = NO_SLOT
            continue
        new_numbers[number] = kept
        slots[kept, 0] = slots[number, 0]
        slots[kept, 1] = slots[number, 1]
        slots[kept, 2] = places
        places += slots[number, 3]
        slots[kept, 3] = 0
        kept += 1
    state[NUM_SLOTS] = kept
    return places


@njit(cache=True, nogil=True)
def list_places(tokens, num_places, slots, new_numbers, arena, heap, state):
    """Writes the places of every slot into the arena, in rising order, and fills the heap."""
    for place in range(num_places):
        old = tokens[place, 2]
        if old < 0:
            continue
        number = new_numbers[old]
        tokens[place, 2] = number
        if number >= 0:
            arena[slots[number, 2] + slots[number, 3]] = place
            slots[number, 3] += 1
            state[ARENA_USED] += 1
    heap_at, slots_at = address_of(heap), address_of(slots)
    for number in range(state[NUM_SLOTS]):
        heap_push(heap_at, state[HEAP_SIZE], slots[number, 0], np.int64(number), slots_at)
        state[HEAP_SIZE] += 1
    keep(heap), keep(slots)
