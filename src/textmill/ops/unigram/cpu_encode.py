"""The encoding kernel: pieces are cut into words, and a cache of words stands in front of the segmentation.

A piece is what the model sees at once; the running score starts at 0 with it and goes on from word to word, in exactly
the additions of the search over the whole piece. A word whose ids do not depend on the running score, as far as it is
now from 0, comes from the cache; any other is segmented again from the running score (see `cpu_viterbi`).

Words go in blocks, in two loops: cut them, make the keys and ask for the buckets; then copy the ids out or segment. So
no loop waits for memory one word at a time.
"""

import numpy as np
from numba import njit

from textmill.ops.bpe.keys import is_inline, key_bucket, piece_key
from textmill.ops.memory import (
    address_of,
    keep,
    load32,
    load64,
    load_int64,
    prefetch,
    store32,
    store64,
)
from textmill.ops.unigram.cpu_cache import (
    BLANK_FLAG,
    BUCKET_SHIFT,
    IN_ARENA,
    INLINE_IDS,
    find,
    ids_in,
    limit_of,
    record_bytes,
    record_of,
    remember,
)
from textmill.ops.unigram.cpu_cut import (
    BLANK_BYTES,
    CUT_BEFORE_BLANKS,
    has_wide,
    is_blank,
    next_cut,
    pair_cut,
    unknown_run,
)
from textmill.ops.unigram.cpu_emit import (
    AFTER_UNKNOWN,
    ARENA,
    ARENA_BYTES,
    ARENA_FULL,
    ARENA_USED,
    BAD_ENDS,
    BLANK_CUT,
    CROWDED,
    CURSOR,
    DONE,
    INSERTED,
    MARKS,
    MAY_GROW,
    NO_UNKNOWN,
    NODES,
    NODES_NEEDED,
    NODES_SHORT,
    NUM_NODES,
    POSITION,
    RUNNING,
    TABLE,
    TABLE_BITS,
    WRITTEN,
    emit,
    encode_unknown_run,
    running_after,
)
from textmill.ops.unigram.cpu_floats import helper, load_float64, store_float64
from textmill.ops.unigram.cpu_viterbi import (
    CUT,
    KNOWN,
    LENGTHS,
    NODE_BYTES,
    PAIR_BITS,
    PAIRS,
    RAW_BYTES,
    RESET,
    UNKNOWN,
    UNKNOWN_ID,
    most_inside,
    segment,
)
from textmill.ops.unigram.cpu_wide import encode_wide

UNKNOWN_RUN = 0
"""In place of a bucket: the word is a run of unknown characters of three bytes each."""

LONGEST_CACHED = 96
"""Bytes; a longer word is segmented every time."""

_BLOCK = 128
# words of a staged row: two of the key, bucket, where the word begins, its bytes, piece
_ROW_BYTES = 48
_ROW_WORDS = 6


@helper
def _stage(base, ends, num_pieces, model, state, staged):
    """int64: how many words it staged, or -1 if ends do not grow. Moves the state's cursor and position beyond them."""
    cursor, position = load_int64(state + 8 * CURSOR), load_int64(state + 8 * POSITION)
    buckets, bits = load_int64(state + 8 * TABLE), load_int64(state + 8 * TABLE_BITS)
    limit = load32(ends + ((num_pieces - 1) << 2))
    rule, blank_cut = load_int64(model + 8 * CUT), load_int64(state + 8 * BLANK_CUT)
    pairs, pair_bits = load_int64(model + 8 * PAIRS), load_int64(model + 8 * PAIR_BITS)
    known = load_int64(model + 8 * KNOWN)
    count = np.int64(0)
    while count < _BLOCK and cursor < num_pieces:
        end = load32(ends + (cursor << 2))
        if end <= position or end > limit:
            return np.int64(-1)
        word = base + position
        if position >= blank_cut:
            blank_cut = next_cut(word, base + end, rule) - base
        word_end = base + blank_cut
        bucket = np.int64(-1)
        if pairs != 0 and has_wide(word + (BLANK_BYTES if is_blank(word) else 0), word_end):
            unknown_end = unknown_run(word, word_end if count == 0 else min(word + 3, word_end), known)
            # such a run begins what `encode_wide` is for
            if unknown_end > word and count > 0:
                break
            if unknown_end > word:
                word_end, bucket = unknown_end, np.int64(UNKNOWN_RUN)
            else:
                word_end = pair_cut(word, word_end, pairs, pair_bits)
        length = word_end - word
        row = staged + count * _ROW_BYTES
        # most words begin with a blank: a flag instead of its bytes leaves room for longer words in the key
        left_out, flag = np.int64(0), np.uint64(0)
        if rule == CUT_BEFORE_BLANKS and length > BLANK_BYTES and is_blank(word):
            left_out, flag = np.int64(BLANK_BYTES), BLANK_FLAG
        if bucket != UNKNOWN_RUN:
            first, second = piece_key(word + left_out, length - left_out)
            second |= flag
            bucket = buckets + (key_bucket(first, second, bits) << BUCKET_SHIFT)
            prefetch(bucket)
            store64(row, first)
            store64(row + 8, second)
        store64(row + 16, bucket)
        store64(row + 24, position)
        store64(row + 32, length)
        store64(row + 40, cursor)
        count += 1
        position += length
        if position == end:
            cursor += 1
    store64(state + 8 * CURSOR, cursor)
    store64(state + 8 * POSITION, position)
    store64(state + 8 * BLANK_CUT, blank_cut)
    return count


