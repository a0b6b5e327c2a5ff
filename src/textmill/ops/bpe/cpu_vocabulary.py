"""Kernels that prepare a vocabulary: what its tokens and single characters become on their own."""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_characters import ENTRY_WORDS
from textmill.ops.bpe.cpu_count import find_index
from textmill.ops.bpe.cpu_merge import (
    SCRATCH,
    VOCABULARY,
    VOCABULARY_ARENA,
    VOCABULARY_BITS,
    VOCABULARY_OFFSETS,
    merge_piece,
)
from textmill.ops.memory import address_of, keep, load_int64, store8

_FIRST_CODE_POINT, _FIRST_OF_THREE_BYTES, _AFTER_THREE_BYTES = 0x80, 0x800, 0x10000
_FIRST_SURROGATE, _LAST_SURROGATE = 0xD800, 0xDFFF


@njit(cache=True, nogil=True)
def made_by_merging(arena, offsets, ids, made, model):
    """made (uint8): 1 for each token arena[offsets[i]:offsets[i + 1]] whose bytes alone become the one id ids[i]."""
    longest = np.int64(1)
    for i in range(len(ids)):
        longest = max(longest, np.int64(offsets[i + 1] - offsets[i]))
    out, scratch = np.empty(longest + 1, np.int32), np.empty(SCRATCH, np.int64)
    for i in range(len(ids)):
        begin, length = address_of(arena) + np.int64(offsets[i]), np.int64(offsets[i + 1] - offsets[i])
        count = merge_piece(begin, length, address_of(out), address_of(model), address_of(scratch))
        made[i] = count == 1 and out[0] == ids[i]
    keep(arena), keep(out), keep(scratch), keep(model)


@njit(cache=True, nogil=True)
def fill_characters(characters, model):
    """characters (int32[65536, 4], zeros): the entry of each code point, see `cpu_characters`. model has none yet."""
    text, out, scratch = np.zeros(16, np.uint8), np.empty(4, np.int32), np.empty(SCRATCH, np.int64)
    at = address_of(text)
    for code in range(_FIRST_CODE_POINT, _AFTER_THREE_BYTES):
        if _FIRST_SURROGATE <= code <= _LAST_SURROGATE:
            continue
        if code < _FIRST_OF_THREE_BYTES:
            size = np.int64(2)
            store8(at, 0xC0 | code >> 6)
        else:
            size = np.int64(3)
            store8(at, 0xE0 | code >> 12)
            store8(at + 1, 0x80 | (code >> 6 & 0x3F))
        store8(at + size - 1, 0x80 | (code & 0x3F))
        count = merge_piece(at, size, address_of(out), address_of(model), address_of(scratch))
        characters[code, 0] = size << 4 | count
        for i in range(min(count, ENTRY_WORDS - 1)):
            characters[code, i + 1] = out[i]
    keep(text), keep(out), keep(scratch), keep(model)


@njit
def _last_two_parts(begin, length, none, bounds, joined, vocabulary):
    """int64: in how many parts the bytes end up, at most two wanted. Part i is bytes bounds[i] to bounds[i + 1].

    joined[i] is the rank of parts i and i + 1 together, `none` if that is no token. vocabulary: a model vector.
    """
    table, bits = vocabulary[VOCABULARY], vocabulary[VOCABULARY_BITS]
    arena, offsets = vocabulary[VOCABULARY_ARENA], vocabulary[VOCABULARY_OFFSETS]
    for i in range(length + 1):
        bounds[i] = i
    first, last = np.int64(0), length - 2
    count = length
    while True:
        for i in range(first, last + 1):
            index = find_index(begin + bounds[i], bounds[i + 2] - bounds[i], table, bits, arena, offsets)
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
    """
    table, bits = vocabulary[VOCABULARY], vocabulary[VOCABULARY_BITS]
    arena, offsets = vocabulary[VOCABULARY_ARENA], vocabulary[VOCABULARY_OFFSETS]
    bounds, joined = np.empty(longest + 2, np.int64), np.empty(longest + 2, np.int64)
    for token in range(len(ids)):
        start = load_int64(offsets + (token << 3))
        begin, length = arena + start, load_int64(offsets + ((token + 1) << 3)) - start
        for column in range(3):
            merges[token, column] = -1
        if length < 2 or _last_two_parts(begin, length, np.int64(len(ids)), bounds, joined, vocabulary) != 2:
            continue
        left = find_index(begin, bounds[1], table, bits, arena, offsets)
        right = find_index(begin + bounds[1], length - bounds[1], table, bits, arena, offsets)
        merges[token, 0], merges[token, 1], merges[token, 2] = ids[left], ids[right], ids[token]
