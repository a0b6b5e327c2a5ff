"""The encoding kernel: a cache of pieces in front of the merging.

The cache is a table of 64-byte buckets, two entries each: the 16-byte key of the piece, with the number of its ids in
the key's spare half byte, and up to four ids. Longer results, and every piece over 15 bytes, have a record in an arena
instead: the bytes of the piece (compared in full before a hit counts), then the ids.

A long piece that begins with a wide character (see `cpu_characters`) gets its record when it is met the second time. In
text without blanks most never come again, and merging them takes less time than making a record.

Pieces go in blocks, in three loops: make the keys and ask for the buckets; ask for the records of long pieces; copy the
ids out. So no loop waits for memory one piece at a time. The last loop looks at the first entry of a bucket alone. Most
pieces are found there, because one that is found in the second entry changes places with the first. That, records and
merging stand in a function of their own, so that the loop keeps all it needs in registers.

Where documents end is told by `marks`: piece numbers, not decreasing. The kernel writes how many ids stand before each.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_count import copy_words
from textmill.ops.bpe.cpu_merge import MERGED_WIDE, SCRATCH
from textmill.ops.bpe.cpu_piece import FIRST_WIDE, encode_piece, merge_piece
from textmill.ops.bpe.keys import (
    INLINE_BYTES,
    KEY_MASKS,
    fill_key_masks,
    helper,
    inline_key,
    inlined,
    is_inline,
    key_bucket,
    piece_key,
)
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
    prefetch,
    store8,
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
_MOST_INLINE = np.uint64(INLINE_IDS)
_IN_ARENA = np.uint64(15)
_EVICTION = 8
"""An entry that took another's place counts as so many: where pieces drive each other out, the table grows early."""
LONGEST_CACHED = 1024
"""Bytes; a longer piece is merged every time."""

# words of the state vector: the next piece and mark, ids written, entries and arena bytes used, entries that crowd it;
# how many long pieces were met once, and from MET on one bit for each value of their hash
CURSOR, MARK, WRITTEN, INSERTED, ARENA_USED, MOST_INSERTED, NUM_MET, MET = range(8)
_MET_BITS = 20
_MOST_MET = 1 << (_MET_BITS - 2)
STATE_WORDS = MET + (1 << (_MET_BITS - 6))

# what encode_block returns: all done, or why it stopped
DONE, CROWDED, ARENA_FULL, BAD_ENDS, OUT_FULL = range(5)
OUT_SLACK = 16
"""Ids that `out` must hold beyond one for each byte: the kernel stores four at a time."""

_BLOCK = 128
_ROW_BYTES = 24
_CONTEXT_WORDS = 7
# the ids of a block's pieces may each need a record: bytes rounded up, and four bytes an id
RECORD_BYTES_PER_BYTE = 5
RECORD_SLACK = 16


@helper
def _grow(ends):
    """bool: whether the ends grow from piece to piece, the first of them from 0."""
    bad = np.int32(len(ends) > 0 and ends[0] <= 0)
    for i in range(1, len(ends)):
        bad |= np.int32(ends[i] <= ends[i - 1])
    return bad == 0


@inlined
def _stage_keys(base, begin, ends, count, buckets, bits, masks, staged, long_rows):
    """int64: how many pieces have no inline key. Row i of staged: two key words, bucket.

    masks: see `fill_key_masks`. long_rows: int64, receives the addresses of the rows without an inline key.
    """
    num_long, row = np.int64(0), staged
    for i in range(count):
        end = load32(ends + (i << 2))
        length = end - begin
        if length <= INLINE_BYTES:
            first, second = inline_key(base + begin, length, masks)
        else:
            first, second = piece_key(base + begin, length)
            store64(long_rows + (num_long << 3), row)
            num_long += 1
        bucket = buckets + (key_bucket(first, second, bits) << _BUCKET_SHIFT)
        prefetch(bucket)
        store64(row, first)
        store64(row + 8, second)
        store64(row + 16, bucket)
        row += _ROW_BYTES
        begin = end
    return num_long


@inlined
def _differs(entry, first, second):
    """uint64: 0 if the entry has this key. Shifting the spare bits out leaves the key proper."""
    return (load64(entry) ^ first) | ((load64(entry + 8) ^ second) << _SPARE_BITS)


@inlined
def _ids_if_equal(held, second):
    """uint64: the number of ids that an entry tells, if its second key word is this one; else more than 15."""
    differing = held ^ second
    return (differing << _SPARE_BITS) | (differing >> _IDS_SHIFT)


