"""A trie of byte strings in one flat array, for finding all pieces that begin at a place.

Double array: the child of node s by byte b is node base[s] + b, if parent[base[s] + b] is s. Each node is a cell of
16 bytes, so a step of a walk touches one cache line: base (int32), parent (int32), number of the piece that ends here
or -1 (int32), and four bytes unused.

Source: Aoe 1989, "An efficient digital search algorithm by using a double-array structure".
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, keep, load8, load32
from textmill.ops.unigram.cpu_floats import helper

CELL_SHIFT = 4
CELL_WORDS = 4
BASE, PARENT, PIECE = range(3)
_BYTES = 256
NO_NODE = -1
_NO_PARENT = -2
_TRIES = 64


@helper
def child(cells, node, base, byte):
    """int64: the child of a node whose base is known, or NO_NODE. A node without children has base 0, which no child
    claims, so every byte can be asked for: the cells go on for 256 more than the largest base."""
    place = base + byte
    if load32(cells + (place << CELL_SHIFT) + 4) != node:
        return np.int64(NO_NODE)
    return place


@helper
def base_of(cells, node):
    return load32(cells + (node << CELL_SHIFT))


@helper
def piece_of(cells, node):
    return load32(cells + (node << CELL_SHIFT) + 8)


@helper
def character_width(address, room):
    """int64 in 1..4: bytes of the UTF-8 character at the address; 1 for a byte that begins none within `room` bytes.

    Reads up to 4 bytes. Overlong forms, surrogates and what lies beyond U+10FFFF are no characters.
    """
    first = load8(address)
    if first < 0xC2 or first > 0xF4 or room < 2:
        return np.int64(1)
    second = load8(address + 1)
    if (second & 0xC0) != 0x80:
        return np.int64(1)
    if first < 0xE0:
        return np.int64(2)
    if room < 3 or (load8(address + 2) & 0xC0) != 0x80:
        return np.int64(1)
    if first < 0xF0:
        if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F):
            return np.int64(1)
        return np.int64(3)
    if room < 4 or (load8(address + 3) & 0xC0) != 0x80:
        return np.int64(1)
    if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
        return np.int64(1)
    return np.int64(4)


@helper
def wide_character(address):
    """int64: the code of the character of three bytes at the address, as far as its first byte and the kind of the
    others tell; -1 for anything else. Reads four bytes."""
    word = load32(address)
    if (word & 0xC0C0F0) != 0x8080E0:
        return np.int64(-1)
    return (word & 0x0F) << 12 | (word >> 2 & 0xFC0) | (word >> 16 & 0x3F)


@helper
def _fits(cells, base, labels, count):
    i = 0
    while i < count and cells[((base + labels[i]) << 2) + PARENT] == NO_NODE:
        i += 1
    return i == count


@njit(cache=True, nogil=True)
def build_trie(text, offsets, numbers, waiting, cells, characters):
    """int64: how many cells the trie takes, or -1 where `cells` has too few for it.

    The trie is that of the strings text[offsets[i] : offsets[i + 1]], which are sorted, distinct and not empty, with
    numbers[i] >= 0 each. cells: int32, four for each cell, all -1. waiting: int32, three for each byte of the text and
    three more. Nodes are placed level by level, each at the first base where all its children find free cells.
    characters: int32[65536], all -1: gets the node of each character of three bytes that a string begins with.
    """
    room, num_strings = np.int64(len(cells) >> 2), np.int64(len(offsets) - 1)
    # of each node that waits: node, first string, string after the last
    waiting[0], waiting[1], waiting[2] = 0, 0, num_strings
    head, tail, level_end, depth = 0, 1, 1, 0
    # the root has no parent, and its cell is taken
    cells[BASE], cells[PARENT] = 0, _NO_PARENT
    labels, firsts = np.empty(_BYTES, np.int64), np.empty(_BYTES + 1, np.int64)
    free, largest = np.int64(1), np.int64(0)
    while head < tail:
        if head == level_end:
            depth += 1
            level_end = tail
        node, low, high = waiting[3 * head], waiting[3 * head + 1], waiting[3 * head + 2]
        head += 1
        cells[(node << 2) + BASE] = 0
        if low < high and offsets[low + 1] - offsets[low] == depth:
            cells[(node << 2) + PIECE] = numbers[low]
            low += 1
        count, i = np.int64(0), np.int64(low)
        while i < high:
            label = np.int64(text[offsets[i] + depth])
            labels[count], firsts[count] = label, i
            count += 1
            while i < high and np.int64(text[offsets[i] + depth]) == label:
                i += 1
        if count == 0:
            continue
        firsts[count] = high
        while free < room and cells[(free << 2) + PARENT] != NO_NODE:
            free += 1
        base, tries = max(np.int64(1), free - labels[0]), 0
        while base + _BYTES <= room and not _fits(cells, base, labels, count):
            base += 1
            tries += 1
            # a crowded stretch is left behind, or the search would go through it again and again
            if tries == _TRIES:
                free += _TRIES
                base = max(base, free - labels[0])
                tries = 0
        if base + _BYTES > room:
            return np.int64(-1)
        cells[(node << 2) + BASE] = base
        largest = max(largest, base)
        for i in range(count):
            place = base + labels[i]
            cells[(place << 2) + PARENT] = node
            waiting[3 * tail], waiting[3 * tail + 1], waiting[3 * tail + 2] = place, firsts[i], firsts[i + 1]
            tail += 1
    cells_at = address_of(cells)
    for character in range(1 << 11, 1 << 16):
        node = child(cells_at, np.int64(0), base_of(cells_at, np.int64(0)), 0xE0 | character >> 12)
        if node != NO_NODE:
            node = child(cells_at, node, base_of(cells_at, node), 0x80 | (character >> 6 & 0x3F))
        if node != NO_NODE:
            characters[character] = child(cells_at, node, base_of(cells_at, node), 0x80 | (character & 0x3F))
    keep(cells)
    return largest + _BYTES
