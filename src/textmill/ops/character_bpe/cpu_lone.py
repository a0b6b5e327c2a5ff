"""What characters of three bytes become that no token joins with their neighbours: a text in a script that the
vocabulary has few words of is cut into little else. A table of them by code point is smaller than the cache of pieces,
and needs no key.
"""

import numpy as np
from numba import njit

from textmill.ops.character_bpe.cpu_merge import SHORT_SCRATCH_WORDS, encode_piece
from textmill.ops.character_bpe.cpu_pairs import BYTE_IDS, LONE, field, helper
from textmill.ops.memory import address_of, keep, load8, load32, load_int64, store8, store32, store64
from textmill.ops.unigram.cpu_cut import FIRST_WIDE, wide_or_ascii

_ASK = -1
"""In the table: the cache has to be asked."""
_BYTES = -2
"""In the table: the character becomes the ids of its three bytes."""
_SIZE = 3
LONG_RUN = 4
"""After so many of them in a row it pays to look for more with `write_run`."""
_NO_BUCKET = 0
_KEPT_IN_KEY = np.uint64(1 << 56)


@helper
def _fits_bytes(piece, ids, count, byte_ids):
    """bool: whether the ids are those of the bytes of the character."""
    if byte_ids == 0 or count != _SIZE:
        return False
    differ = np.int64(0)
    for i in range(_SIZE):
        differ |= load32(ids + (i << 2)) ^ load32(byte_ids + (load8(piece + i) << 2))
    return differ == 0


@njit(cache=True, nogil=True)
def fill_lone(lone, model):
    """Fills int32[65536], by code point."""
    room = np.zeros(SHORT_SCRATCH_WORDS + 8, np.int64)
    piece, model_at = address_of(room), address_of(model)
    ids, scratch = piece + 16, piece + 64
    byte_ids = field(model_at, BYTE_IDS)
    for code in range(len(lone)):
        lone[code] = _ASK
        if code < FIRST_WIDE or (code >> 11) == 0x1B:
            continue
        store8(piece, 0xE0 | code >> 12)
        store8(piece + 1, 0x80 | (code >> 6 & 0x3F))
        store8(piece + 2, 0x80 | (code & 0x3F))
        count = encode_piece(piece, np.int64(_SIZE), ids, np.int64(0), model_at, scratch)
        if count == 1:
            lone[code] = load32(ids)
        elif _fits_bytes(piece, ids, count, byte_ids):
            lone[code] = _BYTES
    keep(room), keep(model)


@helper
def stage_lone(piece, length, lone, row):
    """bool: whether the piece is such a character; then its row says so. lone: the address of the table, or 0."""
    if lone == 0 or length != _SIZE:
        return False
    code = wide_or_ascii(piece, piece + _SIZE)
    if code < FIRST_WIDE:
        return False
    value = load32(lone + (code << 2))
    if value == _ASK:
        return False
    store64(row, value)
    store64(row + 8, _KEPT_IN_KEY)
    store64(row + 16, np.int64(_NO_BUCKET))
    return True


@helper
def is_lone(row):
    """bool: whether `stage_lone` has filled the row."""
    return load_int64(row + 16) == _NO_BUCKET


@helper
def _write(value, piece, begin, target, ends, byte_ids):
    """int64: how many ids it wrote to the address `target`, and their ends, counted as `begin` is, to `ends` if that is
    not 0."""
    if value >= 0:
        store32(target, value)
        if ends != 0:
            store32(ends, begin + _SIZE)
        return np.int64(1)
    for i in range(_SIZE):
        store32(target + (i << 2), load32(byte_ids + (load8(piece + i) << 2)))
        if ends != 0:
            store32(ends + (i << 2), begin + i + 1)
    return np.int64(_SIZE)


@helper
def write_lone(row, piece, begin, target, ends, model):
    """As `_write`, for a row that `stage_lone` has filled."""
    return _write(load_int64(row), piece, begin, target, ends, field(model, BYTE_IDS))


@helper
def write_run(base, ends, pieces, limit, target, to_ends, model):
    """(int64, int64): the first of the pieces that is no such character, and where the ids after the last one go.

    ends: the address of where pieces end, int32 counted from `base`. pieces: (number of the first one, the one after
    the last). to_ends: the end of the token at t goes to t + to_ends, unless it is 0. limit: where the last piece ends.
    """
    cursor, stop = pieces
    lone, byte_ids = field(model, LONE), field(model, BYTE_IDS)
    begin = np.int64(0) if cursor == 0 else load32(ends + ((cursor - 1) << 2))
    while cursor < stop:
        end = load32(ends + (cursor << 2))
        if end - begin != _SIZE or end > limit:
            break
        code = wide_or_ascii(base + begin, base + end)
        value = load32(lone + (code << 2)) if code >= FIRST_WIDE else np.int64(_ASK)
        if value == _ASK:
            break
        target_ends = target + to_ends if to_ends != 0 else np.int64(0)
        target += _write(value, base + begin, begin, target, target_ends, byte_ids) << 2
        begin = end
        cursor += 1
    return cursor, target
