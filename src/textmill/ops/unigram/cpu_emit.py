"""From raw ids to ids: unknown characters in a row become one id, or their bytes; and the running score after them."""

import numpy as np

from textmill.ops.memory import load8, load32, load_int64, store32, store64
from textmill.ops.unigram.cpu_floats import exponent_of, helper, load_float64, store_float64
from textmill.ops.unigram.cpu_trie import character_width
from textmill.ops.unigram.cpu_viterbi import (
    BYTE_IDS,
    LENGTHS,
    RESET,
    SCORES,
    SINGLE,
    UNKNOWN,
    UNKNOWN_ID,
    UNKNOWN_SCORE,
)

# words of the state vector. The first five tell where encoding goes on: piece, byte from `start`, ids written, running
# score (bits of a float64), whether the last id is an unknown one of the same piece
(
    CURSOR,
    POSITION,
    WRITTEN,
    RUNNING,
    AFTER_UNKNOWN,
    INSERTED,
    MAY_GROW,
    ARENA_USED,
    TABLE,
    TABLE_BITS,
    ARENA,
    ARENA_BYTES,
    NODES,
    NUM_NODES,
    NODES_NEEDED,
    BLANK_CUT,
    MARKS,
) = range(17)
"""BLANK_CUT: up to where there is no cut at blanks, in bytes from `start`. MARKS: the address of an int64 for each
piece, for the number of ids before it, or 0."""
STATE_WORDS = 17

# what encode_block returns
DONE, CROWDED, ARENA_FULL, BAD_ENDS, NODES_SHORT, NO_UNKNOWN = range(6)


_STEPS = 64


@helper
def _score_of(model, scores, raw_id):
    return load_float64(model + 8 * UNKNOWN_SCORE) if raw_id == UNKNOWN_ID else load_float64(scores + (raw_id << 3))


@helper
def running_after(running, ids, count, model):
    """float64: the running score after `count` more raw ids at an address, added one by one."""
    scores = load_int64(model + 8 * SCORES)
    if load_int64(model + 8 * SINGLE) == 0:
        for i in range(count):
            running += _score_of(model, scores, load32(ids + (i << 2)))
        return running
    # all terms are numbers of 32 bits, so adding such numbers gives the same, in a third of the time
    total = np.float32(running)
    for i in range(count):
        total += np.float32(_score_of(model, scores, load32(ids + (i << 2))))
    return np.float64(total)


@helper
def _has_bytes(piece, length, byte_ids):
    """bool: whether every byte has an id of its own."""
    missing = np.int64(0)
    for i in range(length):
        missing |= load32(byte_ids + (load8(piece + i) << 2))
    # an id that is missing is -1, which sets the sign
    return missing >= 0


@helper
def emit(raw, count, base, position, end, model, state, out_and_ends):
    """int64: how many ids are written now, or -1 where an unknown character can become nothing.

    Turns the raw ids of the word base + position .. base + end into ids after the WRITTEN ones: unknown characters in a
    row become one unknown id, also from word to word, or their bytes.
    """
    out, token_ends = out_and_ends
    byte_ids, unknown = load_int64(model + 8 * BYTE_IDS), load_int64(model + 8 * UNKNOWN)
    lengths = load_int64(model + 8 * LENGTHS)
    written, after_unknown = load_int64(state + 8 * WRITTEN), load_int64(state + 8 * AFTER_UNKNOWN)
    i = np.int64(0)
    while i < count:
        number = load32(raw + (i << 2))
        if number != UNKNOWN_ID and number != unknown:
            position += load32(lengths + (number << 2))
            store32(out + (written << 2), number)
            if token_ends != 0:
                store32(token_ends + (written << 2), position)
            written += 1
            after_unknown = np.int64(0)
            i += 1
            continue
        run, num_run, spelled = position, np.int64(0), number != UNKNOWN_ID
        while i < count and number in (UNKNOWN_ID, unknown):
            if number == UNKNOWN_ID:
                position += character_width(base + position, end - position)
            else:
                position += load32(lengths + (number << 2))
            num_run += 1
            i += 1
            number = load32(raw + (i << 2)) if i < count else np.int64(0)
        lone = spelled and num_run == 1 and after_unknown == 0
        if byte_ids != 0 and not lone and _has_bytes(base + run, position - run, byte_ids):
            for k in range(run, position):
                store32(out + (written << 2), load32(byte_ids + (load8(base + k) << 2)))
                if token_ends != 0:
                    store32(token_ends + (written << 2), k + 1)
                written += 1
            after_unknown = np.int64(0)
            continue
        if unknown < 0:
            return np.int64(-1)
        if after_unknown == 0:
            store32(out + (written << 2), unknown)
            written += 1
        if token_ends != 0:
            store32(token_ends + ((written - 1) << 2), position)
        after_unknown = np.int64(1)
    store64(state + 8 * WRITTEN, written)
    store64(state + 8 * AFTER_UNKNOWN, after_unknown)
    return written


@helper
def added_repeatedly(total, term, count, most):
    """float64: `total` after `count` additions of `term`, each rounded to float32; from 0 where it is beyond `most`.

    Between two powers of 2 the numbers of 32 bits are equally far apart, so every addition of the same term adds the
    same, once a tie has been rounded to an even number. Then one product replaces the additions: it is exact in 64
    bits.
    """
    now, term_32, most_32 = np.float32(total), np.float32(term), np.float32(most)
    while count > 0:
        steps = min(count, _STEPS)
        first = now + term_32
        second = first + term_32
        last = np.float64(second) + (steps - 2) * np.float64((second + term_32) - second)
        count -= steps
        # all sums lie between the first and the last, since both have the sign of the term
        same = first * term_32 > 0.0 and exponent_of(first) == exponent_of(last)
        if steps > 2 and same and abs(now) <= most_32 and abs(last) <= most:
            now = np.float32(last)
            continue
        for _ in range(steps):
            if abs(now) > most_32:
                now = np.float32(0.0)
            now += term_32
    return np.float64(now)


@helper
def encode_unknown_run(base, position, length, running, model, state, out_and_ends):
    """int64: DONE, or NO_UNKNOWN. As `emit`, for characters of three bytes that are all unknown."""
    out, token_ends = out_and_ends
    byte_ids, unknown = load_int64(model + 8 * BYTE_IDS), load_int64(model + 8 * UNKNOWN)
    written = load_int64(state + 8 * WRITTEN)
    score, reset = load_float64(model + 8 * UNKNOWN_SCORE), load_float64(model + 8 * RESET)
    if load_int64(model + 8 * SINGLE) == 0:
        for _ in range(0, length, 3):
            running += score
    else:
        running = added_repeatedly(running, score, length // 3, reset)
    store_float64(state + 8 * RUNNING, running)
    if byte_ids != 0:
        for k in range(length):
            store32(out + ((written + k) << 2), load32(byte_ids + (load8(base + position + k) << 2)))
            if token_ends != 0:
                store32(token_ends + ((written + k) << 2), position + k + 1)
        store64(state + 8 * WRITTEN, written + length)
        store64(state + 8 * AFTER_UNKNOWN, np.int64(0))
        return np.int64(DONE)
    if unknown < 0:
        return np.int64(NO_UNKNOWN)
    if load_int64(state + 8 * AFTER_UNKNOWN) == 0:
        store32(out + (written << 2), unknown)
        written += 1
        store64(state + 8 * WRITTEN, written)
        store64(state + 8 * AFTER_UNKNOWN, np.int64(1))
    if token_ends != 0:
        store32(token_ends + ((written - 1) << 2), position + length)
    return np.int64(DONE)
