"""Kernels that find the seeds of training: the repeated runs of characters, each with its weighted count.

The suffixes of all units are sorted. Runs of suffixes that share their first characters are then the places of one
string, nested like brackets, and a sum over such an interval of ranks is that string's count. Only strings that can't
be extended to the right without losing count are kept: the nodes of the suffix tree.

Legend: a position is a place in `symbols` (see `cpu_train_units`), a rank a place in the sorted order of suffixes.
"""

import numpy as np
from numba import njit

from textmill.ops.unigram.piece_rules import BLANK

# characters in one sort key, 21 bits each: the highest code point + 1 fits
KEY_CHARACTERS = 3
_KEY_BITS = 21
_LAST_CHARACTER = np.int64((1 << _KEY_BITS) - 1)
_BLANK_SYMBOL = ord(BLANK) + 1
_SMALL = 12
_STACK = 160


@njit(cache=True, nogil=True)
def pack_keys(symbols, keys):
    """keys: int64, the next three symbols of each position as one number; zeros after the unit's end."""
    following, after = np.int64(0), np.int64(0)
    for position in range(len(symbols) - 1, -1, -1):
        symbol = np.int64(symbols[position])
        if symbol == 0:
            following, after = np.int64(0), np.int64(0)
        keys[position] = (symbol << (2 * _KEY_BITS)) | (following << _KEY_BITS) | after
        following, after = symbol, following


@njit(nogil=True)
def _is_less(keys, first, second, depth, max_length):
    """bool: whether the suffix at position `first` comes before that at `second`; equal ones don't."""
    while depth < max_length:
        a, b = keys[first + depth], keys[second + depth]
        if a != b:
            return a < b
        if a & _LAST_CHARACTER == 0:
            return False
        depth += KEY_CHARACTERS
    return False


@njit(nogil=True)
def _sort_range(keys, order, low, high, depth, max_length, stack):
    """Sorts order[low:high], whose suffixes agree in the first `depth` characters: quicksort by one key at a time.

    stack: int64 [_STACK, 3]. Smaller parts are taken first, so it holds at most two ranges for each halving.
    """
    stack[0, 0], stack[0, 1], stack[0, 2] = low, high, depth
    top = 1
    while top > 0:
        top -= 1
        low, high, depth = stack[top, 0], stack[top, 1], stack[top, 2]
        if depth >= max_length or high - low < 2:
            continue
        if high - low <= _SMALL:
            for i in range(low + 1, high):
                position, j = order[i], i
                while j > low and _is_less(keys, position, order[j - 1], depth, max_length):
                    order[j] = order[j - 1]
                    j -= 1
                order[j] = position
            continue
        a, b, c = keys[order[low] + depth], keys[order[(low + high) >> 1] + depth], keys[order[high - 1] + depth]
        pivot = max(min(a, b), min(max(a, b), c))
        # [low, less) is below the pivot, [less, i) equal to it, [more, high) above it
        less, i, more = low, low, high
        while i < more:
            position = order[i]
            key = keys[position + depth]
            if key < pivot:
                order[i] = order[less]
                order[less] = position
                less += 1
                i += 1
            elif key > pivot:
                more -= 1
                order[i] = order[more]
                order[more] = position
            else:
                i += 1
        # the largest part goes to the bottom, so each part above it has at most half of the range
        equal = np.int64(0) if pivot & _LAST_CHARACTER == 0 else more - less
        largest = max(less - low, equal, high - more)
        for want_largest in (True, False):
            for part in range(3):
                first, last = (low, less) if part == 0 else ((less, more) if part == 1 else (more, high))
                size = equal if part == 1 else last - first
                if size > 1 and (size == largest) == want_largest:
                    stack[top, 0], stack[top, 1] = first, last
                    stack[top, 2] = depth + KEY_CHARACTERS if part == 1 else depth
                    top += 1


