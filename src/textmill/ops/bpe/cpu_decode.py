"""Kernels of decoding: the bytes of each id, one after the other.

Each id has a record of 16 bytes: its token's bytes and, in the last byte, how many they are. So one load brings all
that a token of up to 15 bytes needs. A longer one has LONG there, and its place in an arena in the first eight bytes.
"""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, keep, load8, load32, load64, load_int64, store8, store64

RECORD_BYTES = 16
SHORT_BYTES = 15
LONG = 255
"""In the last byte of a record: the token is in the arena."""
_LENGTH_SHIFT = np.uint64(56)


@njit(cache=True, nogil=True)
def decoded_bytes(ids, lengths):
    """int64: bytes of all ids together, or -1 - i if the i-th id is not in the vocabulary (or its length is 0)."""
    total, fewest = np.int64(0), np.int64(1)
    lengths_at = address_of(lengths)
    most = np.int64(len(lengths))
    for i in range(len(ids)):
        number = np.int64(ids[i])
        # one branch: it is never taken
        if number < 0 or number >= most:
            return np.int64(-1) - i
        length = load32(lengths_at + (number << 2))
        fewest = min(fewest, length)
        total += length
    if fewest == 0:
        for i in range(len(ids)):
            if lengths[ids[i]] == 0:
                return np.int64(-1) - i
    keep(lengths)
    return total


@njit(cache=True, nogil=True)
def copy_tokens(ids, lengths, records, arena, target, total):
    """Writes the `total` bytes of checked ids to the address `target`, and nothing beyond them.

    lengths: int32. records: uint8, 16 bytes an id. arena: the bytes of long tokens, padded.
    """
    records_at, arena_at, end = address_of(records), address_of(arena), target + total
    i = np.int64(0)
    # a whole record at a time: the overhang is overwritten by the next token
    while i < len(ids) and end - target >= RECORD_BYTES:
        record = records_at + (np.int64(ids[i]) << 4)
        first, second = load64(record), load64(record + 8)
        length = np.int64(second >> _LENGTH_SHIFT)
        if length == LONG:
            source, length = arena_at + load_int64(record), np.int64(lengths[ids[i]])
            done = np.int64(0)
            while done + 8 <= length:
                store64(target + done, load64(source + done))
                done += 8
            for place in range(done, length):
                store8(target + place, load8(source + place))
        else:
            store64(target, first)
            store64(target + 8, second)
        target += length
        i += 1
    while i < len(ids):
        record, length = records_at + (np.int64(ids[i]) << 4), np.int64(lengths[ids[i]])
        source = record if length <= SHORT_BYTES else arena_at + load_int64(record)
        for place in range(length):
            store8(target + place, load8(source + place))
        target += length
        i += 1
    keep(records), keep(arena)
