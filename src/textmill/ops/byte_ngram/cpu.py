"""The byte n-gram model of `reference`, on one hash table, in Numba.

Every n-gram seen is a node with a number. A node is found from its parent (the n-gram without its last byte) and that
byte, so the table's key is exact (parent number and byte in 64 bits) whatever the order: no collision is hoped away.
Walking a text keeps, for each length k, the node of the last k symbols; one look-up per length moves all of them on.

Legend: node 0 is the empty n-gram; nodes 1 .. order-1 are the runs of start marks; the rest come as they are met.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8
from numba import njit

from textmill.ops.byte_ngram.reference import NUM_BYTES, START, discounts_of

EMPTY = -1
"""Marks a free slot of the table."""


class NgramTable(NamedTuple):
    order: int
    slots: Int64[np.ndarray, "slots 2"]
    """key (parent << 9 | symbol) and node, or EMPTY"""
    counts: Int32[np.ndarray, "nodes"]
    """a(hx): occurrences at the full order, different symbols before it at the others"""
    lengths: UInt8[np.ndarray, "nodes"]
    totals: Float64[np.ndarray, "nodes"]
    """A(h), the counts of a node's children together"""
    masses: Float64[np.ndarray, "nodes"]
    """M(h), the discounts of a node's children together"""
    discounts: Float64[np.ndarray, "order+1 4"]
    """row k holds D(0), D(1), D(2), D(3 and more) of n-grams of length k"""


def count_ngrams(text: UInt8[np.ndarray, "bytes"], starts: Int64[np.ndarray, "documents+1"], order: int) -> NgramTable:
    """The model of the documents text[starts[i]:starts[i+1]]."""
    _check(text, starts)
    assert order >= 1
    slots, counts, parents, lengths = _count(text, starts, order)
    discounts = np.zeros((order + 1, 4))
    for length in range(1, order + 1):
        seen = np.bincount(np.minimum(counts[lengths == length], 5), minlength=6)
        discounts[length] = discounts_of(seen[1:5].tolist())
    totals, masses = _sum_children(counts, parents, lengths, discounts)
    return NgramTable(order, slots, counts, lengths, totals, masses, discounts)


def document_bits(
    table: NgramTable, text: UInt8[np.ndarray, "bytes"], starts: Int64[np.ndarray, "documents+1"]
) -> Float64[np.ndarray, "documents"]:
    """-log2 of the probability of each document, in bits."""
    _check(text, starts)
    return _score(text, starts, table.order, table.slots, table.counts, table.totals, table.masses, table.discounts)


def next_byte(table: NgramTable, context: bytes) -> Float64[np.ndarray, "256"]:
    """P(x | context) for the 256 bytes x; the context begins its document."""
    # the same path as scoring: each byte is scored as the last one of its own document
    tails = b"".join(context + bytes([x]) for x in range(NUM_BYTES))
    width = len(context) + 1
    text = np.frombuffer(tails, np.uint8)
    whole = document_bits(table, text, np.arange(NUM_BYTES + 1, dtype=np.int64) * width)
    first = document_bits(table, np.frombuffer(context, np.uint8), np.array([0, len(context)], np.int64))
    return np.exp2(first[0] - whole)


def _check(text: np.ndarray, starts: np.ndarray) -> None:
    """What the kernels rely on."""
    assert text.dtype == np.uint8
    assert starts.dtype == np.int64
    assert len(starts) >= 1
    assert starts[0] >= 0
    assert starts[-1] <= len(text)
    assert (np.diff(starts) >= 0).all()


@njit(cache=True, nogil=True)
def _slot_of(slots, key):
    """The slot that holds the key, or the free one where it belongs."""
    mask = len(slots) - 1
    # multiply by 2^64 / golden ratio and keep high bits: neighbours in key spread over the table
    slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
    while slots[slot, 0] != key and slots[slot, 0] != EMPTY:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _twice_the_slots(slots):
    larger = np.full((2 * len(slots), 2), EMPTY, np.int64)
    for old in range(len(slots)):
        if slots[old, 0] != EMPTY:
            slot = _slot_of(larger, slots[old, 0])
            larger[slot, 0] = slots[old, 0]
            larger[slot, 1] = slots[old, 1]
    return larger