@helper
def _left_out(second):
    """int64: how many bytes at the front of the word its key leaves out."""
    return np.int64(BLANK_BYTES) if (second & BLANK_FLAG) != np.uint64(0) else np.int64(0)


@helper
def _remember_word(base, row, raw, count, limit, model, state):
    """Puts the raw ids of a staged word into the cache."""
    left_out = _left_out(load64(row + 8))
    word, length = base + load_int64(row + 24) + left_out, load_int64(row + 32) - left_out
    # a key that does not hold the word is no proof of it: then its bytes stand in the record
    in_arena = count > INLINE_IDS or not is_inline(load64(row + 8))
    unknown = load_int64(model + 8 * UNKNOWN)
    for i in range(count):
        number = load32(raw + (i << 2))
        in_arena = in_arena or number in (UNKNOWN_ID, unknown)
    arena, used = load_int64(state + 8 * ARENA), load_int64(state + 8 * ARENA_USED)
    taken = remember(row, word, length, raw, count, limit, in_arena, (arena, used))
    store64(state + 8 * ARENA_USED, used + taken)
    store64(state + 8 * INSERTED, load_int64(state + 8 * INSERTED) + 1)


@helper
def _segment_word(base, row, known, model, state):
    """(int64, int64, int64): DONE or why it stopped, how many raw ids it wrote behind the nodes, and 1 where the last
    node has the running score after the word.

    known: whether the cache has the word; otherwise it gets it.
    """
    position, length = load_int64(row + 24), load_int64(row + 32)
    running = load_float64(state + 8 * RUNNING)
    if length >= load_int64(state + 8 * NUM_NODES):
        store64(state + 8 * NODES_NEEDED, length + 1)
        return np.int64(NODES_SHORT), np.int64(0), np.int64(0)
    # where the score may go beyond the reset inside the word, adding up the scores of its ids would not tell its end
    may_reset = most_inside(length, model) > load_float64(model + 8 * RESET)
    to_cache = not known and length <= LONGEST_CACHED and not may_reset
    if to_cache and load_int64(state + 8 * ARENA_USED) + record_bytes(length, length) > load_int64(
        state + 8 * ARENA_BYTES
    ):
        return np.int64(ARENA_FULL), np.int64(0), np.int64(0)
    nodes = load_int64(state + 8 * NODES)
    raw_end = nodes + NODE_BYTES * load_int64(state + 8 * NUM_NODES) + RAW_BYTES * length
    begin_score = 0.0 if to_cache else running
    while True:
        count, limit = segment(base + position, length, begin_score, model, nodes, raw_end)
        if to_cache:
            _remember_word(base, row, raw_end - RAW_BYTES * count, count, limit, model, state)
            to_cache = False
        if begin_score == running or abs(running) <= limit:
            break
        begin_score = running
    return np.int64(DONE), count, np.int64(begin_score == running)


@helper
def _copy_out(entry, number, position, running, model, state, out_and_ends):
    """Writes the ids that stand in the entry itself; none is an unknown character."""
    out, token_ends = out_and_ends
    written = load_int64(state + 8 * WRITTEN)
    target = out + (written << 2)
    store64(target, load64(entry + 16))
    store64(target + 8, load64(entry + 24))
    running = running_after(running, entry + 16, number, model)
    if token_ends != 0:
        lengths = load_int64(model + 8 * LENGTHS)
        for i in range(number):
            position += load32(lengths + (load32(entry + 16 + (i << 2)) << 2))
            store32(token_ends + ((written + i) << 2), position)
    store64(state + 8 * WRITTEN, written + number)
    store64(state + 8 * AFTER_UNKNOWN, np.int64(0))
    store_float64(state + 8 * RUNNING, running)


