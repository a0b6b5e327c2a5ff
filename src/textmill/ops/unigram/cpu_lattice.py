"""Kernels over all segmentations of a text: draw one at random, and measure how undecided they are.

Both first go through the characters from the last to the first, and keep for every place a sum over all ways to segment
what follows it: log sum of exp(alpha * score). Then they go forward, and the kept values tell exactly what each next
piece leads to.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, keep, load8, load32, load64, load_int64, store32, store64
from textmill.ops.unigram.cpu_cut import next_cut
from textmill.ops.unigram.cpu_emit import (
    AFTER_UNKNOWN,
    BAD_ENDS,
    CURSOR,
    DONE,
    NO_UNKNOWN,
    NODES,
    NODES_NEEDED,
    NODES_SHORT,
    NUM_NODES,
    POSITION,
    RUNNING,
    emit,
)
from textmill.ops.unigram.cpu_floats import load_float64, store_float64
from textmill.ops.unigram.cpu_trie import NO_NODE, base_of, character_width, child, piece_of
from textmill.ops.unigram.cpu_viterbi import CELLS, CUT, NODE_BYTES, SCORES, UNKNOWN_ID, UNKNOWN_SCORE

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_UNIT = 2.0**-53


@njit(forceinline=True)
def _mixed(state):
    """uint64: the state of a SplitMix64 generator as a random number. Source: Steele et al. 2014, figure 15."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


@njit(forceinline=True)
def mark_characters(piece, length, nodes):
    """Writes to each place between characters the width of the next one (at 8) and where the last one began (at 16)."""
    start = np.int64(0)
    while start < length:
        width = character_width(piece + start, length - start)
        store64(nodes + start * NODE_BYTES + 8, width)
        store64(nodes + (start + width) * NODE_BYTES + 16, start)
        start += width


@njit(forceinline=True)
def _next_piece(piece, length, node, end, model):
    """(int64, int64, int64): trie node, end and id of the next longer piece after `node`, which ends at `end`; the node
    is NO_NODE where there is none. Begin with node 0 and end = start."""
    cells = load_int64(model + 8 * CELLS)
    while end < length:
        node = child(cells, node, base_of(cells, node), load8(piece + end))
        if node == NO_NODE:
            break
        end += 1
        number = piece_of(cells, node)
        if number >= 0:
            return node, end, number
    return np.int64(NO_NODE), end, np.int64(UNKNOWN_ID)


@njit(forceinline=True)
def next_edge(piece, length, start, node, end, known, nodes, model):
    """(int64, int64, int64, bool): as `_next_piece`, with the unknown character behind the pieces: node NO_NODE and end
    beyond `start`, unless a piece is the character itself. End 0 says that there is no other edge."""
    width = load_int64(nodes + start * NODE_BYTES + 8)
    if node == NO_NODE:
        return node, np.int64(0), np.int64(UNKNOWN_ID), known
    node, end, number = _next_piece(piece, length, node, end, model)
    if node != NO_NODE:
        return node, end, number, known or end == start + width
    return node, np.int64(0) if known else start + width, np.int64(UNKNOWN_ID), known


@njit(forceinline=True)
def score_of(number, model):
    if number == UNKNOWN_ID:
        return load_float64(model + 8 * UNKNOWN_SCORE)
    return load_float64(load_int64(model + 8 * SCORES) + 8 * number)


@njit(forceinline=True)
def _sum_backwards(piece, length, alpha, model, nodes):
    """Keeps at each place log sum exp(alpha * score) over the segmentations of the rest."""
    mark_characters(piece, length, nodes)
    store_float64(nodes + length * NODE_BYTES, 0.0)
    start = length
    while start > 0:
        start = load_int64(nodes + start * NODE_BYTES + 16)
        most, total = -np.inf, 0.0
        node, end, number, known = next_edge(piece, length, start, np.int64(0), start, False, nodes, model)
        while end > 0:
            value = alpha * score_of(number, model) + load_float64(nodes + end * NODE_BYTES)
            if value > most:
                total = total * np.exp(most - value) + 1.0
                most = value
            else:
                total += np.exp(value - most)
            node, end, number, known = next_edge(piece, length, start, node, end, known, nodes, model)
        store_float64(nodes + start * NODE_BYTES, most + np.log(total))


