"""Leftmost-longest matching in linear time: an Aho-Corasick automaton that reads the text from its end.

Its states are the nodes of a trie of the strings spelled backwards. Behind each byte, the state is the longest piece of
text from there on that a string could end with; so the longest string that begins there is known at once, from the
state alone. A pass over what was found, now from the front, keeps the leftmost. No byte is read again after a match, so
a text that almost matches everywhere takes at most two steps for each byte, whatever the strings.

Nodes are numbered level by level, which makes the children of a node neighbours: node v has those from firsts[v] up to
firsts[v + 1], in the order of their bytes `labels`. Node 0 is the root.

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

LABEL_PADDING = 8
"""Bytes behind the last label that may be read."""
NUM_BYTES = 256
NUM_PAIRS = 1 << 16
NO_STRING = -1
# words of the state vector: bytes that are still to be read end here, node, records written, first record that is kept
AT, NODE, COUNT, KEPT = range(4)
STATE_WORDS = 4

_EVERY_BYTE = np.uint64(0x0101010101010101)
_TOP_BITS = np.uint64(0x8080808080808080)
_SKIPPED = 8


@njit(forceinline=True)
def _child(firsts, labels, node, byte):
    """int64: the child of a node, or -1."""
    place, end = load32(firsts + (node << 2)), load32(firsts + (node << 2) + 4)
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


@njit(cache=True, nogil=True)
def build(text, offsets, numbers, firsts, labels, links, found, roots, endings):
    """int64: how many nodes the automaton has: at most one for each byte of the text and one more.

    String i is text[offsets[i] : offsets[i + 1]], spelled backwards and known by numbers[i]; strings are sorted,
    distinct and not empty. Written for each node: firsts (and one entry more), labels (and `LABEL_PADDING` bytes), all
    int32 but labels; links: the node of the longest shorter piece of text; found: the number of the longest string that
    begins here, or `NO_STRING`. roots: int32 [NUM_BYTES], the root's children by byte, 0 where there is none. endings:
    uint8 [NUM_PAIRS], zeros; 1 for each two bytes, in the order of the text and lowest first, with which a string ends.
    """
    num_strings = len(numbers)
    # of each string that goes on: its number and the node where it stands
    waiting, standing = np.empty(num_strings, np.int32), np.empty(num_strings, np.int32)
    for i in range(num_strings):
        waiting[i], standing[i] = i, 0
    found[0], links[0] = NO_STRING, 0
    nodes, filled, count, depth = np.int64(1), np.int64(0), np.int64(num_strings), np.int64(0)
    while count > 0:
        left = np.int64(0)
        parent, label = np.int64(-1), np.int64(-1)
        for row in range(count):
            i, node = np.int64(waiting[row]), np.int64(standing[row])
            byte = np.int64(text[offsets[i] + depth])
            if node != parent or byte != label:
                parent, label = node, byte
                while filled <= node:
                    firsts[filled] = nodes
                    filled += 1
                labels[nodes], found[nodes] = byte, NO_STRING
                nodes += 1
            if offsets[i] + depth + 1 == offsets[i + 1]:
                found[nodes - 1] = numbers[i]
            else:
                waiting[left], standing[left] = i, nodes - 1
                left += 1
        count = left
        depth += 1
    while filled <= nodes:
        firsts[filled] = nodes
        filled += 1
    for i in range(LABEL_PADDING):
        labels[nodes + i] = 0
    _link(firsts, labels, links, found, nodes)
    roots[:] = 0
    for child in range(firsts[0], firsts[1]):
        roots[labels[child]] = child
        if found[child] != NO_STRING:
            for before in range(NUM_BYTES):
                endings[before | (np.int64(labels[child]) << 8)] = 1
        for grandchild in range(firsts[child], firsts[child + 1]):
            endings[np.int64(labels[grandchild]) | (np.int64(labels[child]) << 8)] = 1
    return nodes


@njit(forceinline=True)
def _link(firsts, labels, links, found, nodes):
    """Writes `links`, and to `found` the string of the link where a node ends none itself."""
    firsts_at, labels_at = address_of(firsts), address_of(labels)
    for node in range(nodes):
        for child in range(firsts[node], firsts[node + 1]):
            shorter, target = np.int64(node), np.int64(-1)
            while shorter != 0 and target < 0:
                shorter = np.int64(links[shorter])
                target = _child(firsts_at, labels_at, shorter, np.int64(labels[child]))
            links[child] = max(target, np.int64(0))
            if found[child] == NO_STRING:
                found[child] = found[links[child]]
    keep(firsts)
    keep(labels)


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
def find(text, begin, firsts, labels, links, found, roots, endings, lengths, starts, numbers, state):
    """Goes on with text[begin : state[AT]], and writes (start, number of the string) to the arrays, last match first.

    Where state[AT] is begin afterwards, all is done, and the matches are rows state[KEPT] to state[COUNT]. Otherwise
    the arrays are full, and the next call needs longer ones with the same content. lengths: bytes of each string.
    """
    at, node, count = state[AT], state[NODE], state[COUNT]
    text_at, firsts_at, labels_at = address_of(text), address_of(firsts), address_of(labels)
    links_at, found_at, roots_at = address_of(links), address_of(found), address_of(roots)
    starts_at, numbers_at, endings_at = address_of(starts), address_of(numbers), address_of(endings)
    room = len(starts)
    while at > begin and count < room:
        if node == 0:
            at = _skip(text_at, at, begin, endings_at)
        at -= 1
        byte = load8(text_at + at)
        child = np.int64(-1)
        while node != 0:
            child = _child(firsts_at, labels_at, node, byte)
            if child >= 0:
                break
            node = load32(links_at + (node << 2))
        node = child if child >= 0 else load32(roots_at + (byte << 2))
        number = load32(found_at + (node << 2))
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
    for table in (firsts, links, found, roots, numbers):
        keep(table)
    keep(starts)
