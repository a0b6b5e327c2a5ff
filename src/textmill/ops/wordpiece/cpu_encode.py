"""The encoding kernel: raw text, or words that are normalised already, to token ids, with a cache of words in front.

The cache is a table of 64-byte buckets, two entries each: the 16-byte key of the word's bytes as they stand in the text
(see `ops.bpe.keys`), with the number of its ids in the key's spare half byte, and up to four ids. Words of more than 15
bytes or four ids are matched every time, which the trie does at about the same speed as a cache in memory.

Words go in blocks, in two loops: find the words, make their keys and ask for the buckets; copy the ids out, or
normalise and match. So no word waits for memory alone. In raw text, most words are ASCII letters and digits, whose end
shows in eight bytes at a time; other code points go through the table of entries, one by one.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.keys import INLINE_BYTES, key_bucket, piece_key
from textmill.ops.memory import (
    address_of,
    bits_of,
    count_trailing_zeros,
    keep,
    load8,
    load32,
    load64,
    load_int64,
    prefetch,
    store32,
    store64,
)
from textmill.ops.wordpiece import cpu_match as trie
from textmill.ops.wordpiece import cpu_normalise as n
from textmill.ops.wordpiece import tables as t
from textmill.ops.wordpiece.cpu_match import helper

# words of an entry: key, key with number of ids, two ids, two ids
ENTRY_WORDS = 4
_BUCKET_SHIFT = 6
BUCKET_BYTES = 1 << _BUCKET_SHIFT
_ENTRY_BYTES = 32
_IDS_SHIFT = np.uint64(60)
_SPARE_BITS = np.uint64(4)
_ZERO = np.uint64(0)
_INLINE_IDS = 4

# words of the state vector; CURSOR: bytes of raw text, or pieces, that are done
CURSOR, INSERTED, MAY_GROW, THRESHOLD, SEED = range(5)
STATE_WORDS = 5

# why encode_block stopped
FINISHED, CROWDED, OUT_FULL, BAD_ENDS = 0, -1, -2, -3

BLOCK = 256
"""Words at a time."""
_ROW_BYTES = 40
# flags of a word
_ALONE, _PLAIN, _HARD = 1, 2, 4
_FLAG_BITS = 3

_TOP_BITS = np.uint64(0x8080808080808080)
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_CASE_BITS = np.uint64(0x2020202020202020)
# added to seven low bits, each raises the top bit of a byte from the named character on
_FROM_LOWER_A = np.uint64(0x1F1F1F1F1F1F1F1F)
_AFTER_LOWER_Z = np.uint64(0x0505050505050505)
_FROM_0 = np.uint64(0x5050505050505050)
_AFTER_9 = np.uint64(0x4646464646464646)


@njit(forceinline=True)
def _leading_alphanumeric(word):
    """int64 in 0..8: how many of the first bytes are ASCII letters and digits."""
    low = word & _LOW_BITS
    folded = low | _CASE_BITS
    letters = (folded + _FROM_LOWER_A) & ~(folded + _AFTER_LOWER_Z)
    digits = (low + _FROM_0) & ~(low + _AFTER_9)
    return count_trailing_zeros(~((letters | digits) & ~word) & _TOP_BITS) >> 3


@njit(forceinline=True)
def _stage(row, begin, length, flags, buckets, bits):
    """Writes a word's row: address, length with flags, two key words, and its bucket or 0 if it is never cached."""
    store64(row, begin)
    store64(row + 8, (length << _FLAG_BITS) | flags)
    bucket = np.int64(0)
    if length <= INLINE_BYTES and flags & _HARD == 0:
        first, second = piece_key(begin, length)
        bucket = buckets + (key_bucket(first, second, bits) << _BUCKET_SHIFT)
        prefetch(bucket)
        store64(row + 16, first)
        store64(row + 24, second)
    store64(row + 32, bucket)


@njit(forceinline=True)
def _stage_pieces(base, begin, limit, ends, count, buckets, bits, staged):
    """int64: where the last piece ends, or -1 if ends do not grow."""
    for i in range(count):
        end = load32(ends + (i << 2))
        if end <= begin or end > limit:
            return np.int64(-1)
        _stage(staged + _ROW_BYTES * i, base + begin, end - begin, np.int64(_PLAIN), buckets, bits)
        begin = end
    return begin


