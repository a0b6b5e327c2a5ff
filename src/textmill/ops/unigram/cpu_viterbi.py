"""The best segmentation of a span, and how far the running score may be from 0 before it could be another one.

The score of a segmentation is a sum rounded after every addition, so where two segmentations have nearly equal scores,
the winner depends on the score at which the span begins. Take a node of the best path, k characters into the span. Its
best and its second best candidate differ by a gap. Neither computed sum is off by more than (k + 1) u M, where u is the
unit roundoff and M the largest magnitude met, at most |score at the begin| + W, where W is (length + 1) times the
largest |score of a piece|. The gap itself was measured with sums that begin at 0. So while every gap on the path
exceeds 2 (k + 1) u (|score at the begin| + W + W), the path is the best one there too.

`sentencepiece` starts anew from 0 where the running score goes beyond 100000: see the reference. A span where that may
happen inside is never sure.
"""

import numpy as np

from textmill.ops.memory import load8, load32, load_int64, store32, store64
from textmill.ops.unigram.cpu_floats import helper, load_float64, rounded, store_float64
from textmill.ops.unigram.cpu_trie import NO_NODE, base_of, character_width, child, piece_of, wide_character

# words of the model vector: addresses of arrays that the encoder owns; numbers; bits of float64 numbers
(
    CELLS,
    SCORES,
    LENGTHS,
    BYTE_IDS,
    UNKNOWN,
    CUT,
    SINGLE,
    UNKNOWN_SCORE,
    LARGEST_SCORE,
    ROUNDOFF,
    RESET,
    CHARACTERS,
    PAIRS,
    PAIR_BITS,
    KNOWN,
) = range(15)
MODEL_WORDS = 15

NODE_BYTES = 32
"""A node of the search, one a byte: best score, second best (float64), where the last piece begins, its id (int32),
how many characters stand before the node (int64)."""
RAW_BYTES = 4
"""After the nodes, an id a byte: `segment` writes to the end of them."""

UNKNOWN_ID = -1
"""What an unknown character is among raw ids."""

_FAR = 1e300


@helper
def _offer(node, candidate, start, number):
    """A candidate for the best score of a node. The first of equal ones stays. Without branches: which candidate wins
    can't be foretold, and a wrong guess of the CPU costs more than the stores."""
    best, last = load_float64(node), load_int64(node + 16)
    wins = candidate > best
    loser = best if wins else candidate
    second = load_float64(node + 8)
    store_float64(node, candidate if wins else best)
    store_float64(node + 8, loser if loser > second else second)
    # two int32 in one store
    store64(node + 16, (number << 32) | start if wins else last)


@helper
def _move_down(nodes, start, frontier, offset, single):
    """Takes the offset from the scores of the nodes start..frontier."""
    for i in range(start, frontier + 1):
        node = nodes + i * NODE_BYTES
        store_float64(node, rounded(load_float64(node) - offset, single))
        store_float64(node + 8, rounded(load_float64(node + 8) - offset, single))


@helper
def _forward(piece, length, begin_score, model, cells, scores, single, nodes):
    """Fills the nodes 0..length, in the reference's order."""
    unknown_score, reset = load_float64(model + 8 * UNKNOWN_SCORE), load_float64(model + 8 * RESET)
    characters = load_int64(model + 8 * CHARACTERS)
    root_base = base_of(cells, np.int64(0))
    for i in range(length + 1):
        store_float64(nodes + i * NODE_BYTES, -np.inf)
        store_float64(nodes + i * NODE_BYTES + 8, -np.inf)
    store_float64(nodes, begin_score)
    start, num_characters, frontier = np.int64(0), np.int64(0), np.int64(0)
    while start < length:
        here = load_float64(nodes + start * NODE_BYTES)
        store64(nodes + start * NODE_BYTES + 24, num_characters)
        if abs(here) > reset:
            _move_down(nodes, start, frontier, here, single)
            here = 0.0
        first, width, known = load8(piece + start), np.int64(1), False
        if first < 0x80:
            node, end = child(cells, np.int64(0), root_base, first), start + 1
        else:
            wide = wide_character(piece + start) if start + 3 <= length else np.int64(-1)
            if wide >= 0:
                # one load in place of three steps
                node, end = load32(characters + 4 * wide), start + 3
            else:
                node, end = child(cells, np.int64(0), root_base, first), start + 1
            width = np.int64(3) if wide >= 0 and node >= 0 else character_width(piece + start, length - start)
        while node != NO_NODE:
            number = piece_of(cells, node)
            if number >= 0:
                candidate = rounded(here + load_float64(scores + (number << 3)), single)
                _offer(nodes + end * NODE_BYTES, candidate, start, number)
                frontier = max(frontier, end)
                known = known or end == start + width
            if end >= length:
                break
            node = child(cells, node, base_of(cells, node), load8(piece + end))
            end += 1
        if not known:
            candidate = rounded(here + unknown_score, single)
            _offer(nodes + (start + width) * NODE_BYTES, candidate, start, np.int64(UNKNOWN_ID))
            frontier = max(frontier, start + width)
        start += width
        num_characters += 1
    store64(nodes + length * NODE_BYTES + 24, num_characters)


@helper
def segment(piece, length, begin_score, model, nodes, raw_end):
    """(int64, float64): how many raw ids it wrote in front of address `raw_end`, and the largest distance from 0 of a
    score at the begin at which they are sure to be the same; negative where only this very score is sure. That is known
    of a span that begins at 0 alone; otherwise the number means nothing.

    piece: the address of `length` >= 1 bytes. model: the address of the model vector. nodes: the address of
    length + 1 nodes.
    """
    cells, scores = load_int64(model + 8 * CELLS), load_int64(model + 8 * SCORES)
    single = load_int64(model + 8 * SINGLE) != 0
    _forward(piece, length, begin_score, model, cells, scores, single, nodes)
    count, gap = np.int64(0), np.inf
    end = length
    while end > 0:
        node = nodes + end * NODE_BYTES
        if begin_score == 0.0:
            gap = min(gap, (load_float64(node) - load_float64(node + 8)) / (load_int64(node + 24) + 1))
        count += 1
        store32(raw_end - 4 * count, load32(node + 20))
        end = load32(node + 16)
    return count, limit_of_gap(gap, length, model)


@helper
def limit_of_gap(gap, length, model):
    """float64: how far from 0 the score at the begin may be; gap: the smallest one, each divided by k + 1."""
    width = most_inside(length, model)
    limit = load_float64(model + 8 * RESET) - width
    if gap < _FAR:
        limit = min(limit, gap / (2.0 * load_float64(model + 8 * ROUNDOFF)) - 2.0 * width)
    return limit


@helper
def most_inside(length, model):
    """float64: by how much a score inside a span of `length` bytes can differ from that at its begin."""
    return (length + 1) * load_float64(model + 8 * LARGEST_SCORE)
