"""The kernel that finds which merge makes a token, where the vocabulary gives ranks alone."""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_count import find_index
from textmill.ops.bpe.cpu_merge import VOCABULARY, VOCABULARY_ARENA, VOCABULARY_BITS, VOCABULARY_OFFSETS
from textmill.ops.memory import load_int64


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
