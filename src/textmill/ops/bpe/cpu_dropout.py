"""BPE-dropout: at every step each merge that is possible is dropped with a probability, and the best of the rest done.

Merges leave a heap in order until one is not dropped; the dropped ones go back for the next step. So a step draws for
no more merges than it must, and a long piece takes little more time than without dropout. A draw depends on the seed,
where the piece begins, the step and the place alone: not on threads, not on what was encoded before.

Source: Provilkov et al. 2020, arXiv:1910.13267, algorithm 1.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_merge import BYTE_IDS, NO_PAIR, pair_value, pop, push
from textmill.ops.memory import address_of, fold_multiply, keep, load8, load32, load_int64, store32, store64

DRAW_BITS = 53
_SALT = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_DRAW_SHIFT = np.uint64(64 - DRAW_BITS)
_HALF = np.int64(0xFFFFFFFF)
_SCRATCH_WORDS = 9
"""int64 a byte of the longest piece: ids, links to both neighbours, and a heap and what is set aside, three each."""


@njit(forceinline=True)
def _draw(state, step, place):
    """int64 in 0..2**DRAW_BITS - 1. state: the hash of the seed and of where the piece begins."""
    state = fold_multiply(state ^ np.uint64(step), _MIX)
    state = fold_multiply(state ^ np.uint64(place), _MIX)
    return np.int64(fold_multiply(state ^ _SALT, _MIX) >> _DRAW_SHIFT)


@njit(forceinline=True)
def _entry(array, place):
    return load_int64(array + (place << 3))


@njit(forceinline=True)
def _value_at(place, ids, following, length, model):
    """int64: the value of the pair that begins at the place, NO_PAIR if there is none."""
    right = _entry(following, place)
    if _entry(ids, place) < 0 or right >= length:
        return NO_PAIR
    return pair_value(model, _entry(ids, place), _entry(ids, right))


@njit(forceinline=True)
def _offer(place, ids, following, length, model, heap, size):
    """int64: the size of the heap, to which the pair at the place was added if a merge joins it."""
    if place < 0:
        return size
    value = _value_at(place, ids, following, length, model)
    if value == NO_PAIR:
        return size
    push(heap, size, (value & ~_HALF) | place)
    return size + 1


@njit
def _merge_dropping(piece, length, out, threshold, state, model, scratch):
    """int64: how many ids it wrote to `out`. Items of the heap: rank << 32 | place."""
    ids, following, preceding = scratch, scratch + (length << 3), scratch + (length << 4)
    heap, aside = scratch + 24 * length, scratch + 48 * length
    byte_ids = load_int64(model + 8 * BYTE_IDS)
    for i in range(length):
        store64(ids + (i << 3), load32(byte_ids + (load8(piece + i) << 2)))
        store64(following + (i << 3), i + 1)
        store64(preceding + (i << 3), i - 1)
    size, step = np.int64(0), np.int64(0)
    for i in range(length - 1):
        size = _offer(np.int64(i), ids, following, length, model, heap, size)
    while True:
        dropped, value, place = np.int64(0), NO_PAIR, np.int64(0)
        while size > 0 and value == NO_PAIR:
            item = pop(heap, size)
            size -= 1
            place = item & _HALF
            value = _value_at(place, ids, following, length, model)
            if value == NO_PAIR or value >> 32 != item >> 32:
                # the pair was there once
                value = NO_PAIR
            elif _draw(state, step, place) < threshold:
                store64(aside + (dropped << 3), item)
                dropped += 1
                value = NO_PAIR
        if value == NO_PAIR:
            break
        for i in range(dropped):
            push(heap, size, _entry(aside, i))
            size += 1
        right = _entry(following, place)
        after, before = _entry(following, right), _entry(preceding, place)
        store64(ids + (place << 3), value & _HALF)
        store64(ids + (right << 3), np.int64(-1))
        store64(following + (place << 3), after)
        if after < length:
            store64(preceding + (after << 3), place)
        size = _offer(before, ids, following, length, model, heap, size)
        size = _offer(place, ids, following, length, model, heap, size)
        step += 1
    place, count = np.int64(0), np.int64(0)
    while place < length:
        store32(out + (count << 2), _entry(ids, place))
        count += 1
        place = _entry(following, place)
    return count


@njit(cache=True, nogil=True)
def encode_dropping(text, start, ends, out, threshold, seed, model):
    """int64: how many ids it wrote, or -1 if ends do not grow. out: int32, one for each byte.

    threshold: a merge is dropped if its draw is below. seed: uint64. model: see `cpu_merge`.
    """
    base, out_at, model_at = address_of(text) + start, address_of(out), address_of(model)
    limit = np.int64(ends[-1]) if len(ends) > 0 else np.int64(0)
    begin, longest = np.int64(0), np.int64(0)
    for i in range(len(ends)):
        length = np.int64(ends[i]) - begin
        if length <= 0 or ends[i] > limit:
            return np.int64(-1)
        longest = max(longest, length)
        begin = np.int64(ends[i])
    scratch = np.empty(_SCRATCH_WORDS * longest, np.int64)
    keyed = fold_multiply(seed ^ _SALT, _MIX)
    begin, written = np.int64(0), np.int64(0)
    for i in range(len(ends)):
        length = np.int64(ends[i]) - begin
        state = fold_multiply(keyed ^ np.uint64(begin), _MIX)
        written += _merge_dropping(
            base + begin, length, out_at + (written << 2), threshold, state, model_at, address_of(scratch)
        )
        begin = np.int64(ends[i])
    keep(text), keep(out), keep(model), keep(scratch)
    return written