@njit(forceinline=True)
def _end_of_word(at, stop, entries):
    """(address, flags) after the symbols that belong to the word that begins at `at`."""
    flags = np.int64(_PLAIN)
    if load8(at) < 0x80:
        while at < stop:
            run = _leading_alphanumeric(load64(at))
            at += run
            if run < 8:
                break
        if at >= stop:
            return stop, flags
        lead = load8(at)
        if lead < 0x80 and load32(entries + (lead << 2)) & t.KIND_MASK > t.DROPPED:
            return at, flags
    flags = np.int64(0)
    while at < stop:
        symbol = n.symbol_at(at, stop)
        entry = n.entry_of(symbol, entries)
        if entry & t.KIND_MASK > t.DROPPED:
            break
        flags |= entry & t.HARD
        at += symbol & 7
    return at, flags


@njit(forceinline=True)
def _stage_text(at, stop, entries, buckets, bits, longest, staged):
    """(words, address after them, most ids that they can become)."""
    count = room = np.int64(0)
    while count < BLOCK and at < stop:
        symbol = n.symbol_at(at, stop)
        entry = n.entry_of(symbol, entries)
        kind = entry & t.KIND_MASK
        row = staged + _ROW_BYTES * count
        if kind == t.LETTER:
            end, flags = _end_of_word(at, stop, entries)
            _stage(row, at, end - at, flags, buckets, bits)
            room += min(end - at, longest)
            count += 1
            at = end
        else:
            if kind == t.ALONE:
                store64(row, at)
                store64(row + 8, ((symbol & 7) << _FLAG_BITS) | _ALONE)
                store64(row + 16, entry >> t.PAYLOAD_SHIFT)
                room += 1
                count += 1
            at += symbol & 7
    return count, at, room


@njit(forceinline=True)
def _copy_cached(bucket, first, second, target):
    """int64: how many ids the entry with this key gave, or 0 if there is none.

    Shifting the spare bits out leaves the key proper.
    """
    entry = bucket
    if load64(entry) != first or ((load64(entry + 8) ^ second) << _SPARE_BITS) != _ZERO:
        entry = bucket + _ENTRY_BYTES
        if load64(entry) != first or ((load64(entry + 8) ^ second) << _SPARE_BITS) != _ZERO:
            return np.int64(0)
    store64(target, load64(entry + 16))
    store64(target + 8, load64(entry + 24))
    return np.int64(load64(entry + 8) >> _IDS_SHIFT)


@helper
def _remember(row, ids, count):
    """Puts the ids of a word into the cache: into a free entry, or the first, whose content moves to the second."""
    bucket = load_int64(row + 32)
    entry = bucket
    if load64(bucket + 8) != _ZERO:
        other = bucket + _ENTRY_BYTES
        if load64(other + 8) == _ZERO:
            entry = other
        else:
            for word in range(0, _ENTRY_BYTES, 8):
                store64(other + word, load64(bucket + word))
    store64(entry, load64(row + 16))
    store64(entry + 8, load64(row + 24) | (np.uint64(count) << _IDS_SHIFT))
    store64(entry + 16, load64(ids))
    store64(entry + 24, load64(ids + 8))


@helper
def _match_word(begin, length, flags, target, base, threshold, seed, scratch, model):
    """int64: how many ids a word becomes; 0 if nothing of it stays."""
    longest, place = n.word_of(model, n.LONGEST), begin - base
    if n.word_of(model, n.ENTRIES) == 0:
        word, size, too_long = begin, length, trie.has_more_characters(begin, length, longest)
    else:
        size, chars = n.normalise(begin, begin + length, flags & _HARD, np.int64(0), scratch, model)
        if chars == 0:
            return np.int64(0)
        word, too_long = n.normalised_bytes(scratch), chars > longest
        place = n.byte_start(scratch, n.word_of(model, n.CAPACITY), 0) - base
    count = np.int64(0)
    if not too_long:
        edges, bits = n.word_of(model, n.EDGES), n.word_of(model, n.EDGE_BITS)
        count = trie.match(word, size, target, edges, bits, threshold, seed, place)
    if count == 0:
        store32(target, n.word_of(model, n.UNKNOWN))
        count = np.int64(1)
    return count


@helper
def _write_plain_spans(begin, ids, count, starts, ends, model):
    """Spans of the tokens of a word whose normalised bytes are as long as its own."""
    lengths, prefix_bytes = n.word_of(model, n.LENGTHS), n.word_of(model, n.PREFIX_BYTES)
    for i in range(count):
        store64(starts + (i << 3), begin)
        begin += trie.token_bytes(lengths, load32(ids + (i << 2)), i > 0, prefix_bytes)
        store64(ends + (i << 3), begin)