@njit(cache=True, nogil=True)
def sort_suffixes(keys, order, max_length, shared):
    """Finishes the order of positions, which comes sorted by their keys, and writes for each rank how many characters
    its suffix shares with the one before, at most max_length. shared: uint8 [ranks + 1], 0 at both ends."""
    stack = np.empty((_STACK, 3), np.int64)
    start = 0
    while start < len(order):
        key, end = keys[order[start]], start + 1
        while end < len(order) and keys[order[end]] == key:
            end += 1
        if end - start > 1 and key & _LAST_CHARACTER != 0:
            _sort_range(keys, order, start, end, KEY_CHARACTERS, max_length, stack)
        start = end
    shared[0] = 0
    for rank in range(1, len(order)):
        first, second, length = order[rank - 1], order[rank], 0
        while length < max_length:
            a, b = keys[first + length], keys[second + length]
            if a == b and a & _LAST_CHARACTER != 0:
                length += KEY_CHARACTERS
                continue
            for shift in (2 * _KEY_BITS, _KEY_BITS, 0):
                if a >> shift != b >> shift or (a >> shift) & _LAST_CHARACTER == 0:
                    break
                length += 1
            break
        shared[rank] = min(length, max_length)
    shared[len(order)] = 0


@njit(cache=True, nogil=True)
def list_nodes(order, shared, remaining, weights, symbols, lefts, rights, lengths, counts):
    """int64: how many strings of two and more characters are nodes and occur twice or more often.

    Writes, when given room, the first and last rank of each, its length in characters and its count.
    remaining, weights: of each rank. ▁ at a node's end is left out, unless another node is left.
    """
    # open nodes, each a prefix of the next: length, first rank, count so far
    open_length, open_left, open_count = np.empty(260, np.int64), np.empty(260, np.int64), np.empty(260, np.int64)
    depth, num_nodes, write = 0, np.int64(0), len(lefts) > 0
    for rank in range(len(order) + 1):
        # close what this suffix does not share; what a closed node counts, its parent counts as well
        common, left, carried = np.int64(shared[rank]), rank, np.int64(0)
        while depth > 0 and open_length[depth - 1] > common:
            depth -= 1
            left, length = open_left[depth], open_length[depth]
            carried += open_count[depth]
            parent = max(common, open_length[depth - 1] if depth > 0 else np.int64(0))
            while length > parent and symbols[order[left] + length - 1] == _BLANK_SYMBOL:
                length -= 1
            if length >= 2 and length > parent and carried >= 2:
                if write:
                    lefts[num_nodes], rights[num_nodes] = left, rank - 1
                    lengths[num_nodes], counts[num_nodes] = length, carried
                num_nodes += 1
        if rank == len(order):
            break
        if depth > 0 and open_length[depth - 1] == common:
            open_count[depth - 1] += carried
        elif common > 0:
            open_length[depth], open_left[depth], open_count[depth] = common, left, carried
            depth += 1
        whole = np.int64(remaining[rank])
        if whole > common:
            open_length[depth], open_left[depth], open_count[depth] = whole, rank, weights[rank]
            depth += 1
        else:
            open_count[depth - 1] += weights[rank]
    return num_nodes


@njit(cache=True, nogil=True)
def list_edges(order, lefts, rights, lengths, pieces, singles, offsets, edge_pieces, edge_lengths):
    """Lists, for every position, the pieces that begin there, shortest first: its character, then nodes.

    Nodes come by first rank, then length. singles: int32, the piece of each position's character. offsets: int64
    [positions + 1]; without room for edges, offsets[p + 1] becomes the number of edges of p; with room, offsets[p] is
    where its edges begin, and becomes where they end.
    """
    open_nodes = np.empty(260, np.int64)
    depth, next_node, write = 0, 0, len(edge_pieces) > 0
    for rank in range(len(order)):
        while depth > 0 and rights[open_nodes[depth - 1]] < rank:
            depth -= 1
        while next_node < len(lefts) and lefts[next_node] == rank:
            open_nodes[depth] = next_node
            depth += 1
            next_node += 1
        position = order[rank]
        if not write:
            offsets[position + 1] = depth + 1
            continue
        edge = offsets[position]
        edge_pieces[edge], edge_lengths[edge] = singles[position], 1
        for i in range(depth):
            edge_pieces[edge + 1 + i] = pieces[open_nodes[i]]
            edge_lengths[edge + 1 + i] = lengths[open_nodes[i]]
        offsets[position] = edge + 1 + depth
