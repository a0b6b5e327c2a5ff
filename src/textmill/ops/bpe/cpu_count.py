"""Kernels of piece counting: an open-addressing table keyed by the pieces' bytes.

Pieces are taken in blocks. A first loop makes the keys of a block and asks for the table lines they will need; a second
one looks them up. So the waits for memory overlap.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.keys import is_inline, key_bucket, piece_key
from textmill.ops.memory import (
    PADDING,
    address_of,
    bits_of,
    equal_span,
    keep,
    load32,
    load64,
    load_int64,
    prefetch,
    store64,
)

# words of a table entry; an entry is free when its second word is 0
FIRST, SECOND, COUNT, INDEX = range(4)
ENTRY_WORDS = 4
_ENTRY_SHIFT = 5

# words of the state vector
NUM_UNIQUE, ARENA_USED, CURSOR, BYTES_NEEDED = range(4)
STATE_WORDS = 4

# what count_pieces returns
DONE, TABLE_FULL, ARENA_FULL, BAD_ENDS = range(4)

_BLOCK = 128
_FREE = np.uint64(0)


@njit(forceinline=True)
def _stage_keys(base, begin, limit, ends, count, table, bits, staged):
    """int64: where the last of `count` pieces ends, -1 if ends do not grow. Row i of staged: the two key words."""
    for i in range(count):
        end = load32(ends + (i << 2))
        if end <= begin or end > limit:
            return np.int64(-1)
        first, second = piece_key(base + begin, end - begin)
        prefetch(table + (key_bucket(first, second, bits) << _ENTRY_SHIFT))
        row = staged + (i << 4)
        store64(row, first)
        store64(row + 8, second)
        begin = end
    return begin


@njit(forceinline=True)
def find_entry(table, bits, first, second, piece, length, arena, offsets):
    """int64: the address of the entry of the piece, or of the free entry where it belongs."""
    mask, slot = (np.int64(1) << bits) - 1, key_bucket(first, second, bits)
    while True:
        entry = table + (slot << _ENTRY_SHIFT)
        second_here = load64(entry + 8)
        if second_here == _FREE:
            return entry
        if load64(entry) == first and second_here == second:
            if is_inline(second):
                return entry
            copy = arena + load_int64(offsets + (load_int64(entry + 24) << 3))
            if equal_span(copy, piece, length):
                return entry
        slot = (slot + 1) & mask


@njit
def find_index(piece, length, table, bits, arena, offsets):
    """int64: the index of a piece by order of first appearance, or -1. All but length and bits are addresses."""
    first, second = piece_key(piece, length)
    entry = find_entry(table, bits, first, second, piece, length, arena, offsets)
    return np.int64(-1) if load64(entry + 8) == _FREE else load_int64(entry + 24)


@njit(forceinline=True)
def copy_words(source, target, length):
    """Copies `length` bytes between addresses, and up to 7 more."""
    for i in range(0, length, 8):
        store64(target + i, load64(source + i))


@njit(forceinline=True)
def _insert(entry, first, second, index):
    store64(entry, first)
    store64(entry + 8, second)
    store64(entry + 16, np.int64(0))
    store64(entry + 24, index)


@njit(cache=True, nogil=True)
def count_pieces(text, start, ends, weights, table, offsets, arena, state):
    """Counts from piece state[CURSOR] on; returns DONE, or why it stopped before a block that does not fit.

    weights: int64, one for each piece, or a single one for all.
    """
    base, ends_at, table_at = address_of(text) + start, address_of(ends), address_of(table)
    offsets_at, arena_at = address_of(offsets), address_of(arena)
    staged = np.empty(2 * _BLOCK, np.int64)
    staged_at = address_of(staged)
    capacity = len(table)
    bits = bits_of(capacity)
    own_weights = len(weights) > 1
    arena_limit = len(arena) - PADDING
    limit = np.int64(ends[-1]) if len(ends) > 0 else np.int64(0)
    while state[CURSOR] < len(ends):
        cursor = state[CURSOR]
        count = min(np.int64(_BLOCK), len(ends) - cursor)
        begin = np.int64(0) if cursor == 0 else np.int64(ends[cursor - 1])
        end = _stage_keys(base, begin, limit, ends_at + (cursor << 2), count, table_at, bits, staged_at)
        if end < 0:
            return BAD_ENDS
        if 2 * (state[NUM_UNIQUE] + count) > capacity:
            return TABLE_FULL
        if state[ARENA_USED] + end - begin > arena_limit:
            state[BYTES_NEEDED] = end - begin
            return ARENA_FULL
        for i in range(count):
            end = np.int64(ends[cursor + i])
            length, piece, row = end - begin, base + begin, staged_at + (i << 4)
            first, second = load64(row), load64(row + 8)
            entry = find_entry(table_at, bits, first, second, piece, length, arena_at, offsets_at)
            if load64(entry + 8) == _FREE:
                _insert(entry, first, second, state[NUM_UNIQUE])
                copy_words(piece, arena_at + state[ARENA_USED], length)
                state[ARENA_USED] += length
                state[NUM_UNIQUE] += 1
                offsets[state[NUM_UNIQUE]] = state[ARENA_USED]
            weight = weights[cursor + i] if own_weights else weights[0]
            store64(entry + 16, load_int64(entry + 16) + weight)
            begin = end
        state[CURSOR] = cursor + count
    keep(text), keep(staged)
    return DONE


@njit(cache=True, nogil=True)
def rehash(table, grown):
    """Puts every entry of `table` into the empty table `grown`."""
    bits = bits_of(len(grown))
    mask = len(grown) - 1
    for i in range(len(table)):
        if table[i, SECOND] != 0:
            slot = key_bucket(np.uint64(table[i, FIRST]), np.uint64(table[i, SECOND]), bits)
            while grown[slot, SECOND] != 0:
                slot = (slot + 1) & mask
            for word in range(ENTRY_WORDS):
                grown[slot, word] = table[i, word]


@njit(cache=True, nogil=True)
def read_counts(table, counts):
    """Writes the count of every piece to its index."""
    for i in range(len(table)):
        if table[i, SECOND] != 0:
            counts[table[i, INDEX]] = table[i, COUNT]
