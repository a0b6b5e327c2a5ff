"""Greedy longest match on a trie of bytes, kept in one hash table of edges.

States are numbers: 1 is where a word begins, 2 where it goes on (the vocabulary without its prefix), the others follow.
An edge is two words: (state << 8 | byte), which is never 0, and (next state << 32 | token + 1), where 0 stands for no
token. So one load of a slot tells both where to go and what has matched.

Source: Wu et al. 2016, arXiv:1609.08144; dropout: Hiraoka 2022, arXiv:2209.04126.
"""

from typing import Any

import numpy as np
from numba import njit

from textmill.ops.memory import (
    address_of,
    bits_of,
    fold_multiply,
    keep,
    load8,
    load32,
    load_int64,
    store32,
    store64,
)

AT_START, INSIDE = 1, 2
EDGE_WORDS = 2
_EDGE_SHIFT = 4

_WITHOUT_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
helper = njit(**_WITHOUT_WRAPPERS)
"""For what kernels alone call: code that Python could call is left out, a tenth of the time that compiling takes."""

_HASH = np.uint64(0x9E3779B97F4A7C15)
_FIRST_SALT = np.uint64(0x9E3779B97F4A7C15)
_SECOND_SALT = np.uint64(0xD6E8FEB86659FD93)
_DRAW_SHIFT = np.uint64(11)
_TOKEN_MASK = 0xFFFFFFFF


@njit(forceinline=True)
def _slot(edges, bits, key):
    """int64: the address of the edge with this key, or of the free slot where it belongs."""
    mask = (1 << bits) - 1
    slot = np.int64((np.uint64(key) * _HASH) >> np.uint64(64 - bits))
    while True:
        address = edges + (slot << _EDGE_SHIFT)
        found = load_int64(address)
        if found == key or found == 0:
            return address
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def build_trie(contents, offsets, ids, prefix, edges):
    """bool: whether the tokens found room: at most half of the slots of `edges` (zeros, int64 [2**k, 2]) may be taken.

    Token i is contents[offsets[i] : offsets[i + 1]]. One that begins with `prefix` is also put where words go on.
    """
    table, bits = address_of(edges), bits_of(len(edges))
    states, room = np.int64(INSIDE), len(edges) // 2
    for i in range(len(ids)):
        begin, end = offsets[i], offsets[i + 1]
        inside = end - begin > len(prefix)
        if inside:
            for j in range(len(prefix)):
                inside = inside and contents[begin + j] == prefix[j]
        for root in range(AT_START, INSIDE + 1):
            if root == INSIDE and not inside:
                continue
            state, address = np.int64(root), np.int64(0)
            for at in range(begin if root == AT_START else begin + len(prefix), end):
                key = (state << 8) | np.int64(contents[at])
                address = _slot(table, bits, key)
                if load_int64(address) == 0:
                    if states >= room:
                        keep(edges)
                        return False
                    states += 1
                    store64(address, key)
                    store64(address + 8, states << 32)
                state = load_int64(address + 8) >> 32
            if address != 0:
                store64(address + 8, (state << 32) | (np.int64(ids[i]) + 1))
    keep(edges)
    return True


@njit(forceinline=True)
def _dropped(seed, place, begin, end, threshold):
    """bool: as `reference.is_dropped`; threshold: probability * 2**53."""
    state = fold_multiply(np.uint64(seed) ^ _FIRST_SALT, np.uint64(place) ^ _SECOND_SALT)
    state = fold_multiply(state ^ _FIRST_SALT, np.uint64((begin << 32) | end) ^ _SECOND_SALT)
    return np.int64(state >> _DRAW_SHIFT) < threshold


@helper
def match(word, length, out, edges, bits, threshold, seed, place):
    """int64: how many ids were written to `out` for the bytes at `word`, or 0 if they cannot be matched to their end.

    At most one for each byte. threshold: 0, or MaxMatch-dropout's probability * 2**53; place: of the word in the text.
    """
    count, begin, root = np.int64(0), np.int64(0), np.int64(AT_START)
    while begin < length:
        state, token, end, at = root, np.int64(0), begin, begin
        while at < length:
            address = _slot(edges, bits, (state << 8) | load8(word + at))
            if load_int64(address) == 0:
                break
            edge = load_int64(address + 8)
            state = edge >> 32
            at += 1
            # the shortest match stays
            if edge & _TOKEN_MASK and not (
                token != 0 and threshold > 0 and _dropped(seed, place, begin, at, threshold)
            ):
                token, end = edge & _TOKEN_MASK, at
        if token == 0:
            return np.int64(0)
        store32(out + (count << 2), token - 1)
        count += 1
        begin, root = end, np.int64(INSIDE)
    return count


@helper
def has_more_characters(address, length, most):
    """bool: whether more than `most` characters begin in these bytes."""
    count = np.int64(0)
    for i in range(length):
        count += (load8(address + i) & 0xC0) != 0x80
        if count > most:
            return True
    return False


@njit(forceinline=True)
def token_bytes(lengths, token, inside, prefix_bytes):
    """int64: how many bytes of the word a token stands for."""
    length = load32(lengths + (token << 2))
    return length - prefix_bytes if inside else length