@helper
def _encode_word(base, row, model, state, out_and_ends):
    """int64: DONE, or why it stopped before this word."""
    running = load_float64(state + 8 * RUNNING)
    if abs(running) > load_float64(model + 8 * RESET):
        running = 0.0
        store_float64(state + 8 * RUNNING, running)
    position, length, second = load_int64(row + 24), load_int64(row + 32), load64(row + 8)
    if load_int64(row + 16) == UNKNOWN_RUN:
        return encode_unknown_run(base, position, length, running, model, state, out_and_ends)
    entry = find(load_int64(row + 16), load64(row), second)
    raw, count, at_node = np.int64(0), np.int64(0), np.int64(0)
    if entry != 0 and (running == 0.0 or abs(running) <= limit_of(entry)):
        number = ids_in(entry)
        if number != IN_ARENA:
            _copy_out(entry, number, position, running, model, state, out_and_ends)
            return np.int64(DONE)
        left_out = _left_out(second)
        # none where another word has the same hash: such a word is segmented every time, from where it stands
        raw, count = record_of(entry, base + position + left_out, length - left_out, load_int64(state + 8 * ARENA))
    nodes = load_int64(state + 8 * NODES)
    if raw == 0:
        status, count, at_node = _segment_word(base, row, entry != 0, model, state)
        if status != DONE:
            return status
        raw = nodes + NODE_BYTES * load_int64(state + 8 * NUM_NODES) + RAW_BYTES * (length - count)
    if emit(raw, count, base, position, position + length, model, state, out_and_ends) < 0:
        return np.int64(NO_UNKNOWN)
    if at_node != 0:
        running = load_float64(nodes + length * NODE_BYTES)
    else:
        running = running_after(running, raw, count, model)
    store_float64(state + 8 * RUNNING, running)
    return np.int64(DONE)


@helper
def _encode_ahead(base, ends, num_pieces, model, state, out_and_ends):
    """Encodes what needs no cache from the middle of a piece on, and moves the state's cursor and position."""
    cursor, position = load_int64(state + 8 * CURSOR), load_int64(state + 8 * POSITION)
    begin = np.int64(0) if cursor == 0 else load32(ends + ((cursor - 1) << 2))
    end = load32(ends + (cursor << 2))
    if begin < position < end <= load32(ends + ((num_pieces - 1) << 2)):
        position = encode_wide(base, position, end, model, state, out_and_ends)
        store64(state + 8 * POSITION, position)
        store64(state + 8 * CURSOR, cursor + np.int64(position == end))


@njit(cache=True, nogil=True)
def encode_block(text, start, ends, out, token_ends, model, state):
    """int64: DONE, or why it stopped; state[CURSOR] and state[POSITION] tell before which word.

    out: int32, one for each byte and four more. token_ends: int32 of the same length for the ends of the tokens, or of
    length 0. model, state: see above and `cpu_viterbi`; the caller holds the arrays whose addresses they name.
    """
    base, ends_at, model_at, state_at = address_of(text) + start, address_of(ends), address_of(model), address_of(state)
    out_and_ends = (address_of(out), address_of(token_ends) if len(token_ends) > 0 else np.int64(0))
    staged = np.empty(_ROW_WORDS * _BLOCK, np.int64)
    staged_at, num_pieces, marks = address_of(staged), len(ends), state[MARKS]
    status = np.int64(DONE)
    while status == DONE and state[CURSOR] < num_pieces:
        # at one word for two buckets, one in seventy finds both entries of its bucket taken
        if state[MAY_GROW] != 0 and 2 * state[INSERTED] > (1 << state[TABLE_BITS]):
            status = np.int64(CROWDED)
            break
        if model[PAIRS] != 0:
            _encode_ahead(base, ends_at, num_pieces, model_at, state_at, out_and_ends)
            if state[CURSOR] == num_pieces:
                break
        count = _stage(base, ends_at, num_pieces, model_at, state_at, staged_at)
        if count < 0:
            status = np.int64(BAD_ENDS)
            break
        for i in range(count):
            row = staged_at + i * _ROW_BYTES
            cursor = load_int64(row + 40)
            piece_begin = np.int64(0) if cursor == 0 else load32(ends_at + ((cursor - 1) << 2))
            if load_int64(row + 24) == piece_begin:
                if marks != 0:
                    store64(marks + (cursor << 3), load_int64(state_at + 8 * WRITTEN))
                store_float64(state_at + 8 * RUNNING, 0.0)
                store64(state_at + 8 * AFTER_UNKNOWN, np.int64(0))
            status = _encode_word(base, row, model_at, state_at, out_and_ends)
            if status != DONE:
                store64(state_at + 8 * CURSOR, cursor)
                store64(state_at + 8 * POSITION, load_int64(row + 24))
                store64(state_at + 8 * BLANK_CUT, np.int64(0))
                break
    keep(text), keep(ends), keep(out), keep(token_ends), keep(model), keep(state), keep(staged)
    return status