@inlined
def _find(bucket, first, second):
    """int64: the address of the entry with this key, or 0."""
    if _differs(bucket, first, second) == _ZERO:
        return bucket
    other = bucket + _ENTRY_BYTES
    return other if _differs(other, first, second) == _ZERO else np.int64(0)


@inlined
def _ask_for_records(long_rows, count, arena):
    for i in range(count):
        row = load_int64(long_rows + (i << 3))
        entry = _find(load_int64(row + 16), load64(row), load64(row + 8))
        if entry != 0:
            record = arena + load_int64(entry + 16)
            prefetch(record)
            prefetch(record + 64)


@inlined
def _copy_record(entry, piece, length, arena, out):
    """int64: how many ids the record of this entry gave, or 0 if it belongs to other bytes with the same hash."""
    record = arena + load_int64(entry + 16)
    if is_inline(load64(entry + 8)):
        ids = record
    elif equal_span(record, piece, length):
        ids = record + ((length + 7) & ~7)
    else:
        return np.int64(0)
    count = load_int64(entry + 24)
    for i in range(0, count, 2):
        store64(out + (i << 2), load64(ids + (i << 2)))
    return count


@inlined
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


@inlined
def _remember(row, piece, length, ids, count, arena, state):
    """Puts the ids of a piece into the cache. state: the address of the state vector."""
    first, second, bucket = load64(row), load64(row + 8), load_int64(row + 16)
    evicts = (load64(bucket + 8) != _ZERO) & (load64(bucket + _ENTRY_BYTES + 8) != _ZERO)
    store64(state + (INSERTED << 3), load_int64(state + (INSERTED << 3)) + (_EVICTION if evicts else 1))
    entry = _claim(bucket)
    store64(entry, first)
    if count <= INLINE_IDS and is_inline(second):
        store64(entry + 8, second | (np.uint64(count) << _IDS_SHIFT))
        store64(entry + 16, load64(ids))
        store64(entry + 24, load64(ids + 8))
    else:
        used = load_int64(state + (ARENA_USED << 3))
        record = arena + used
        store64(entry + 8, second | (_IN_ARENA << _IDS_SHIFT))
        store64(entry + 16, used)
        store64(entry + 24, count)
        if not is_inline(second):
            copy_words(piece, record, length)
            record += (length + 7) & ~7
        copy_words(ids, record, count << 2)
        store64(state + (ARENA_USED << 3), (record + (count << 2) - arena + 7) & ~7)


@inlined
def _room_needed(bytes_of_block, count):
    return RECORD_BYTES_PER_BYTE * bytes_of_block + RECORD_SLACK * count


@helper
def _met_before(hashed, state):
    """bool: whether a long piece with this hash was met before; from now on it was. All is forgotten at times."""
    place = np.int64(hashed) & ((1 << _MET_BITS) - 1)
    at, bit = state + (MET << 3) + (place >> 3), 1 << (place & 7)
    if load8(at) & bit != 0:
        return True
    number = load_int64(state + (NUM_MET << 3)) + 1
    if number > _MOST_MET:
        number = np.int64(1)
        for word in range(MET, STATE_WORDS):
            store64(state + (word << 3), np.int64(0))
    store64(state + (NUM_MET << 3), number)
    store8(at, load8(at) | bit)
    return False


@inlined
def _swap_entries(bucket):
    for word in range(bucket, bucket + _ENTRY_BYTES, 8):
        kept = load64(word)
        store64(word, load64(word + _ENTRY_BYTES))
        store64(word + _ENTRY_BYTES, kept)


@helper
def _encode_rarer(row, place, out, context):
    """int64: how many ids piece number `place` became, or 0 if the arena has no room to remember them.

    row: its staged row. context: the address of the words that `encode_block` fills.
    """
    base, ends, arena = load_int64(context), load_int64(context + 8), load_int64(context + 16)
    arena_bytes, state = load_int64(context + 24), load_int64(context + 32)
    model, scratch = load_int64(context + 40), load_int64(context + 48)
    begin = np.int64(0) if place == 0 else load32(ends + ((place - 1) << 2))
    piece, length = base + begin, load32(ends + (place << 2)) - begin
    bucket = load_int64(row + 16)
    entry = _find(bucket, load64(row), load64(row + 8))
    if entry > bucket:
        _swap_entries(bucket)
    if entry != 0:
        number = np.int64(load64(bucket + 8) >> _IDS_SHIFT)
        if number <= INLINE_IDS:
            store64(out, load64(bucket + 16))
            store64(out + 8, load64(bucket + 24))
            return number
        number = _copy_record(bucket, piece, length, arena, out)
        if number > 0:
            return number
    if length > LONGEST_CACHED:
        return encode_piece(piece, length, out, model, scratch)
    if (length > INLINE_BYTES) & (load8(piece) >= FIRST_WIDE) and not _met_before(load64(row), state):
        if load_int64(model + 8 * MERGED_WIDE) != 0:
            return merge_piece(piece, length, out, model, scratch)
        return encode_piece(piece, length, out, model, scratch)
    if _room_needed(length, 1) > arena_bytes - load_int64(state + (ARENA_USED << 3)):
        return np.int64(0)
    number = encode_piece(piece, length, out, model, scratch)
    _remember(row, piece, length, out, number, arena, state)
    return number


