"""Kernels that write counted pieces as the row of tokens that training works on, after given merges if there are any.

`cpu_train` tells what the row of tokens is. A stream of symbols is int32: the symbols of one piece after the other;
`FENCE` inside a piece cuts it there.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_pairs import FENCE, NO_SLOT
from textmill.ops.bpe.cpu_window import pair_bucket
from textmill.ops.memory import address_of, bits_of, keep, load32, load_int64, store32, store64

_NO_RANK = np.int64(-1)
_PLACE_BITS = 32
_PLACE_MASK = np.int64(0xFFFFFFFF)
_GONE = np.int64(-2)


@njit(cache=True, nogil=True)
def lay_out(stream, offsets, weight_of_piece, tokens):
    """int64: how many tokens the pieces of two symbols or more need; writes them unless `tokens` is empty."""
    count = np.int64(1)
    write = len(tokens) > 0
    if write:
        tokens[0, 0], tokens[0, 1], tokens[0, 2], tokens[0, 3] = FENCE, 1, NO_SLOT, 0
    for piece in range(len(offsets) - 1):
        begin, end = offsets[piece], offsets[piece + 1]
        if end - begin < 2:
            continue
        if not write:
            count += end - begin + 1
            continue
        for i in range(begin, end + 1):
            tokens[count, 0] = stream[i] if i < end else FENCE
            tokens[count, 1] = 1
            tokens[count, 2] = NO_SLOT
            tokens[count, 3] = weight_of_piece[piece]
            count += 1
    return count


@njit(cache=True, nogil=True)
def fill_ranks(pairs, table):
    """int64: -1, or the first row of `pairs` that an earlier row equals. Row i of pairs: left, right.

    table: int64[2**k, 2], more than twice as long as pairs; receives left << 32 | right and the rank, -1 if free.
    """
    bits = bits_of(len(table))
    mask = len(table) - 1
    table[:, 1] = _NO_RANK
    for rank in range(len(pairs)):
        pair = (np.int64(pairs[rank, 0]) << 32) | np.int64(pairs[rank, 1])
        bucket = pair_bucket(pair, bits)
        while table[bucket, 1] >= 0:
            if table[bucket, 0] == pair:
                return np.int64(rank)
            bucket = (bucket + 1) & mask
        table[bucket, 0], table[bucket, 1] = pair, rank
    return np.int64(-1)


@njit(forceinline=True)
def _rank_of(left, right, table, bits):
    """int64: the rank of the pair, or -1. `table` is an address."""
    if left < 0 or right < 0:
        return _NO_RANK
    pair = (left << 32) | right
    mask = (np.int64(1) << bits) - 1
    bucket = pair_bucket(pair, bits)
    while True:
        rank = load_int64(table + (bucket << 4) + 8)
        if rank < 0 or load_int64(table + (bucket << 4)) == pair:
            return rank
        bucket = (bucket + 1) & mask


@njit(forceinline=True)
def _queue_push(queue, size, key):
    """A binary heap of int64, the smallest first."""
    node = size
    while node > 0:
        parent = (node - 1) >> 1
        above = load_int64(queue + (parent << 3))
        if above <= key:
            break
        store64(queue + (node << 3), above)
        node = parent
    store64(queue + (node << 3), key)


@njit(forceinline=True)
def _queue_pop(queue, size):
    """int64: the smallest of `size` keys, taken out."""
    top, key = load_int64(queue), load_int64(queue + ((size - 1) << 3))
    size -= 1
    node = np.int64(0)
    while 2 * node + 1 < size:
        child = 2 * node + 1
        below = load_int64(queue + (child << 3))
        if child + 1 < size:
            other = load_int64(queue + ((child + 1) << 3))
            if other < below:
                child, below = child + 1, other
        if below >= key:
            break
        store64(queue + (node << 3), below)
        node = child
    store64(queue + (node << 3), key)
    return top


@njit(forceinline=True)
def _replay_piece(symbols, length, table, bits, products, following, before, queue):
    """int64: how many symbols are left of `length`, moved to the front. All others but bits are addresses.

    following, before: int32 places of the neighbours; -1 for none.
    """
    size = np.int64(0)
    for i in range(length):
        store32(following + (i << 2), i + 1 if i + 1 < length else np.int64(-1))
        store32(before + (i << 2), i - 1)
        if i + 1 < length:
            rank = _rank_of(load32(symbols + (i << 2)), load32(symbols + ((i + 1) << 2)), table, bits)
            if rank >= 0:
                _queue_push(queue, size, (rank << _PLACE_BITS) | i)
                size += 1
    if size == 0:
        return length
    while size > 0:
        key = _queue_pop(queue, size)
        size -= 1
        rank, place = key >> _PLACE_BITS, key & _PLACE_MASK
        symbol, right = load32(symbols + (place << 2)), load32(following + (place << 2))
        # the pair that was queued may have been joined to something else since
        if symbol < 0 or right < 0 or _rank_of(symbol, load32(symbols + (right << 2)), table, bits) != rank:
            continue
        product = load32(products + (rank << 2))
        beyond, left = load32(following + (right << 2)), load32(before + (place << 2))
        store32(symbols + (place << 2), product)
        store32(symbols + (right << 2), _GONE)
        store32(following + (place << 2), beyond)
        if beyond >= 0:
            store32(before + (beyond << 2), place)
            later = _rank_of(product, load32(symbols + (beyond << 2)), table, bits)
            if later > rank:
                _queue_push(queue, size, (later << _PLACE_BITS) | place)
                size += 1
        if left >= 0:
            later = _rank_of(load32(symbols + (left << 2)), product, table, bits)
            if later > rank:
                _queue_push(queue, size, (later << _PLACE_BITS) | left)
                size += 1
    kept = np.int64(0)
    for i in range(length):
        symbol = load32(symbols + (i << 2))
        if symbol != _GONE:
            store32(symbols + (kept << 2), symbol)
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def replay(stream, offsets, table, products, following, before, queue):
    """Applies merges in order to every piece, in place: moves what is left to the front and writes the new offsets.

    table: from `fill_ranks`. products: int32, what each merge makes. following, before: int32, as long as the longest
    piece; queue: int64, three times that.
    """
    bits = bits_of(len(table))
    stream_at, table_at, products_at = address_of(stream), address_of(table), address_of(products)
    following_at, before_at, queue_at = address_of(following), address_of(before), address_of(queue)
    begin, target = np.int64(offsets[0]), np.int64(0)
    for piece in range(len(offsets) - 1):
        end = np.int64(offsets[piece + 1])
        kept = _replay_piece(
            stream_at + (begin << 2), end - begin, table_at, bits, products_at, following_at, before_at, queue_at
        )
        offsets[piece] = target
        for i in range(kept):
            stream[target + i] = stream[begin + i]
        begin = end
        target += kept
    offsets[len(offsets) - 1] = target
    keep(stream), keep(table), keep(products), keep(following), keep(before), keep(queue)
