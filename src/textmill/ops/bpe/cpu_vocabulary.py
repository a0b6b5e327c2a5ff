"""Kernels that look tokens up by their bytes, and find which merge makes a token where there are ranks alone.

The index is small, so that it stays in the CPU's second-level cache: a slot of eight bytes holds half a hash and the
token's number. Where the halves agree, the bytes are compared; most pieces that are no token take one look.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.keys import helper, inlined, key_hash, piece_key
from textmill.ops.memory import address_of, bits_of, equal_span, keep, load64, load_int64, store64

# the words of the vocabulary in a model vector: addresses, and the size of the index
VOCABULARY, VOCABULARY_BITS, VOCABULARY_ARENA, VOCABULARY_OFFSETS, VOCABULARY_IDS = range(5)
VOCABULARY_WORDS = 5

_HALF = np.uint64(0xFFFFFFFF)
_HALF_BITS = np.uint64(32)
_FREE = np.uint64(0)
_ONE = np.uint64(1)


@inlined
def _first_slot(hashed, bits):
    return np.int64(hashed >> np.uint64(64 - bits))


@njit(cache=True, nogil=True)
def build_index(text, offsets, slots):
    """Puts token i, text[offsets[i]:offsets[i + 1]], into slots: uint64[2**k], zeros, twice as many as tokens or more.

    A slot is the low half of the hash, then the token's number and one.
    """
    base, at, bits, mask = address_of(text), address_of(slots), bits_of(len(slots)), len(slots) - 1
    for number in range(len(offsets) - 1):
        first, second = piece_key(base + offsets[number], offsets[number + 1] - offsets[number])
        hashed = key_hash(first, second)
        slot = _first_slot(hashed, bits)
        while load64(at + (slot << 3)) != _FREE:
            slot = (slot + 1) & mask
        store64(at + (slot << 3), (hashed << _HALF_BITS) | (np.uint64(number) + _ONE))
    keep(text), keep(slots)


@helper
def find_number(piece, length, vocabulary):
    """int64: the number of the token with these bytes, or -1. vocabulary: the address of its words."""
    slots, bits = load_int64(vocabulary + 8 * VOCABULARY), load_int64(vocabulary + 8 * VOCABULARY_BITS)
    arena, offsets = load_int64(vocabulary + 8 * VOCABULARY_ARENA), load_int64(vocabulary + 8 * VOCABULARY_OFFSETS)
    first, second = piece_key(piece, length)
    hashed = key_hash(first, second)
    slot, mask = _first_slot(hashed, bits), (np.int64(1) << bits) - 1
    while True:
        held = load64(slots + (slot << 3))
        if held == _FREE:
            return np.int64(-1)
        if held >> _HALF_BITS == hashed & _HALF:
            number = np.int64(held & _HALF) - 1
            begin = load_int64(offsets + (number << 3))
            size = load_int64(offsets + ((number + 1) << 3)) - begin
            if size == length and equal_span(arena + begin, piece, length):
                return number
        slot = (slot + 1) & mask


@helper
def _last_two_parts(begin, length, none, bounds, joined, vocabulary):
    """int64: in how many parts the bytes end up, at most two wanted. Part i is bytes bounds[i] to bounds[i + 1].

    joined[i] is the rank of parts i and i + 1 together, `none` if that is no token.
    """
    for i in range(length + 1):
        bounds[i] = i
    first, last = np.int64(0), length - 2
    count = length
    while True:
        for i in range(first, last + 1):
            index = find_number(begin + bounds[i], bounds[i + 2] - bounds[i], vocabulary)
            joined[i] = none if index < 0 else index
        if count <= 2:
            return count
        best, at = none, np.int64(0)
        for i in range(count - 1):
            if joined[i] < best:
                best, at = joined[i], np.int64(i)
        if best == none:
            return count
        count -= 1
        for i in range(at + 1, count + 1):
            bounds[i] = bounds[i + 1]
        for i in range(at, count - 1):
            joined[i] = joined[i + 1]
        first, last = max(at - 1, np.int64(0)), min(at, count - 2)


@njit(cache=True, nogil=True)
def derive_merges(vocabulary, longest, ids, merges):
    """Fills row i of merges with the last two parts of token i when its bytes are encoded on their own, and its id.

    Tokens are in rank order; a token that encoding never makes gets -1. No other pair can ever make the token: while
    it is being made no merge crosses its bounds, so inside them all goes as if its bytes stood alone.
    vocabulary: its words.
    """
    arena, offsets, vocabulary_at = vocabulary[VOCABULARY_ARENA], vocabulary[VOCABULARY_OFFSETS], address_of(vocabulary)
    bounds, joined = np.empty(longest + 2, np.int64), np.empty(longest + 2, np.int64)
    for token in range(len(ids)):
        start = load_int64(offsets + (token << 3))
        begin, length = arena + start, load_int64(offsets + ((token + 1) << 3)) - start
        for column in range(3):
            merges[token, column] = -1
        if length < 2 or _last_two_parts(begin, length, np.int64(len(ids)), bounds, joined, vocabulary_at) != 2:
            continue
        left = find_number(begin, bounds[1], vocabulary_at)
        right = find_number(begin + bounds[1], length - bounds[1], vocabulary_at)
        merges[token, 0], merges[token, 1], merges[token, 2] = ids[left], ids[right], ids[token]
    keep(vocabulary)
