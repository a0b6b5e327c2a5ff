"""BPE-dropout: at every step each candidate is dropped with a probability, on its own, and the best of the rest merges.

Candidates leave the heap in order until one is not dropped; the dropped ones go back for the next step. So a step draws
for no more candidates than it must. A draw depends on the seed, where the piece begins, the step and the place alone:
not on threads, not on what was encoded before.
"""

import numpy as np
from numba import njit

from textmill.ops.character_bpe.cpu_encode import sum_up
from textmill.ops.character_bpe.cpu_merge import compact, join_at, link_all, push_candidate, still_there
from textmill.ops.character_bpe.cpu_pairs import HALF, NO_PAIR, helper, pop, push
from textmill.ops.character_bpe.cpu_symbols import finish, first_symbols
from textmill.ops.memory import address_of, fold_multiply, keep, load_int64, store64

DRAW_BITS = 53
_SEED_SALT = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SCRATCH_WORDS = 6
"""int64 for each byte of a piece: symbols and sizes, links to both neighbours, a heap, and what is set aside."""
_DRAW_SHIFT = np.uint64(64 - DRAW_BITS)


@helper
def _draw(state, step, place):
    """int64 in 0..2**DRAW_BITS - 1. state: the hash of the seed and of where the piece begins."""
    state = fold_multiply(state ^ np.uint64(step), _MIX)
    state = fold_multiply(state ^ np.uint64(place), _MIX)
    return np.int64(fold_multiply(state ^ _SEED_SALT, _MIX) >> _DRAW_SHIFT)


@helper
def _merge_dropping(symbols, sizes, count, links, threshold, state, model):
    """int64: how many symbols are left. threshold: a candidate is dropped if its draw is below.

    links: the address of 5 * count int64; after the links come a heap, and room for what is dropped.
    """
    link_all(count, links)
    heap = links + (count << 3)
    aside = heap + (count << 4)
    size, step = np.int64(0), np.int64(0)
    for i in range(count - 1):
        size = push_candidate(heap, size, np.int64(i), symbols, links, count, model)
    while size > 0:
        dropped, value, place = np.int64(0), NO_PAIR, np.int64(0)
        while size > 0 and value == NO_PAIR:
            item = pop(heap, size)
            size -= 1
            value = still_there(item, symbols, links, count, model)
            place = item & HALF
            if value != NO_PAIR and _draw(state, step, place) < threshold:
                store64(aside + (dropped << 3), item)
                dropped += 1
                value = NO_PAIR
        if value == NO_PAIR:
            break
        for i in range(dropped):
            push(heap, size, load_int64(aside + (i << 3)))
            size += 1
        before = join_at(place, value & HALF, symbols, sizes, links, count)
        size = push_candidate(heap, size, before, symbols, links, count, model)
        size = push_candidate(heap, size, place, symbols, links, count, model)
        step += 1
    return compact(symbols, sizes, links, count)


@njit(cache=True, nogil=True)
def encode_dropping(text, start, ends, out, out_ends, threshold, seed, model):
    """int64: how many ids it wrote, or -1 if ends do not grow. out, out_ends: int32, one for each byte.

    threshold: the probability times 2**DRAW_BITS. seed: uint64.
    """
    base, out_at, ends_at, model_at = address_of(text) + start, address_of(out), address_of(out_ends), address_of(model)
    begin, written = np.int64(0), np.int64(0)
    limit = np.int64(ends[-1]) if len(ends) > 0 else np.int64(0)
    keyed = fold_multiply(seed ^ _SEED_SALT, _MIX)
    for i in range(len(ends)):
        end = np.int64(ends[i])
        length = end - begin
        if length <= 0 or end > limit:
            return np.int64(-1)
        scratch = np.empty(_SCRATCH_WORDS * length, np.int64)
        symbols = address_of(scratch)
        sizes, links = symbols + (length << 2), symbols + (length << 3)
        count = first_symbols(base + begin, length, symbols, sizes, model_at)
        state = fold_multiply(keyed ^ np.uint64(begin), _MIX)
        count = _merge_dropping(symbols, sizes, count, links, threshold, state, model_at)
        target = ends_at + (written << 2)
        count = finish(base + begin, symbols, sizes, count, out_at + (written << 2), target, links, model_at)
        sum_up(begin, count, target)
        keep(scratch)
        written += count
        begin = end
    keep(text), keep(out), keep(out_ends), keep(model)
    return written