@njit(forceinline=True)
def _draw(piece, length, alpha, random, model, nodes, raw):
    """(int64, uint64): how many raw ids it wrote, and the next state of the generator."""
    start, count = np.int64(0), np.int64(0)
    while start < length:
        random += _GOLDEN
        left = np.float64(np.int64(_mixed(random) >> np.uint64(11))) * _UNIT
        here = load_float64(nodes + start * NODE_BYTES)
        node, end, number, known = next_edge(piece, length, start, np.int64(0), start, False, nodes, model)
        chosen, chosen_end = number, end
        while end > 0:
            # where rounding leaves a remainder, it falls to the last one
            chosen, chosen_end = number, end
            left -= np.exp(alpha * score_of(number, model) + load_float64(nodes + end * NODE_BYTES) - here)
            if left < 0.0:
                break
            node, end, number, known = next_edge(piece, length, start, node, end, known, nodes, model)
        store32(raw + 4 * count, chosen)
        count += 1
        start = chosen_end
    return count, random


@njit(cache=True, nogil=True)
def sample_block(text, start, ends, out, token_ends, model, state, settings):
    """int64: DONE, or why it stopped. Words are drawn one by one: every segmentation passes the cuts between them.

    As `encode_block`, without a cache. settings: int64: the bits of alpha, seed. What a piece becomes depends on the
    seed, its number in the block and its bytes.
    """
    base, ends_at, model_at, state_at = address_of(text) + start, address_of(ends), address_of(model), address_of(state)
    out_and_ends = (address_of(out), address_of(token_ends))
    alpha, seed = load_float64(address_of(settings)), load64(address_of(settings) + 8)
    nodes, num_nodes, rule = state[NODES], state[NUM_NODES], model[CUT]
    raw = nodes + NODE_BYTES * num_nodes
    cursor, position, random = np.int64(state[CURSOR]), np.int64(state[POSITION]), np.uint64(0)
    status = np.int64(DONE)
    while cursor < len(ends) and status == DONE:
        end = load32(ends_at + 4 * cursor)
        if end <= position or end > ends[-1]:
            status = np.int64(BAD_ENDS)
            break
        random = _mixed(seed ^ _mixed(np.uint64(cursor) + _GOLDEN))
        store64(state_at + 8 * AFTER_UNKNOWN, np.int64(0))
        store_float64(state_at + 8 * RUNNING, 0.0)
        # a piece is begun only when all its words have room
        if end - position >= num_nodes:
            store64(state_at + 8 * NODES_NEEDED, end - position + 1)
            status = np.int64(NODES_SHORT)
            break
        while position < end:
            length = next_cut(base + position, base + end, rule) - (base + position)
            _sum_backwards(base + position, length, alpha, model_at, nodes)
            count, random = _draw(base + position, length, alpha, random, model_at, nodes, raw)
            if emit(raw, count, base, position, position + length, model_at, state_at, out_and_ends) < 0:
                status = np.int64(NO_UNKNOWN)
                break
            position += length
        cursor += 1
    store64(state_at + 8 * CURSOR, cursor)
    store64(state_at + 8 * POSITION, position)
    keep(text), keep(ends), keep(out), keep(token_ends), keep(model), keep(state), keep(settings)
    return status


@njit(cache=True, nogil=True)
def entropy_of(text, start, stop, alpha, model, nodes):
    """(float64, float64): the entropy in nats of the draws of `sample_block`, and log sum exp(alpha * score).

    H(place) = sum over pieces there of p (H(their end) - log p), at 24 of a node. nodes: uint8, 32 for each byte and
    32 more.
    """
    piece, length, nodes_at, model_at = address_of(text) + start, stop - start, address_of(nodes), address_of(model)
    _sum_backwards(piece, length, alpha, model_at, nodes_at)
    store_float64(nodes_at + length * NODE_BYTES + 24, 0.0)
    place = length
    while place > 0:
        place = load_int64(nodes_at + place * NODE_BYTES + 16)
        here, total = load_float64(nodes_at + place * NODE_BYTES), 0.0
        node, end, number, known = next_edge(piece, length, place, np.int64(0), place, False, nodes_at, model_at)
        while end > 0:
            after = nodes_at + end * NODE_BYTES
            log_probability = alpha * score_of(number, model_at) + load_float64(after) - here
            total += np.exp(log_probability) * (load_float64(after + 24) - log_probability)
            node, end, number, known = next_edge(piece, length, place, node, end, known, nodes_at, model_at)
        store_float64(nodes_at + place * NODE_BYTES + 24, total)
    result = load_float64(nodes_at + 24), load_float64(nodes_at)
    keep(text), keep(model), keep(nodes)
    return result
