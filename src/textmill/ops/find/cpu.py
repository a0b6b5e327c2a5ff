"""Leftmost-longest matching in linear time: an Aho-Corasick automaton that reads the text from its end.

Its states are the nodes of a trie of the strings spelled backwards. Behind each byte, the state is the longest piece of
text from there on that a string could end with; so the longest string that begins there is known at once, from the
state alone. A pass over what was found, now from the front, keeps the leftmost. No byte is read again after a match, so
a text that almost matches everywhere takes at most two steps for each byte, whatever the strings.

A node is 16 bytes, so that a step touches one cache line: its first child (children of a node are neighbours, in the
order of their bytes `labels`), its link, which is the node of the longest shorter piece of text, the string found here,
and how many children there are with the byte of the first. Node 0 is the root. Nodes that several strings share stand
in front, level by level; where a string goes on alone, its nodes follow one another.

Source: Aho and Corasick 1975, "Efficient string matching: an aid to bibliographic search".
"""

import numpy as np
from numba import njit

from textmill.ops.memory import (
    address_of,
    count_trailing_zeros,
    keep,
    load8,
    load16,
    load32,
    load64,
    load_int64,
    prefetch,
    store8,
    store32,
    store64,
)

NODE_WORDS = 4
FIRST, LINK, FOUND, CHILDREN = range(4)
LABEL_PADDING = 8
"""Bytes behind the last label that may be read."""
NUM_BYTES = 256
NUM_PAIRS = 1 << 16
WORK_WORDS = 9
NO_STRING = -1
# words of the state vector: bytes that are still to be read end here, node, records written, first record that is kept
AT, NODE, COUNT, KEPT = range(4)
STATE_WORDS = 4

_NODE_SHIFT = 4
_ONE_CHILD = 1 << 8
_ROW = 12
_AHEAD = 16
_EVERY_BYTE = np.uint64(0x0101010101010101)
_TOP_BITS = np.uint64(0x8080808080808080)
_SKIPPED = 8


@njit(forceinline=True)
def _child(nodes, labels, node, byte):
    """int64: the child of a node, or -1."""
    cell = nodes + (node << _NODE_SHIFT)
    place, children = load32(cell), load32(cell + 4 * CHILDREN)
    if children < 2 * _ONE_CHILD:
        return place if children == _ONE_CHILD | byte else np.int64(-1)
    end = place + (children >> 8)
    wanted = np.uint64(byte) * _EVERY_BYTE
    while place < end:
        # the lowest top bit that is set marks the first byte that is zero
        other = load64(labels + place) ^ wanted
        zeros = (other - _EVERY_BYTE) & ~other & _TOP_BITS
        if zeros != np.uint64(0):
            place += count_trailing_zeros(zeros) >> 3
            return place if place < end else np.int64(-1)
        place += 8
    return np.int64(-1)


@njit(forceinline=True)
def _put(nodes, labels, node, label):
    """Makes a node that has the label and nothing else yet."""
    cell = nodes + (node << _NODE_SHIFT)
    store8(labels + node, label)
    store64(cell, 0)
    store32(cell + 4 * FOUND, NO_STRING)
    store32(cell + 4 * CHILDREN, 0)


@njit(forceinline=True)
def _has_children(nodes, node, first, count, label):
    cell = nodes + (node << _NODE_SHIFT)
    store32(cell, first)
    store32(cell + 4 * CHILDREN, count << 8 | label)


@njit(forceinline=True)
def _branch(strings, nodes, labels, num_nodes, level, count, depth, after, alone, num_alone):
    """(nodes, rows written to `after`, rows in `alone`) when the children of this level's nodes are made."""
    text, offsets, numbers = strings
    following = np.int64(0)
    for row in range(level, level + _ROW * count, _ROW):
        node, low, high = load32(row), load32(row + 4), load32(row + 8)
        begin = load_int64(offsets + (low << 3))
        if load_int64(offsets + (low << 3) + 8) - begin == depth:
            store32(nodes + (node << _NODE_SHIFT) + 4 * FOUND, load32(numbers + (low << 2)))
            low += 1
        first, first_label, label, start = num_nodes, np.int64(0), np.int64(-1), low
        while start < high:
            label = load8(text + load_int64(offsets + (start << 3)) + depth)
            first_label = label if num_nodes == first else first_label
            stop = start + 1
            while stop < high and load8(text + load_int64(offsets + (stop << 3)) + depth) == label:
                stop += 1
            if stop - start > 1:
                target = after + _ROW * following
                following += 1
                store32(target + 8, stop)
            else:
                target = alone + _ROW * num_alone
                num_alone += 1
                store32(target + 8, depth + 1)
            store32(target, num_nodes)
            store32(target + 4, start)
            _put(nodes, labels, num_nodes, label)
            num_nodes += 1
            start = stop
        _has_children(nodes, node, first, num_nodes - first, first_label)
    return num_nodes, following, num_alone


