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
    CHECKED_LEFT,
    CHECKED_RIGHT,
    FIRST_ROW,
    HEAP_SIZE,
    LEFT,
    LENGTH,
    MADE,
    MERGE_COUNT,
    MERGES_IN_WINDOW,
    NAME,
    NO_SLOT,
    NUM_MERGES,
    NUM_PLACES,
    NUM_SLOTS,
    NUM_SYMBOLS,
    OPENS_PREFIX,
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
    SLOT,
    SLOT_SHIFT,
    SPAN,
    SYMBOL,
    SYMBOL_SHIFT,
    SYMBOLS_WANTED,
    TAIL,
    TAIL_POWER,
    THRESHOLD,
    TOKEN_SHIFT,
    UNTOUCHED,
    WEIGHT,
    WORDS,
    WORK,
    heap_drop_top,
    heap_push,
    joined_words,
    may_merge,
    most_frequent,
    symbol_field,
    token_at,
)
from textmill.ops.bpe.cpu_window import pair_bucket
from textmill.ops.memory import address_of, bits_of, keep, load32, load64, load_int64, prefetch, store32, store64

# what merge_pairs returns
FINISHED, WORK_DONE, WINDOW_EMPTY, SLOTS_FULL, ARENA_FULL, MERGES_FULL, CHECK_NAME, PRODUCT_KNOWN = range(8)

# state[PRODUCT] when nobody has looked whether the product of the next merge has a symbol already
UNKNOWN = -1

_LOOK_AHEAD = 8
HALF = np.int64(0xFFFFFFFF)


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
def join_all(tokens, weights, slots, rows, places, num_places, slot, new, num_symbols):
    """int64: how many rows of new pairs were touched. Joins the tokens at every place that still is of this slot."""
    touched = np.int64(0)
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
def _give_slots(rows, touched, slots, heap, symbols, new, num_symbols, state):
    """Gives a slot and room in the arena to every new pair that reaches the threshold and is not too long."""
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
def settle_all(tokens, slots, rows, places, num_places, new, arena):
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
def forget_rows(rows, touched):
    for i in range(touched):
        row = rows + (load_int64(rows + (i << ROW_SHIFT) + ROW_TOUCHED) << ROW_SHIFT)
        store64(row + ROW_COUNT, np.int64(0))
        store64(row + ROW_PLACES, np.int64(0))
        store64(row + ROW_SLOT, np.int64(UNTOUCHED))


@njit(forceinline=True)
def join_only(tokens, places, num_places, slot, product):
    """Joins as `join_all` does, to a symbol that exists, and keeps no account of pairs: a new window must open."""
    for i in range(num_places):
        place = load32(places + (i << 2))
        token = token_at(tokens, place)
        if load32(token + SLOT) != slot:
            continue
        span = load32(token + SPAN)
        partner = token_at(tokens, place + span)
        span += load32(partner + SPAN)
        store32(token + SLOT, np.int64(NO_SLOT))
        store32(partner + SLOT, np.int64(NO_SLOT))
        store32(token + SYMBOL, product)
        store32(token + SPAN, span)
        store32(token_at(tokens, place + span - 1) + SPAN, span)


@njit(forceinline=True)
def joined_name(left, right, symbols, field):
    """uint64: the fingerprint (`NAME` or `TAIL`) of two symbols joined.

    The name of a product is the name of its left part and the *tail* of its right part: the name without the prefix
    that continues a word. A fingerprint is the bytes as digits of a number, modulo 2**64, so those of equal names are
    equal; the caller compares the names themselves where they are.
    """
    left_row, right_row = symbols + (left << SYMBOL_SHIFT), symbols + (right << SYMBOL_SHIFT)
    return load64(left_row + field) * load64(right_row + TAIL_POWER) + load64(right_row + TAIL)


@njit(forceinline=True)
def name_bucket(name, names, bits):
    """int64: the address of the name's entry, or of the free one where it belongs. Entries: name, symbol + 1 or 0."""
    mask = (np.int64(1) << bits) - 1
    bucket = pair_bucket(name, bits)
    while True:
        entry = names + (bucket << 4)
        if load_int64(entry + 8) == 0 or load64(entry) == name:
            return entry
        bucket = (bucket + 1) & mask


@njit(forceinline=True)
def needs_check(left, right, symbols, names, bits, state):
    """bool: whether the pair's product may have the name of a symbol that exists; then the caller must look."""
    if state[PRODUCT] != UNKNOWN:
        return False
    entry = name_bucket(joined_name(left, right, symbols, NAME), names, bits)
    if load_int64(entry + 8) == 0 and symbol_field(symbols, left, OPENS_PREFIX) == 0:
        return False
    state[CHECKED_LEFT], state[CHECKED_RIGHT] = left, right
    return True


@njit(forceinline=True)
def describe(new, left, right, symbols, names, bits):
    """Fills the new symbol's row; its fingerprints, here and in the table of names, only if `bits` is not 0."""
    row = symbols + (new << SYMBOL_SHIFT)
    store64(row + LENGTH, symbol_field(symbols, left, LENGTH) + symbol_field(symbols, right, LENGTH))
    store64(row + WORDS, joined_words(symbol_field(symbols, left, WORDS), symbol_field(symbols, right, WORDS)))
    if bits == 0:
        return
    power = load64(symbols + (left << SYMBOL_SHIFT) + TAIL_POWER) * load64(
        symbols + (right << SYMBOL_SHIFT) + TAIL_POWER
    )
    name, tail = joined_name(left, right, symbols, NAME), joined_name(left, right, symbols, TAIL)
    store64(row + NAME, name)
    store64(row + TAIL, tail)
    store64(row + TAIL_POWER, power)
    store64(row + OPENS_PREFIX, np.int64(0))
    entry = name_bucket(name, names, bits)
    store64(entry, name)
    store64(entry + 8, new + 1)


@njit(cache=True, nogil=True)
def merge_pairs(tokens, weights, slots, heap, arena, rows, merges, symbols, names, state):
    """Merges until WORK places were walked, all is done, the window is empty, an array is too small, or the caller must
    say what the next merge makes; returns which.

    names: int64[2**k, 2], or of length 1 if all products are known to be new.
    """
    tokens_at, weights_at, slots_at = address_of(tokens), address_of(weights), address_of(slots)
    heap_at, arena_at, rows_at = address_of(heap), address_of(arena), address_of(rows)
    symbols_at, names_at, name_bits = address_of(symbols), address_of(names), bits_of(len(names))
    num_symbols = state[SYMBOLS_WANTED]
    while state[NUM_SYMBOLS] < num_symbols:
        if state[WORK] <= 0:
            return WORK_DONE
        slot = most_frequent(heap_at, slots_at, state)
        if slot < 0:
            return WINDOW_EMPTY
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
        heap_drop_top(heap_at, slots_at, state)
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
        _give_slots(rows_at, touched, slots_at, heap_at, symbols_at, new, num_symbols, state)
        settle_all(tokens_at, slots_at, rows_at, places, num_places, new, arena_at)
        forget_rows(rows_at, touched)
        store64(fields + PAIR_COUNT, np.int64(0))
        state[WORK] -= num_places + touched
    keep(tokens), keep(weights), keep(slots), keep(heap), keep(arena), keep(rows), keep(symbols), keep(names)
    return FINISHED
