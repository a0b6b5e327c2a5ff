"""The encoding kernel: a cache of pieces in front of the merging.

The cache is a table of 64-byte buckets, two entries each: the 16-byte key of the piece, with the number of its ids in
the key's spare half byte, and up to four ids. Longer results, and every piece over 15 bytes, have a record in an arena
instead: the bytes of the piece (compared in full before a hit counts), then the ids.

Pieces go in blocks, in three loops: make the keys and ask for the buckets; ask for the records of long pieces; copy the
ids out, or merge. So no loop waits for memory one piece at a time.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.keys import is_inline, key_bucket, piece_key
from textmill.ops.character_bpe.cpu_lone import LONG_RUN, is_lone, stage_lone, write_lone, write_run
from textmill.ops.character_bpe.cpu_merge import SHORT_SCRATCH_WORDS, encode_piece
from textmill.ops.character_bpe.cpu_pairs import LENGTHS, LONE, NUM_LENGTHS, function, helper
from textmill.ops.memory import (
    PADDING,
    address_of,
    bits_of,
    equal_span,
    keep,
    load32,
    load64,
    load_int64,
    prefetch,
    store32,
    store64,
)

# words of an entry: key, key with number of ids, two ids, two ids (or: offset of the record, number of ids)
ENTRY_WORDS = 4
_BUCKET_SHIFT = 6
BUCKET_BYTES = 1 << _BUCKET_SHIFT
_ENTRY_BYTES = 32
_IDS_SHIFT = np.uint64(60)
_SPARE_BITS = np.uint64(4)
_ZERO = np.uint64(0)
INLINE_IDS = 4
_IN_ARENA = np.uint64(15)
LONGEST_CACHED = 1024
"""Bytes; a longer piece is merged every time."""

# words of the state vector
CURSOR, INSERTED, ARENA_USED, MAY_GROW, ENDS_AT, MARK, WRITTEN = range(7)
"""MARK: how many marks are set; WRITTEN: ids before those of this call."""
STATE_WORDS = 7

# why encode_block stopped
CROWDED, ARENA_FULL, BAD_ENDS = -1, -2, -3

_BLOCK = 256
_ROW_BYTES = 24
# the ids of a block's pieces may each need a record: bytes rounded up, and four bytes an id
_RECORD_BYTES_PER_BYTE = 5
_RECORD_SLACK = 16


@helper
def _stage_keys(base, begin, limit, ends, count, table, lone, staged):
    """int64: how many of the pieces it staged, or -1 if ends do not grow. Row i of staged: two key words, bucket.

    It ends where a run of lone characters seems to begin. table: (address of the buckets, bits of their number). lone:
    see `cpu_lone`.
    """
    buckets, bits = table
    in_a_row = np.int64(0)
    for i in range(count):
        end = load32(ends + (i << 2))
        if end <= begin or end > limit:
            return np.int64(-1)
        row = staged + _ROW_BYTES * i
        if stage_lone(base + begin, end - begin, lone, row):
            begin = end
            in_a_row += 1
            if in_a_row == LONG_RUN:
                return np.int64(i + 1)
            continue
        in_a_row = np.int64(0)
        first, second = piece_key(base + begin, end - begin)
        bucket = buckets + (key_bucket(first, second, bits) << _BUCKET_SHIFT)
        prefetch(bucket)
        store64(row, first)
        store64(row + 8, second)
        store64(row + 16, bucket)
        begin = end
    return count


@helper
def _find(bucket, first, second):
    """int64: the address of the entry with this key, or 0. Shifting the spare bits out leaves the key proper."""
    if load64(bucket) == first and ((load64(bucket + 8) ^ second) << _SPARE_BITS) == _ZERO:
        return bucket
    other = bucket + _ENTRY_BYTES
    if load64(other) == first and ((load64(other + 8) ^ second) << _SPARE_BITS) == _ZERO:
        return other
    return np.int64(0)


@helper
def _ask_for_records(staged, count, arena):
    for i in range(count):
        row = staged + _ROW_BYTES * i
        second = load64(row + 8)
        if not is_inline(second):
            entry = _find(load_int64(row + 16), load64(row), second)
            if entry != 0:
                record = arena + load_int64(entry + 16)
                prefetch(record)
                prefetch(record + 64)


@helper
def _recall(entry, piece, length, arena, out):
    """int64: how many ids the entry gave, or -1 if it belongs to other bytes with the same hash."""
    second = load64(entry + 8)
    count = np.int64(second >> _IDS_SHIFT)
    if count <= INLINE_IDS:
        store64(out, load64(entry + 16))
        store64(out + 8, load64(entry + 24))
        return count
    record = arena + load_int64(entry + 16)
    if is_inline(second):
        ids = record
    elif equal_span(record, piece, length):
        ids = record + ((length + 7) & ~7)
    else:
        return np.int64(-1)
    count = load_int64(entry + 24)
    for i in range(0, count, 2):
        store64(out + (i << 2), load64(ids + (i << 2)))
    return count


@helper
def _claim(bucket):
    """int64: the entry to write: a free one, or the first, whose content moves to the second."""
    if load64(bucket + 8) == _ZERO:
        return bucket
    other = bucket + _ENTRY_BYTES
    if load64(other + 8) != _ZERO:
        for word in range(0, _ENTRY_BYTES, 8):
            store64(other + word, load64(bucket + word))
        return bucket
    return other


@helper
def _copy_words(source, target, length):
    """Copies `length` bytes between addresses, and up to 7 more."""
    for i in range(0, length, 8):
        store64(target + i, load64(source + i))


@function
def _remember(row, piece, length, ids, count, arena, state):
    """Puts the ids of a piece into the cache."""
    first, second = load64(row), load64(row + 8)
    entry = _claim(load_int64(row + 16))
    store64(entry, first)
    if count <= INLINE_IDS and is_inline(second):
        store64(entry + 8, second | (np.uint64(count) << _IDS_SHIFT))
        store64(entry + 16, load64(ids))
        store64(entry + 24, load64(ids + 8))
    else:
        record = arena + state[ARENA_USED]
        store64(entry + 8, second | (_IN_ARENA << _IDS_SHIFT))
        store64(entry + 16, state[ARENA_USED])
        store64(entry + 24, count)
        if not is_inline(second):
            _copy_words(piece, record, length)
            record += (length + 7) & ~7
        _copy_words(ids, record, count << 2)
        state[ARENA_USED] = (record + (count << 2) - arena + 7) & ~7
    state[INSERTED] += 1


@helper
def _ends_from_lengths(begin, end, ids, count, ends, lengths, known):
    """bool: whether each of the ids always covers the same number of bytes; if so, their ends are written.

    lengths: address of int32[known], not above 0 where an id has no one length.
    """
    for i in range(count):
        number = load32(ids + (i << 2))
        length = load32(lengths + (number << 2)) if number < known else np.int64(-1)
        if length <= 0:
            return False
        begin += length
        store32(ends + (i << 2), begin)
    return begin == end


@helper
def sum_up(begin, count, ends):
    """Turns `count` sizes at the address `ends` into ends; the first token begins at `begin`."""
    for i in range(count):
        begin += load32(ends + (i << 2))
        store32(ends + (i << 2), begin)


@njit(cache=True, nogil=True)
def encode_block(text, start, ends, out, marks, table, arena, model, state):
    """(int64, int64): how many ids it wrote, and 0 or why it stopped. Starts at piece state[CURSOR] and moves it.

    out: int32, one for each byte left and 16 more. state[ENDS_AT]: the address of as many int32 for the end of each
    token, counted from `start`, or 0. marks: int64, numbers of pieces that grow: each becomes the number of ids before
    that piece. model: see `cpu_pairs`; the caller holds the arrays that these two name.
    """
    base, ends_at, out_at = address_of(text) + start, address_of(ends), address_of(out)
    # where the end of the token at address t goes: t + to_ends
    wants_ends, to_ends = state[ENDS_AT] != 0, state[ENDS_AT] - out_at
    model_at, lengths, known, lone = address_of(model), model[LENGTHS], model[NUM_LENGTHS], model[LONE]
    buckets = (address_of(table) + 63) & ~63
    arena_at = address_of(arena)
    room = np.empty(3 * _BLOCK + SHORT_SCRATCH_WORDS, np.int64)
    staged_at, scratch = address_of(room), address_of(room) + _ROW_BYTES * _BLOCK
    num_buckets = len(table) // 2 - 1
    bits = bits_of(num_buckets)
    target, status = out_at, 0
    limit = np.int64(ends[-1]) if len(ends) > 0 else np.int64(0)
    next_mark = marks[state[MARK]] if state[MARK] < len(marks) else np.int64(len(ends) + 1)
    while state[CURSOR] < len(ends):
        if lone != 0:
            state[CURSOR], target = write_run(
                base,
                ends_at,
                (state[CURSOR], min(next_mark, len(ends))),
                limit,
                target,
                to_ends if wants_ends else 0,
                model_at,
            )
            if state[CURSOR] == len(ends):
                break
        cursor = state[CURSOR]
        count = min(np.int64(_BLOCK), len(ends) - cursor)
        begin = np.int64(0) if cursor == 0 else np.int64(ends[cursor - 1])
        count = _stage_keys(base, begin, limit, ends_at + (cursor << 2), count, (buckets, bits), lone, staged_at)
        if count < 0:
            status = BAD_ENDS
            break
        # at one piece for two buckets, one in seventy finds both entries of its bucket taken
        if state[MAY_GROW] != 0 and 2 * state[INSERTED] > num_buckets:
            status = CROWDED
            break
        _ask_for_records(staged_at, count, arena_at)
        for i in range(count):
            while next_mark <= cursor + i:
                marks[state[MARK]] = state[WRITTEN] + ((target - out_at) >> 2)
                state[MARK] += 1
                next_mark = marks[state[MARK]] if state[MARK] < len(marks) else np.int64(len(ends) + 1)
            end = load32(ends_at + ((cursor + i) << 2))
            row, piece, length = staged_at + _ROW_BYTES * i, base + begin, end - begin
            target_ends = target + to_ends if wants_ends else np.int64(0)
            if is_lone(row):
                target += write_lone(row, piece, begin, target, target_ends, model_at) << 2
                begin = end
                continue
            entry = _find(load_int64(row + 16), load64(row), load64(row + 8))
            number = _recall(entry, piece, length, arena_at, target) if entry != 0 else np.int64(-1)
            missed = number < 0
            if missed or (
                wants_ends and not _ends_from_lengths(begin, end, target, number, target_ends, lengths, known)
            ):
                spare = len(arena) - PADDING - state[ARENA_USED]
                if missed and length <= LONGEST_CACHED and _RECORD_BYTES_PER_BYTE * length + _RECORD_SLACK > spare:
                    status = ARENA_FULL
                    state[CURSOR] = cursor + i
                    break
                number = encode_piece(piece, length, target, target_ends, model_at, scratch)
                if wants_ends:
                    sum_up(begin, number, target_ends)
                if missed and length <= LONGEST_CACHED:
                    _remember(row, piece, length, target, number, arena_at, state)
            target += number << 2
            begin = end
        if status != 0:
            break
        state[CURSOR] = cursor + count
    keep(text), keep(ends), keep(out), keep(table), keep(arena), keep(room), keep(model)
    return (target - out_at) >> 2, status


@njit(cache=True, nogil=True)
def move_entries(table, grown):
    """Puts the entries of a cache table into a larger, empty one."""
    source, target = (address_of(table) + 63) & ~63, (address_of(grown) + 63) & ~63
    bits = bits_of(len(grown) // 2 - 1)
    for number in range(len(table) - 2):
        entry = source + number * _ENTRY_BYTES
        first, second = load64(entry), load64(entry + 8)
        if second != _ZERO:
            key = (second << _SPARE_BITS) >> _SPARE_BITS
            place = _claim(target + (key_bucket(first, key, bits) << _BUCKET_SHIFT))
            for word in range(0, _ENTRY_BYTES, 8):
                store64(place + word, load64(entry + word))
    keep(table), keep(grown)