@helper
def _write_mapped_spans(begin, length, flags, ids, count, base, starts, ends, scratch, model):
    """Spans of the tokens of any word: those of the characters that its normalised bytes belong to."""
    n.normalise(begin, begin + length, flags & _HARD, np.int64(1), scratch, model)
    lengths, prefix_bytes = n.word_of(model, n.LENGTHS), n.word_of(model, n.PREFIX_BYTES)
    capacity, place = n.word_of(model, n.CAPACITY), np.int64(0)
    for i in range(count):
        start, end = n.byte_start(scratch, capacity, place), load_int64(scratch)
        if count > 1:
            place += trie.token_bytes(lengths, load32(ids + (i << 2)), i > 0, prefix_bytes)
            end = n.byte_end(scratch, capacity, place - 1)
        store64(starts + (i << 3), start - base)
        store64(ends + (i << 3), end - base)


@njit(forceinline=True)
def _write_spans(begin, length, flags, ids, count, base, starts, ends, scratch, model):
    """The span of each token of a word, in bytes counted from `base`."""
    if flags & (_PLAIN | _ALONE) == 0:
        _write_mapped_spans(begin, length, flags, ids, count, base, starts, ends, scratch, model)
    elif count == 1:
        # it may be the unknown token, whose own length says nothing
        store64(starts, begin - base)
        store64(ends, begin - base + length)
    else:
        _write_plain_spans(begin - base, ids, count, starts, ends, model)


@njit(cache=True, nogil=True)
def encode_block(text, start, stop, ends, out, span_starts, span_ends, table, scratch, model, state):
    """(int64, int64): how many ids it wrote, and why it stopped. Starts at state[CURSOR] and moves it.

    ends: int32, where pieces end that are words as they stand, or empty: raw text up to `stop`. out: int32, room for 16
    more than is needed. span_starts, span_ends: int64, as many, or empty: the bytes [start, end) of the text that each
    token stands for, counted from `start`. model: see `cpu_normalise`; the caller holds its arrays.
    """
    base, out_at = address_of(text) + start, address_of(out)
    starts_at, ends_at = address_of(span_starts), address_of(span_ends)
    model_at, scratch_at = address_of(model), address_of(scratch)
    buckets = (address_of(table) + 63) & ~63
    staged = np.empty(BLOCK * _ROW_BYTES // 8, np.int64)
    staged_at = address_of(staged)
    num_buckets = len(table) // 2 - 1
    bits = bits_of(num_buckets)
    entries, longest = n.word_of(model_at, n.ENTRIES), n.word_of(model_at, n.LONGEST)
    threshold, seed, has_spans = state[THRESHOLD], state[SEED], len(span_starts) > 0
    limit = np.int64(ends[-1]) if len(ends) > 0 else np.int64(stop - start)
    target, status = out_at, FINISHED
    while True:
        cursor = state[CURSOR]
        if entries == 0:
            count = min(np.int64(BLOCK), len(ends) - cursor)
            begin = np.int64(ends[cursor - 1]) if cursor > 0 else np.int64(0)
            end = _stage_pieces(base, begin, limit, address_of(ends) + (cursor << 2), count, buckets, bits, staged_at)
            if end < 0:
                status = BAD_ENDS
                break
            following, room = cursor + count, end - begin
        else:
            count, at, room = _stage_text(base + cursor, base + limit, entries, buckets, bits, longest, staged_at)
            following = at - base
        if ((target - out_at) >> 2) + room + 16 > len(out):
            status = OUT_FULL
            break
        if state[MAY_GROW] != 0 and state[INSERTED] > num_buckets:
            status = CROWDED
            break
        for i in range(count):
            row = staged_at + _ROW_BYTES * i
            begin, flags = load_int64(row), load_int64(row + 8)
            length = flags >> _FLAG_BITS
            number = np.int64(0)
            if flags & _ALONE:
                store32(target, load_int64(row + 16))
                number = np.int64(1)
            else:
                bucket = load_int64(row + 32)
                if bucket != 0 and threshold == 0:
                    number = _copy_cached(bucket, load64(row + 16), load64(row + 24), target)
                if number == 0:
                    number = _match_word(begin, length, flags, target, base, threshold, seed, scratch_at, model_at)
                    if bucket != 0 and threshold == 0 and 0 < number <= _INLINE_IDS:
                        _remember(row, target, number)
                        state[INSERTED] += 1
            if has_spans:
                place = (target - out_at) << 1
                _write_spans(
                    begin, length, flags, target, number, base, starts_at + place, ends_at + place, scratch_at, model_at
                )
            target += number << 2
        state[CURSOR] = following
        if count == 0:
            break
    keep(text), keep(ends), keep(out), keep(span_starts), keep(span_ends), keep(table)
    keep(scratch), keep(model), keep(staged)
    return (target - out_at) >> 2, status
