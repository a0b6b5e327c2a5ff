"""Stretches of text whose ids are known character by character: unknown ones of three bytes, and others that no piece
joins with what follows. Neither the cache of words nor the search is needed for them.

That is most of a text in a script that the vocabulary does not know.
"""

import numpy as np

from textmill.ops.bpe.keys import helper as function
from textmill.ops.memory import load8, load32, load_int64, store32, store64
from textmill.ops.unigram.cpu_cut import FIRST_WIDE, is_known, may_be_joined, unknown_run, wide_or_ascii
from textmill.ops.unigram.cpu_emit import AFTER_UNKNOWN, RUNNING, WRITTEN, added_repeatedly
from textmill.ops.unigram.cpu_floats import helper, load_float64, rounded, store_float64
from textmill.ops.unigram.cpu_trie import NO_NODE, base_of, child, piece_of
from textmill.ops.unigram.cpu_viterbi import (
    BYTE_IDS,
    CELLS,
    CHARACTERS,
    KNOWN,
    PAIR_BITS,
    PAIRS,
    RESET,
    SCORES,
    SINGLE,
    UNKNOWN,
    UNKNOWN_ID,
    UNKNOWN_SCORE,
)


@helper
def _lone_character(at, end, model):
    """(int64, int64): the id and the bytes of the character at the address, if it is a piece, and no piece joins it
    with the next one; otherwise UNKNOWN_ID and anything."""
    code = wide_or_ascii(at, end)
    if code < 0:
        return np.int64(UNKNOWN_ID), np.int64(0)
    width = np.int64(3 if code >= FIRST_WIDE else 1)
    if at + width < end:
        following = wide_or_ascii(at + width, end)
        if following < 0 or (code < FIRST_WIDE and following < FIRST_WIDE):
            return np.int64(UNKNOWN_ID), width
        if is_known(following, load_int64(model + 8 * KNOWN)) and may_be_joined(
            code, following, load_int64(model + 8 * PAIRS), load_int64(model + 8 * PAIR_BITS)
        ):
            return np.int64(UNKNOWN_ID), width
    cells = load_int64(model + 8 * CELLS)
    if code >= FIRST_WIDE:
        node = load32(load_int64(model + 8 * CHARACTERS) + (code << 2))
    else:
        node = child(cells, np.int64(0), base_of(cells, np.int64(0)), code)
    if node == NO_NODE:
        return np.int64(UNKNOWN_ID), width
    number = piece_of(cells, node)
    return np.int64(UNKNOWN_ID) if number == load_int64(model + 8 * UNKNOWN) else number, width


@helper
def _emit_run(base, position, run_end, written, after_unknown, byte_ids, unknown, out_and_ends):
    """int64: how many ids are written after those of a run of unknown characters."""
    out, token_ends = out_and_ends
    if byte_ids != 0:
        for k in range(position, run_end):
            store32(out + (written << 2), load32(byte_ids + (load8(base + k) << 2)))
            if token_ends != 0:
                store32(token_ends + (written << 2), k + 1)
            written += 1
        return written
    # they join the unknown ones before them
    store32(out + (written << 2), unknown)
    written += 1 - after_unknown
    if token_ends != 0:
        store32(token_ends + ((written - 1) << 2), run_end)
    return written


@function
def encode_wide(base, position, end, model, state, out_and_ends):
    """int64: the first place from `position` on, at most `end`, that the cache of words is needed for.

    Writes the ids up to there, counts them in the state, and leaves the running score there. A piece ends at `end`.
    """
    out, token_ends = out_and_ends
    byte_ids, unknown = load_int64(model + 8 * BYTE_IDS), load_int64(model + 8 * UNKNOWN)
    known, single = load_int64(model + 8 * KNOWN), load_int64(model + 8 * SINGLE) != 0
    scores, reset = load_int64(model + 8 * SCORES), load_float64(model + 8 * RESET)
    unknown_score = load_float64(model + 8 * UNKNOWN_SCORE)
    written, running = load_int64(state + 8 * WRITTEN), load_float64(state + 8 * RUNNING)
    after_unknown = load_int64(state + 8 * AFTER_UNKNOWN)
    can_spell = byte_ids != 0 or unknown >= 0
    while position < end:
        run_end = unknown_run(base + position, base + end, known) - base
        if run_end > position:
            if not can_spell:
                break
            written = _emit_run(base, position, run_end, written, after_unknown, byte_ids, unknown, out_and_ends)
            after_unknown = np.int64(byte_ids == 0)
            if single:
                running = added_repeatedly(running, unknown_score, (run_end - position) // 3, reset)
            else:
                for _ in range(position, run_end, 3):
                    running += unknown_score
            position = run_end
            if position == end:
                break
        number, width = _lone_character(base + position, base + end, model)
        if number < 0:
            break
        position += width
        if abs(running) > reset:
            running = 0.0
        running = rounded(running + load_float64(scores + (number << 3)), single)
        store32(out + (written << 2), number)
        if token_ends != 0:
            store32(token_ends + (written << 2), position)
        written += 1
        after_unknown = np.int64(0)
    store64(state + 8 * WRITTEN, written)
    store64(state + 8 * AFTER_UNKNOWN, after_unknown)
    store_float64(state + 8 * RUNNING, running)
    return position