@njit(forceinline=True)
def _go_on_alone(strings, nodes, labels, num_nodes, alone, num_alone):
    """int64: how many nodes there are when each string that goes on alone has its own."""
    text, offsets, numbers = strings
    for row in range(alone, alone + _ROW * num_alone, _ROW):
        node, i = load32(row), load32(row + 4)
        begin, end = load_int64(offsets + (i << 3)), load_int64(offsets + (i << 3) + 8)
        for at in range(begin + load32(row + 8), end):
            label = load8(text + at)
            _has_children(nodes, node, num_nodes, np.int64(1), label)
            _put(nodes, labels, num_nodes, label)
            node = num_nodes
            num_nodes += 1
        store32(nodes + (node << _NODE_SHIFT) + 4 * FOUND, load32(numbers + (i << 2)))
    return num_nodes


@njit(forceinline=True)
def _link(nodes, labels, level, after):
    """Writes the links, level by level, and where a node ends no string itself, the string that its link has found."""
    count = np.int64(1)
    store32(level, 0)
    while count > 0:
        following = np.int64(0)
        for row in range(count):
            prefetch(nodes + (load32(level + (min(row + _AHEAD, count - 1) << 2)) << _NODE_SHIFT))
            node = load32(level + (row << 2))
            cell = nodes + (node << _NODE_SHIFT)
            first = load32(cell)
            for child in range(first, first + (load32(cell + 4 * CHILDREN) >> 8)):
                label = load8(labels + child)
                shorter, target = node, np.int64(-1)
                while shorter != 0 and target < 0:
                    shorter = load32(nodes + (shorter << _NODE_SHIFT) + 4 * LINK)
                    target = _child(nodes, labels, shorter, label)
                target = max(target, np.int64(0))
                child_cell = nodes + (child << _NODE_SHIFT)
                store32(child_cell + 4 * LINK, target)
                if load32(child_cell + 4 * FOUND) == NO_STRING:
                    store32(child_cell + 4 * FOUND, load32(nodes + (target << _NODE_SHIFT) + 4 * FOUND))
                store32(after + (following << 2), child)
                following += 1
        level, after = after, level
        count = following


@njit(forceinline=True)
def _list_endings(nodes, labels, roots, endings):
    """Writes `roots` and `endings`; see `build`."""
    first = load32(nodes)
    for child in range(first, first + (load32(nodes + 4 * CHILDREN) >> 8)):
        cell = nodes + (child << _NODE_SHIFT)
        label, grandchild = load8(labels + child), load32(cell)
        store32(roots + (label << 2), child)
        if load32(cell + 4 * FOUND) != NO_STRING:
            for before in range(NUM_BYTES):
                store8(endings + (label << 8 | before), 1)
        for i in range(grandchild, grandchild + (load32(cell + 4 * CHILDREN) >> 8)):
            store8(endings + (label << 8 | load8(labels + i)), 1)


