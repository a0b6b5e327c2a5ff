"""Kernels for the n best segmentations of a text.

From the last place to the first, every place gets its edges, the pieces that begin there, sorted by the best score of a
segmentation of the rest that begins with each. Following the first edges from the front gives the best path. Every
other path leaves some path that is better than it at one place, by another edge there, and follows first edges from
then on; what it loses by that is known at once. So a heap holds, for the paths found so far, the edges by which to
leave each, and every step takes one whole path from it.

Source: the idea of Eppstein 1998, "Finding the k shortest paths", without its shared heaps.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, keep, load32, load_int64, store32, store64
from textmill.ops.unigram.cpu_emit import AFTER_UNKNOWN, WRITTEN, emit
from textmill.ops.unigram.cpu_floats import helper, load_float64, store_float64
from textmill.ops.unigram.cpu_lattice import mark_characters, next_edge, score_of

PLACE_BYTES = 32
"""A place between bytes: best score of the rest (float64), two words of `mark_characters`, first edge and the one after
the last (int32 each)."""
_EDGES = 24
EDGE_BYTES = 16
"""Best score of the rest that begins with the edge (float64), its end and the id of its piece (int32 each)."""
ITEM_BYTES = 32
"""An item of the heap: score of a path (float64), a number that grows with each item, the path that it leaves and the
place (int32 each), the edge (int64)."""
PATH_BYTES = 16
"""A path: the one that it leaves, the place, the edge, and one more for `write_paths` (int32 each)."""
TOO_FEW_EDGES = -1


@helper
def _sort_in(edges, first, count, value, end, number):
    """Adds an edge to `count` sorted ones from the number `first` on; behind those that are as good."""
    place = edges + (first + count) * EDGE_BYTES
    bottom = edges + first * EDGE_BYTES
    while place > bottom and load_float64(place - EDGE_BYTES) < value:
        store64(place, load_int64(place - EDGE_BYTES))
        store64(place + 8, load_int64(place - EDGE_BYTES + 8))
        place -= EDGE_BYTES
    store_float64(place, value)
    store32(place + 8, end)
    store32(place + 12, number)


@helper
def _find_edges(piece, length, model, places, edges, num_edges):
    """int64: how many edges there are, or TOO_FEW_EDGES where `num_edges` have no room."""
    mark_characters(piece, length, places)
    store_float64(places + length * PLACE_BYTES, 0.0)
    start, used = length, np.int64(0)
    while start > 0:
        start = load_int64(places + start * PLACE_BYTES + 16)
        count = np.int64(0)
        node, end, number, known = next_edge(piece, length, start, np.int64(0), start, False, places, model)
        while end > 0:
            if used + count == num_edges:
                return np.int64(TOO_FEW_EDGES)
            value = score_of(number, model) + load_float64(places + end * PLACE_BYTES)
            _sort_in(edges, used, count, value, end, number)
            count += 1
            node, end, number, known = next_edge(piece, length, start, node, end, known, places, model)
        here = places + start * PLACE_BYTES
        store_float64(here, load_float64(edges + used * EDGE_BYTES))
        store32(here + _EDGES, used)
        store32(here + _EDGES + 4, used + count)
        used += count
    return used


@helper
def _move(source, target):
    for word in range(0, ITEM_BYTES, 8):
        store64(target + word, load_int64(source + word))


@helper
def _push(heap, size, score, order, leaves, edge):
    """Adds an item to `size` others. order: larger than that of all others, which go first where scores are equal."""
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if load_float64(heap + above * ITEM_BYTES) >= score:
            break
        _move(heap + above * ITEM_BYTES, heap + at * ITEM_BYTES)
        at = above
    item = heap + at * ITEM_BYTES
    store_float64(item, score)
    store64(item + 8, order)
    store64(item + 16, leaves)
    store64(item + 24, edge)


@helper
def _goes_first(a, b):
    """bool: whether the item at address a is taken before that at b."""
    score, other = load_float64(a), load_float64(b)
    return score > other or (score == other and load_int64(a + 8) < load_int64(b + 8))


@helper
def _drop_first(heap, size):
    """Takes the first of `size` items out."""
    item = heap + (size - 1) * ITEM_BYTES
    at, last = np.int64(0), size - 1
    while 2 * at + 1 < last:
        below = heap + (2 * at + 1) * ITEM_BYTES
        if 2 * at + 2 < last and _goes_first(below + ITEM_BYTES, below):
            below += ITEM_BYTES
        if not _goes_first(below, item):
            break
        _move(below, heap + at * ITEM_BYTES)
        at = (below - heap) // ITEM_BYTES
    _move(item, heap + at * ITEM_BYTES)


@helper
def _keep_best(heap, size, count, spare):
    """float64: the score of the worst item after all but the `count` best of them are gone. spare: as large a heap."""
    for i in range(count):
        _move(heap, spare + i * ITEM_BYTES)
        _drop_first(heap, size - i)
    # sorted items are a heap
    for i in range(count):
        _move(spare + i * ITEM_BYTES, heap + i * ITEM_BYTES)
    return load_float64(heap + (count - 1) * ITEM_BYTES)


@njit(cache=True, nogil=True)
def best_paths(span, model, places, edges, heap, paths):
    """int64: how many paths it found, or TOO_FEW_EDGES.

    span: int64: the address of the text, its bytes. places: uint8, `PLACE_BYTES` for each byte and once more. edges:
    uint8, `EDGE_BYTES` each. heap: uint8, `ITEM_BYTES` each, at least 4 for each path. paths: int32[n, 4], for n paths.
    """
    length, places_at, edges_at, paths_at = span[1], address_of(places), address_of(edges), address_of(paths)
    if _find_edges(span[0], length, address_of(model), places_at, edges_at, len(edges) // EDGE_BYTES) < 0:
        return np.int64(TOO_FEW_EDGES)
    num_paths, room = np.int64(len(paths)), np.int64(len(heap) // ITEM_BYTES // 2)
    heap_at, size, order = address_of(heap), np.int64(0), np.int64(0)
    spare, worst = heap_at + room * ITEM_BYTES, -np.inf
    store32(paths_at, np.int64(-1))
    found, score, place = np.int64(1), load_float64(places_at), np.int64(0)
    while found < num_paths:
        # the newest path is left at each place from where it left another
        leaves = found - 1
        while place < length:
            here = places_at + place * PLACE_BYTES
            first = load32(here + _EDGES)
            if first + 1 < load32(here + _EDGES + 4):
                other = edges_at + (first + 1) * EDGE_BYTES
                left = score + (load_float64(other) - load_float64(here))
                if left > worst:
                    if size == room:
                        worst, size = _keep_best(heap_at, size, num_paths - found, spare), num_paths - found
                    _push(heap_at, size, left, order, (place << 32) | leaves, first + 1)
                    size += 1
                    order += 1
            place = load32(edges_at + first * EDGE_BYTES + 8)
        if size == 0:
            break
        score, leaves, number = load_float64(heap_at), load_int64(heap_at + 16), load_int64(heap_at + 24)
        place = leaves >> 32
        edge = edges_at + number * EDGE_BYTES
        # its place goes to the next edge by which the same path can be left there
        _drop_first(heap_at, size)
        size -= 1
        if number + 1 < load32(places_at + place * PLACE_BYTES + _EDGES + 4):
            left = score + (load_float64(edge + EDGE_BYTES) - load_float64(edge))
            if left > worst:
                _push(heap_at, size, left, order, leaves, number + 1)
                size += 1
                order += 1
        path = paths_at + found * PATH_BYTES
        store32(path, leaves)
        store32(path + 4, place)
        store32(path + 8, number)
        place = load32(edge + 8)
        found += 1
    keep(places), keep(edges), keep(heap), keep(paths), keep(model)
    return found


@helper
def _walk(path, length, places, edges, paths, raw, model):
    """(float64, int64): the score of a path, and how many raw ids it wrote."""
    # the fourth number of a path that is left: the path that leaves it
    following = np.int64(-1)
    while path >= 0:
        store32(paths + path * PATH_BYTES + 12, following)
        following, path = path, load32(paths + path * PATH_BYTES)
    leaving = load32(paths + following * PATH_BYTES + 12)
    place, count, total = np.int64(0), np.int64(0), 0.0
    while place < length:
        number = load32(places + place * PLACE_BYTES + _EDGES)
        if leaving >= 0 and load32(paths + leaving * PATH_BYTES + 4) == place:
            number = load32(paths + leaving * PATH_BYTES + 8)
            leaving = load32(paths + leaving * PATH_BYTES + 12)
        edge = edges + number * EDGE_BYTES
        store32(raw + 4 * count, load32(edge + 12))
        total += score_of(load32(edge + 12), model)
        place = load32(edge + 8)
        count += 1
    return total, count


@njit(cache=True, nogil=True)
def write_paths(span, model, places, edges, paths, first, state, raw, out, marks, scores):
    """int64: the first path that `out` has no room for, or the number of paths; -1 where a character is unknown and the
    vocabulary has no unknown piece.

    first: the path to begin with. raw: int32, one for each byte. out: int32. marks, scores: int64 and float64, for each
    path the number of ids in `out` after it, and its score. state: that of `cpu_emit`, zeros. The other arguments are
    those of `best_paths`.
    """
    text, length, model_at, state_at, raw_at = span[0], span[1], address_of(model), address_of(state), address_of(raw)
    out_and_ends = (address_of(out), np.int64(0))
    path = np.int64(first)
    while path < len(marks) and state[WRITTEN] + length <= len(out):
        score, count = _walk(path, length, address_of(places), address_of(edges), address_of(paths), raw_at, model_at)
        state[AFTER_UNKNOWN] = 0
        if emit(raw_at, count, text, np.int64(0), length, model_at, state_at, out_and_ends) < 0:
            return np.int64(-1)
        marks[path], scores[path] = state[WRITTEN], score
        path += 1
    keep(model), keep(places), keep(edges), keep(paths), keep(state), keep(raw), keep(out)
    return path
