"""The cache of words that were segmented, of a size that stays bounded.

A bucket has 64 bytes: two entries of 32 bytes. An entry holds the 16-byte key of a word (see `ops.bpe.keys`), whose
spare half byte says in three bits how many ids follow (0: the entry is free, 7: they are in the arena) and in one bit
whether the word begins with a blank that the key leaves out; then up to three ids (int32) and the limit (float32), the
largest distance of the running score from 0 up to which the ids are sure. Where the ids are in the arena, the entry has
the offset of a record and their number instead: the bytes of a word whose key is a hash, then the ids.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.keys import is_inline, key_bucket
from textmill.ops.memory import (
    PADDING,
    address_of,
    bits_of,
    equal_span,
    keep,
    load8,
    load32,
    load64,
    load_int64,
    store8,
    store32,
    store64,
)
from textmill.ops.unigram.cpu_floats import helper, load_float32, store_float32

ENTRY_WORDS = 4
BUCKET_SHIFT = 6
BUCKET_BYTES = 1 << BUCKET_SHIFT
_ENTRY_BYTES = 32
INLINE_IDS = 3
IN_ARENA = 7
BLANK_FLAG = np.uint64(1 << 63)
_COUNT_SHIFT = np.uint64(60)
_COUNT_BITS = np.uint64(7)
_KEY_BITS = np.uint64(0x8FFFFFFFFFFFFFFF)
_ZERO = np.uint64(0)
# the bytes of a record are rounded up to eight, and ids are copied two at a time
_RECORD_SLACK = 24
_ROOM_ABOVE = 1e-6


@helper
def find(bucket, first, second):
    """int64: the address of the entry with this key, or 0."""
    if load64(bucket) == first and ((load64(bucket + 8) ^ second) & _KEY_BITS) == _ZERO and _taken(bucket):
        return bucket
    other = bucket + _ENTRY_BYTES
    if load64(other) == first and ((load64(other + 8) ^ second) & _KEY_BITS) == _ZERO and _taken(other):
        return other
    return np.int64(0)


@helper
def _taken(entry):
    return (load64(entry + 8) & ~_KEY_BITS) != _ZERO


@helper
def ids_in(entry):
    """int64: how many ids the entry holds itself, or IN_ARENA."""
    return np.int64((load64(entry + 8) >> _COUNT_SHIFT) & _COUNT_BITS)


@helper
def limit_of(entry):
    """float64: how far from 0 the running score may be."""
    return load_float32(entry + 28)


@helper
def record_of(entry, word, length, arena):
    """(int64, int64): the address of the ids of an entry in the arena, and their number; 0 and 0 where the record
    belongs to another word with the same hash."""
    record = arena + load_int64(entry + 16)
    if is_inline(load64(entry + 8)):
        return record, load32(entry + 24)
    if equal_span(record, word, length):
        return record + ((length + 7) & ~7), load32(entry + 24)
    return np.int64(0), np.int64(0)


@helper
def record_bytes(length, count):
    """int64: the most that the record of a word of `length` bytes with `count` ids can take."""
    return length + 4 * count + _RECORD_SLACK


@helper
def claim(bucket):
    """int64: the entry to write: a free one, or the first, whose content moves to the second."""
    if not _taken(bucket):
        return bucket
    other = bucket + _ENTRY_BYTES
    if _taken(other):
        for word in range(0, _ENTRY_BYTES, 8):
            store64(other + word, load64(bucket + word))
        return bucket
    return other


@helper
def remember(key, word, length, raw, count, limit, in_arena, arena_end):
    """int64: bytes of the arena that it took. Puts `count` ids at address `raw` into a bucket.

    key: the address of the two words of the key and of the address of the bucket. in_arena: whether they need a record
    (more than `INLINE_IDS`, or an unknown character among them). arena_end: (address of the arena, bytes in use). The
    caller has seen to it that there is room.
    """
    first, second = load64(key), load64(key + 8)
    entry = claim(load_int64(key + 16))
    arena, used = arena_end
    number = count
    taken = np.int64(0)
    if in_arena:
        number = np.int64(IN_ARENA)
        record = arena + used
        store64(entry + 16, used)
        store32(entry + 24, count)
        if not is_inline(second):
            for i in range(length):
                store8(record + i, load8(word + i))
            record += (length + 7) & ~7
        for i in range(count):
            store32(record + (i << 2), load32(raw + (i << 2)))
        taken = (record - arena - used + 4 * count + 7) & ~7
    else:
        for i in range(count):
            store32(entry + 16 + (i << 2), load32(raw + (i << 2)))
    store64(entry, first)
    store64(entry + 8, second | (np.uint64(number) << _COUNT_SHIFT))
    # rounded down: the limit may be smaller than the true one, never larger
    store_float32(entry + 28, limit - abs(limit) * _ROOM_ABOVE if limit < np.inf else limit)
    return taken


@njit(cache=True, nogil=True)
def move_entries(table, grown):
    """Puts the entries of a cache table into a larger, empty one. Both have two rows more than entries, to align."""
    source, target = (address_of(table) + 63) & ~63, (address_of(grown) + 63) & ~63
    bits = bits_of(len(grown) // 2 - 1)
    for number in range(len(table) - 2):
        entry = source + number * _ENTRY_BYTES
        if _taken(entry):
            first, second = load64(entry), load64(entry + 8) & _KEY_BITS
            place = claim(target + (key_bucket(first, second, bits) << BUCKET_SHIFT))
            for word in range(0, _ENTRY_BYTES, 8):
                store64(place + word, load64(entry + word))
    keep(table), keep(grown)


SPARE_BYTES = PADDING
"""After the arena: comparing the bytes of a word reads up to seven beyond them."""