@njit(cache=True, nogil=True)
def encode_block(text, start, ends, marks, mark_ids, out, table, arena, model, state):
    """int64: DONE, or why it stopped. Goes on at piece state[CURSOR] and id state[WRITTEN], and moves both.

    It needs room in `out` (int32) for an id for each byte of the next block, and OUT_SLACK more; else OUT_FULL.
    mark_ids: int64, ids before each mark. model: see `cpu_merge`; the caller holds the arrays it names.
    """
    if not _grow(ends):
        return np.int64(BAD_ENDS)
    base, ends_at, out_at = address_of(text) + start, address_of(ends), address_of(out)
    buckets, arena_at, state_at = (address_of(table) + 63) & ~63, address_of(arena), address_of(state)
    staged, long_rows, scratch = np.empty(3 * _BLOCK, np.int64), np.empty(_BLOCK, np.int64), np.empty(SCRATCH, np.int64)
    masks, context = np.empty(KEY_MASKS, np.uint64), np.empty(_CONTEXT_WORDS, np.int64)
    fill_key_masks(masks)
    staged_at, long_at, masks_at, context_at = (
        address_of(staged),
        address_of(long_rows),
        address_of(masks),
        address_of(context),
    )
    context[0], context[1], context[2], context[3] = base, ends_at, arena_at, len(arena) - PADDING
    context[4], context[5], context[6] = state_at, address_of(model), address_of(scratch)
    bits, status = bits_of(np.int64(len(table) // 2 - 1)), np.int64(DONE)
    target, out_end = out_at + (state[WRITTEN] << 2), out_at + (len(out) << 2)
    cursor, mark, num_ends = state[CURSOR], state[MARK], np.int64(len(ends))
    next_mark = marks[mark] if mark < len(marks) else num_ends
    while cursor < num_ends:
        count = min(np.int64(_BLOCK), num_ends - cursor)
        begin = np.int64(0) if cursor == 0 else load32(ends_at + ((cursor - 1) << 2))
        if state[INSERTED] > state[MOST_INSERTED]:
            status = np.int64(CROWDED)
            break
        if ((load32(ends_at + ((cursor + count - 1) << 2)) - begin + OUT_SLACK) << 2) > out_end - target:
            status = np.int64(OUT_FULL)
            break
        num_long = _stage_keys(base, begin, ends_at + (cursor << 2), count, buckets, bits, masks_at, staged_at, long_at)
        _ask_for_records(long_at, num_long, arena_at)
        row, after = staged_at, cursor + count
        while cursor < after and status == DONE:
            while next_mark <= cursor:
                mark_ids[mark] = (target - out_at) >> 2
                mark += 1
                next_mark = marks[mark] if mark < len(marks) else num_ends
            # a document's end is looked for once, not at every piece
            first_row, last_row = row, row + (min(after, next_mark) - cursor) * _ROW_BYTES
            while row < last_row:
                entry = load_int64(row + 16)
                number = _ids_if_equal(load64(entry + 8), load64(row + 8))
                if (load64(entry) == load64(row)) & (number <= _MOST_INLINE):
                    store64(target, load64(entry + 16))
                    store64(target + 8, load64(entry + 24))
                    target += np.int64(number) << 2
                else:
                    rarer = _encode_rarer(row, cursor + (row - first_row) // _ROW_BYTES, target, context_at)
                    if rarer == 0:
                        status = np.int64(ARENA_FULL)
                        break
                    target += rarer << 2
                row += _ROW_BYTES
            cursor += (row - first_row) // _ROW_BYTES
        if status != DONE:
            break
    while status == DONE and mark < len(marks):
        mark_ids[mark] = (target - out_at) >> 2
        mark += 1
    state[CURSOR], state[MARK], state[WRITTEN] = cursor, mark, (target - out_at) >> 2
    keep(text), keep(ends), keep(out), keep(table), keep(arena), keep(staged), keep(context)
    keep(long_rows), keep(scratch), keep(masks), keep(model), keep(state)
    return status


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
