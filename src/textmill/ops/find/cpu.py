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
    store32,
    store64,
)

NODE_WORDS = 4
FIRST, LINK, FOUND, CHILDREN = range(4)
LABEL_PADDING = 8
"""Bytes behind the last label that may be read."""
NUM_BYTES = 256
NUM_PAIRS = 1 << 16
NO_STRING = -1
# words of the state vector: bytes that are still to be read end here, node, records written, first record that is kept
AT, NODE, COUNT, KEPT = range(4)
STATE_WORDS = 4

_NODE_SHIFT = 4
_ONE_CHILD = 1 << 8
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


@njit
def _put(nodes, labels, node, label):
    """int64: the number after `node`, which gets the label and nothing else."""
    labels[node] = label
    nodes[node, FIRST], nodes[node, LINK], nodes[node, FOUND], nodes[node, CHILDREN] = 0, 0, NO_STRING, 0
    return node + 1


@njit(cache=True, nogil=True)
def build(text, offsets, numbers, nodes, labels, roots, endings):
    """int64: how many nodes the automaton has: at most one for each byte of the text and one more.

    String i is text[offsets[i] : offsets[i + 1]], spelled backwards and known by numbers[i]; strings are sorted,
    distinct and not empty. Written: nodes, int32 [most nodes, NODE_WORDS]; labels, uint8 [most nodes + LABEL_PADDING];
    roots, int32 [NUM_BYTES]: the root's children by byte, 0 where there is none; endings, uint8 [NUM_PAIRS], zeros so
    far: 1 for each two bytes, in the order of the text and lowest first, with which a string ends.
    """
    num_strings = len(numbers)
    # rows of this level and of the next: a node, its first string and the one after its last
    level, after = np.empty((num_strings, 3), np.int32), np.empty((num_strings, 3), np.int32)
    # of each string that goes on alone: its node, itself, its bytes up to there
    alone = np.empty((num_strings, 3), np.int32)
    num_nodes, count, depth, num_alone = _put(nodes, labels, np.int64(0), 0), np.int64(1), np.int64(0), np.int64(0)
    level[0, 0], level[0, 1], level[0, 2] = 0, 0, num_strings
    while count > 0:
        following = np.int64(0)
        for row in range(count):
            node, low, high = np.int64(level[row, 0]), np.int64(level[row, 1]), np.int64(level[row, 2])
            if offsets[low + 1] - offsets[low] == depth:
                nodes[node, FOUND] = numbers[low]
                low += 1
            first = num_nodes
            while low < high:
                begin, label = low, text[offsets[low] + depth]
                while low < high and text[offsets[low] + depth] == label:
                    low += 1
                if low - begin > 1:
                    after[following, 0], after[following, 1], after[following, 2] = num_nodes, begin, low
                    following += 1
                else:
                    alone[num_alone, 0], alone[num_alone, 1], alone[num_alone, 2] = num_nodes, begin, depth + 1
                    num_alone += 1
                num_nodes = _put(nodes, labels, num_nodes, label)
            nodes[node, FIRST] = first
            nodes[node, CHILDREN] = (num_nodes - first) << 8 | np.int64(labels[first])
        level, after = after, level
        count = following
        depth += 1
    for row in range(num_alone):
        node, i = np.int64(alone[row, 0]), np.int64(alone[row, 1])
        for at in range(offsets[i] + alone[row, 2], offsets[i + 1]):
            nodes[node, FIRST], nodes[node, CHILDREN] = num_nodes, _ONE_CHILD | np.int64(text[at])
            node = num_nodes
            num_nodes = _put(nodes, labels, num_nodes, text[at])
        nodes[node, FOUND] = numbers[i]
    labels[num_nodes : num_nodes + LABEL_PADDING] = 0
    _link(nodes, labels, level[:, 0].copy(), after[:, 0].copy())
    _list_endings(nodes, labels, roots, endings)
    return num_nodes


@njit
def _link(nodes, labels, level, after):
    """Writes the links, level by level, and where a node ends no string itself, the string that its link has found."""
    nodes_at, labels_at = address_of(nodes), address_of(labels)
    level[0], count = 0, np.int64(1)
    while count > 0:
        following = np.int64(0)
        for row in range(count):
            node = np.int64(level[row])
            first = np.int64(nodes[node, FIRST])
            for child in range(first, first + (nodes[node, CHILDREN] >> 8)):
                shorter, target = node, np.int64(-1)
                while shorter != 0 and target < 0:
                    shorter = np.int64(nodes[shorter, LINK])
                    target = _child(nodes_at, labels_at, shorter, np.int64(labels[child]))
                target = max(target, np.int64(0))
                nodes[child, LINK] = target
                if nodes[child, FOUND] == NO_STRING:
                    nodes[child, FOUND] = nodes[target, FOUND]
                after[following] = child
                following += 1
        level, after = after, level
        count = following
    keep(nodes)
    keep(labels)


@njit
def _list_endings(nodes, labels, roots, endings):
    """Writes `roots` and `endings`; see `build`."""
    roots[:] = 0
    for child in range(nodes[0, FIRST], nodes[0, FIRST] + (nodes[0, CHILDREN] >> 8)):
        last = np.int64(labels[child]) << 8
        roots[labels[child]] = child
        if nodes[child, FOUND] != NO_STRING:
            for before in range(NUM_BYTES):
                endings[last | before] = 1
        for grandchild in range(nodes[child, FIRST], nodes[child, FIRST] + (nodes[child, CHILDREN] >> 8)):
            endings[last | np.int64(labels[grandchild])] = 1


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
