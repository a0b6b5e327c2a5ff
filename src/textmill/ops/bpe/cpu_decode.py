"""Kernels of decoding: the bytes of each id, one after the other.

Each id has a record of 16 bytes: its token's bytes and, in the last byte, how many they are. So one load brings all
that a token of up to 15 bytes needs. A longer one has LONG there, and its place in an arena in the first eight bytes.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, keep, load8, load32, load64, load_int64, store8, store64
from textmill.ops.vectors import copy16

RECORD_BYTES = 16
SHORT_BYTES = 15
LONG = 255
"""In the last byte of a record: the token is in the arena."""
_LOW, _HALF, _TWO = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(2)


@njit(cache=True, nogil=True)
def decoded_bytes(ids, lengths):
    """int64: bytes of all ids together, or -1 - i if the i-th id is not in the vocabulary (or its length is 0).

    ids, lengths: contiguous int32.
    """
    ids_at, lengths_at, size = address_of(ids), address_of(lengths), np.int64(len(ids))
    total, fewest, most = np.int64(0), np.int64(1), np.uint64(len(lengths))
    i = np.int64(0)
    # four ids are two loads; a negative one is a large one here
    while i + 4 <= size:
        front, back = load64(ids_at + (i << 2)), load64(ids_at + (i << 2) + 8)
        first, second, third, fourth = front & _LOW, front >> _HALF, back & _LOW, back >> _HALF
        if (first >= most) | (second >= most) | (third >= most) | (fourth >= most):
            break
        one, two = load32(lengths_at + np.int64(first << _TWO)), load32(lengths_at + np.int64(second << _TWO))
        three, four = load32(lengths_at + np.int64(third << _TWO)), load32(lengths_at + np.int64(fourth << _TWO))
        fewest = min(fewest, min(min(one, two), min(three, four)))
        total += (one + two) + (three + four)
        i += 4
    while i < size:
        number = np.int64(ids[i])
        if number < 0 or number >= len(lengths):
            return np.int64(-1) - i
        length = load32(lengths_at + (number << 2))
        fewest = min(fewest, length)
        total += length
        i += 1
    if fewest == 0:
        for i in range(len(ids)):
            if lengths[ids[i]] == 0:
                return np.int64(-1) - i
    keep(ids), keep(lengths)
    return total


@njit(cache=True, nogil=True)
def copy_tokens(ids, lengths, records, arena, target, total):
    """Writes the `total` bytes of checked ids to the address `target`, and nothing beyond them.

    lengths: int32. records: uint8, 16 bytes an id. arena: the bytes of long tokens, padded.
    """
    ids_at, size = address_of(ids), np.int64(len(ids))
    records_at, arena_at, end = address_of(records), address_of(arena), target + total
    i = np.int64(0)
    # a whole record at a time: the overhang is overwritten by the next token
    while i < size and end - target >= RECORD_BYTES:
        record = records_at + (load32(ids_at + (i << 2)) << 4)
        length = load8(record + SHORT_BYTES)
        if length == LONG:
            source, length = arena_at + load_int64(record), np.int64(lengths[ids[i]])
            done = np.int64(0)
            while done + 8 <= length:
                store64(target + done, load64(source + done))
                done += 8
            for place in range(done, length):
                store8(target + place, load8(source + place))
        else:
            copy16(target, record)
        target += length
        i += 1
    while i < size:
        record, length = records_at + (np.int64(ids[i]) << 4), np.int64(lengths[ids[i]])
        source = record if length <= SHORT_BYTES else arena_at + load_int64(record)
        for place in range(length):
            store8(target + place, load8(source + place))
        target += length
        i += 1
    keep(ids), keep(records), keep(arena)