@njit(cache=True, nogil=True)
def build(text, offsets, numbers, nodes, labels, roots, endings, work):
    """int64: how many nodes the automaton has: at most one for each byte of the text and one more.

    String i is text[offsets[i] : offsets[i + 1]], spelled backwards and known by numbers[i]; strings are sorted,
    distinct and not empty, one at least. Written, all zeros so far but the nodes:

        nodes: int32 [most nodes, NODE_WORDS]; labels: uint8 [most nodes + LABEL_PADDING]
        roots: int32 [NUM_BYTES], the root's children by byte, 0 where there is none
        endings: uint8 [NUM_PAIRS], 1 for each two bytes, first one lowest, with which a string of the text ends

    work: int32 [WORK_WORDS * strings].
    """
    num_strings = len(numbers)
    strings = address_of(text), address_of(offsets), address_of(numbers)
    nodes_at, labels_at = address_of(nodes), address_of(labels)
    # rows of this level and of the next: a node, its first string and the one after its last; then those of the strings
    # that go on alone: node, string, bytes up to there
    level = address_of(work)
    after, alone = level + _ROW * num_strings, level + 2 * _ROW * num_strings
    _put(nodes_at, labels_at, np.int64(0), np.int64(0))
    store64(level, 0)
    store32(level + 8, num_strings)
    num_nodes, count, depth, num_alone = np.int64(1), np.int64(1), np.int64(0), np.int64(0)
    while count > 0:
        num_nodes, count, num_alone = _branch(
            strings, nodes_at, labels_at, num_nodes, level, count, depth, after, alone, num_alone
        )
        level, after = after, level
        depth += 1
    num_nodes = _go_on_alone(strings, nodes_at, labels_at, num_nodes, alone, num_alone)
    _link(nodes_at, labels_at, level, after)
    _list_endings(nodes_at, labels_at, address_of(roots), address_of(endings))
    keep(text)
    keep(labels)
    keep(endings)
    keep(offsets)
    keep(numbers)
    keep(nodes)
    keep(roots)
    keep(work)
    return num_nodes


@njit(forceinline=True)
def _skip(text, at, begin, endings):
    """int64: where the text still to be read ends, after what no string can end in is left out."""
    while at - begin > _SKIPPED:
        near = load8(endings + load16(text + at - 2)) | load8(endings + load16(text + at - 3))
        near |= load8(endings + load16(text + at - 4)) | load8(endings + load16(text + at - 5))
        far = load8(endings + load16(text + at - 6)) | load8(endings + load16(text + at - 7))
        far |= load8(endings + load16(text + at - 8)) | load8(endings + load16(text + at - 9))
        if near | far:
            break
        at -= _SKIPPED
    while at - begin > 1 and load8(endings + load16(text + at - 2)) == 0:
        at -= 1
    return at


@njit(cache=True, nogil=True)
def find(text, begin, nodes, labels, roots, endings, lengths, starts, numbers, state):
    """Goes on with text[begin : state[AT]], and writes (start, number of the string) to the arrays, last match first.

    Where state[AT] is begin afterwards, all is done, and the matches are rows state[KEPT] to state[COUNT]. Otherwise
    the arrays are full, and the next call needs longer ones with the same content. lengths: bytes of each string.
    """
    at, node, count = state[AT], state[NODE], state[COUNT]
    text_at, nodes_at, labels_at = address_of(text), address_of(nodes), address_of(labels)
    roots_at, endings_at = address_of(roots), address_of(endings)
    starts_at, numbers_at, room = address_of(starts), address_of(numbers), len(starts)
    while at > begin and count < room:
        if node == 0:
            at = _skip(text_at, at, begin, endings_at)
        at -= 1
        byte = load8(text_at + at)
        child = np.int64(-1)
        while node != 0:
            child = _child(nodes_at, labels_at, node, byte)
            if child >= 0:
                break
            node = load32(nodes_at + (node << _NODE_SHIFT) + 4 * LINK)
        node = child if child >= 0 else load32(roots_at + (byte << 2))
        number = load32(nodes_at + (node << _NODE_SHIFT) + 4 * FOUND)
        if number != NO_STRING:
            store64(starts_at + (count << 3), at)
            store32(numbers_at + (count << 2), number)
            count += 1
    state[AT], state[NODE], state[COUNT] = at, node, count
    if at == begin:
        kept, free = count, np.int64(begin)
        for row in range(count - 1, -1, -1):
            if starts[row] >= free:
                free = starts[row] + lengths[numbers[row]]
                kept -= 1
                starts[kept], numbers[kept] = starts[row], numbers[row]
        state[KEPT] = kept
    keep(text)
    keep(labels)
    keep(endings)
    keep(nodes)
    keep(roots)
    keep(numbers)
    keep(starts)