@njit(cache=True, nogil=True)
def _count(text, starts, order):
    """slots, and for each node its count, parent and length."""
    num_slots = 1 << 10
    while num_slots < 3 * len(text):
        num_slots *= 2
    slots = np.full((num_slots, 2), EMPTY, np.int64)
    counts = np.zeros(num_slots, np.int32)
    parents = np.zeros(num_slots, np.int32)
    lengths = np.zeros(num_slots, np.uint8)
    for k in range(1, order):
        slot = _slot_of(slots, (k - 1) * 512 + START)
        slots[slot, 0] = (k - 1) * 512 + START
        slots[slot, 1] = k
        parents[k] = k - 1
        lengths[k] = k
    num_nodes = order
    # entry k holds the node of the last k symbols
    nodes = np.zeros(order + 1, np.int64)
    for document in range(len(starts) - 1):
        for k in range(order):
            nodes[k] = k
        for i in range(starts[document], starts[document + 1]):
            if 3 * (num_nodes + order) > 2 * len(slots):
                slots = _twice_the_slots(slots)
                counts = np.concatenate((counts, np.zeros(len(counts), np.int32)))
                parents = np.concatenate((parents, np.zeros(len(parents), np.int32)))
                lengths = np.concatenate((lengths, np.zeros(len(lengths), np.uint8)))
            longer_is_new = True
            for k in range(order, 0, -1):
                key = nodes[k - 1] * 512 + text[i]
                slot = _slot_of(slots, key)
                is_new = slots[slot, 0] == EMPTY
                if is_new:
                    slots[slot, 0] = key
                    slots[slot, 1] = num_nodes
                    parents[num_nodes] = nodes[k - 1]
                    lengths[num_nodes] = k
                    num_nodes += 1
                nodes[k] = slots[slot, 1]
                # at the full order every occurrence counts, below it only one with a new symbol before it
                if longer_is_new or k == order:
                    counts[nodes[k]] += 1
                longer_is_new = is_new
    return slots, counts[:num_nodes].copy(), parents[:num_nodes].copy(), lengths[:num_nodes].copy()


@njit(cache=True, nogil=True)
def _sum_children(counts, parents, lengths, discounts):
    totals = np.zeros(len(counts))
    masses = np.zeros(len(counts))
    for node in range(1, len(counts)):
        if counts[node] > 0:
            totals[parents[node]] += counts[node]
            masses[parents[node]] += discounts[lengths[node], min(counts[node], 3)]
    return totals, masses


@njit(cache=True, nogil=True)
def _score(text, starts, order, slots, counts, totals, masses, discounts):
    bits = np.zeros(len(starts) - 1)
    nodes = np.zeros(order + 1, np.int64)
    for document in range(len(starts) - 1):
        for k in range(order):
            nodes[k] = k
        # lengths 0 .. known have a node
        known = order - 1
        for i in range(starts[document], starts[document + 1]):
            probability = 1.0 / NUM_BYTES
            context = nodes[0]
            reached = 0
            for k in range(1, known + 2):
                if totals[context] == 0:
                    break
                slot = _slot_of(slots, context * 512 + text[i])
                kept = 0.0
                # this length's context of the next step is the longer context of this one: keep it before replacing
                context_of_next_length = nodes[k]
                if slots[slot, 0] != EMPTY:
                    nodes[k] = slots[slot, 1]
                    count = counts[nodes[k]]
                    kept = count - discounts[k, min(count, 3)]
                    if reached == k - 1:
                        reached = k
                probability = (kept + masses[context] * probability) / totals[context]
                context = context_of_next_length
            bits[document] -= np.log2(probability)
            known = min(reached, order - 1)
    return bits
