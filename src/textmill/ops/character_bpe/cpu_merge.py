"""Kernels that encode one piece: its characters, joined by the lowest rank, the leftmost of equal ranks first."""

import numpy as np

from textmill.ops.character_bpe.cpu_pairs import (
    HALF,
    NO_PAIR,
    PAIR_BITS,
    PAIRS,
    WHOLE_PIECES,
    field,
    function,
    helper,
    pair_value,
    pop,
    push,
)
from textmill.ops.character_bpe.cpu_symbols import candidate, finish, first_symbols, longest_match
from textmill.ops.memory import address_of, keep, load32, load_int64, store32, store64

SHORT_BYTES = 96
"""Up to this length a scan for the lowest rank beats a heap."""
SHORT_SCRATCH_WORDS = 2 * SHORT_BYTES
"""int64 for each short piece: symbols and their sizes as int32, and values."""
_LONG_SCRATCH_WORDS = 4
"""int64 for each byte of a long piece: symbols and sizes, links to both neighbours, and a heap."""


@helper
def _merge_short(symbols, sizes, count, values, model):
    """int64: how many symbols are left. symbols, sizes: addresses of int32; values: of int64, for scratch."""
    first, last = np.int64(0), count - 2
    while True:
        for i in range(first, last + 1):
            value = candidate(load32(symbols + (i << 2)), load32(symbols + (i << 2) + 4), model)
            store64(values + (i << 3), value)
        # the minimum alone can be computed several at a time, so where it stands is looked up after
        best = NO_PAIR
        for i in range(count - 1):
            best = min(best, load_int64(values + (i << 3)))
        if best == NO_PAIR:
            return count
        # two pieces may have one score: the leftmost goes first, whatever its number
        at = np.int64(0)
        while load_int64(values + (at << 3)) >> 32 != best >> 32:
            at += 1
        count -= 1
        store32(symbols + (at << 2), load_int64(values + (at << 3)) & HALF)
        store32(sizes + (at << 2), load32(sizes + (at << 2)) + load32(sizes + (at << 2) + 4))
        for i in range(at + 1, count):
            store32(symbols + (i << 2), load32(symbols + (i << 2) + 4))
            store32(sizes + (i << 2), load32(sizes + (i << 2) + 4))
        for i in range(at, count - 1):
            store64(values + (i << 3), load_int64(values + (i << 3) + 8))
        first, last = max(at - 1, np.int64(0)), min(at, count - 2)


# A long piece is a linked list: at `links`, int32 for the place after each place, then for the one before it.


@helper
def link_all(count, links):
    """Links each of `count` places with its neighbours."""
    preceding = links + (count << 2)
    for i in range(count):
        store32(links + (i << 2), i + 1)
        store32(preceding + (i << 2), i - 1)


@function
def push_candidate(heap, size, place, symbols, links, count, model):
    """int64: how many items the heap has after the pair that begins at `place` went in, if there is one that merges.

    An item is rank << 32 | place.
    """
    if place >= 0:
        right = load32(links + (place << 2))
        if right < count:
            value = candidate(load32(symbols + (place << 2)), load32(symbols + (right << 2)), model)
            if value != NO_PAIR:
                push(heap, size, (value & ~HALF) | place)
                return size + 1
    return size


@helper
def still_there(item, symbols, links, count, model):
    """int64: the value of the pair of this heap item, or NO_PAIR if one of the two has been merged since."""
    place = item & HALF
    left, right = load32(symbols + (place << 2)), load32(links + (place << 2))
    if left < 0 or right >= count:
        return NO_PAIR
    value = pair_value(field(model, PAIRS), field(model, PAIR_BITS), left, load32(symbols + (right << 2)))
    return value if value >> 32 == item >> 32 else NO_PAIR


@helper
def join_at(place, product, symbols, sizes, links, count):
    """int64: the place before. The symbol at `place` becomes the product, and takes its right neighbour away."""
    preceding = links + (count << 2)
    right = load32(links + (place << 2))
    beyond = load32(links + (right << 2))
    store32(symbols + (place << 2), product)
    store32(symbols + (right << 2), np.int64(-1))
    store32(links + (place << 2), beyond)
    store32(sizes + (place << 2), load32(sizes + (place << 2)) + load32(sizes + (right << 2)))
    if beyond < count:
        store32(preceding + (beyond << 2), place)
    return load32(preceding + (place << 2))


@helper
def compact(symbols, sizes, links, count):
    """int64: how many symbols are left, after they have been moved to the front."""
    place, kept = np.int64(0), np.int64(0)
    while place < count:
        store32(symbols + (kept << 2), load32(symbols + (place << 2)))
        store32(sizes + (kept << 2), load32(sizes + (place << 2)))
        kept += 1
        place = load32(links + (place << 2))
    return kept


@helper
def _merge_long(symbols, sizes, count, links, model):
    """As _merge_short, in O(count log count). links: the address of 3 * count int64; after the links comes a heap."""
    link_all(count, links)
    heap = links + (count << 3)
    # every merge takes one pair out and adds at most two, and there are fewer than `count` merges: 2 * count items
    size = np.int64(0)
    for i in range(count - 1):
        size = push_candidate(heap, size, np.int64(i), symbols, links, count, model)
    while size > 0:
        item = pop(heap, size)
        size -= 1
        value = still_there(item, symbols, links, count, model)
        if value != NO_PAIR:
            place = item & HALF
            before = join_at(place, value & HALF, symbols, sizes, links, count)
            size = push_candidate(heap, size, before, symbols, links, count, model)
            size = push_candidate(heap, size, place, symbols, links, count, model)
    return compact(symbols, sizes, links, count)


@function
def encode_piece(piece, length, out, out_sizes, model, scratch):
    """int64: how many tokens the piece becomes, `length` at most. All but `length` are addresses.

    out, out_sizes: of int32, for ids and for the bytes each covers; out_sizes may be 0. scratch: of int64,
    SHORT_SCRATCH_WORDS of them.
    """
    if field(model, WHOLE_PIECES) != 0:
        number, size = longest_match(piece, length, model)
        if size == length:
            store32(out, number)
            if out_sizes != 0:
                store32(out_sizes, length)
            return np.int64(1)
    is_long = length > SHORT_BYTES
    own = np.empty(_LONG_SCRATCH_WORDS * length if is_long else 0, np.int64)
    symbols = address_of(own) if is_long else scratch
    sizes, rest = symbols + (length << 2), symbols + (length << 3)
    count = first_symbols(piece, length, symbols, sizes, model)
    if is_long:
        count = _merge_long(symbols, sizes, count, rest, model)
    else:
        count = _merge_short(symbols, sizes, count, rest, model)
    number = finish(piece, symbols, sizes, count, out, out_sizes, rest, model)
    keep(own)
    return number
