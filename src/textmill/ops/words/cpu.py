"""Kernel of word vocabularies: one look-up a piece, in the table of `ops.bpe.cpu_count`."""

import numpy as np
from numba import njit

from textmill.ops.bpe.cpu_count import find_index
from textmill.ops.memory import address_of, bits_of, keep

BAD_ENDS = -1


@njit(cache=True, nogil=True)
def look_up(text, start, ends, table, arena, offsets, ids, unknown, out):
    """int64: how many ids it wrote, one for each piece, or BAD_ENDS.

    ids: int32, the id of each word of the table by its index there. out: int32, as long as ends.
    """
    base, table_at, arena_at, offsets_at = (
        address_of(text) + start,
        address_of(table),
        address_of(arena),
        address_of(offsets),
    )
    bits = bits_of(len(table))
    begin = np.int64(0)
    limit = np.int64(ends[-1]) if len(ends) > 0 else np.int64(0)
    for i in range(len(ends)):
        end = np.int64(ends[i])
        if end <= begin or end > limit:
            return np.int64(BAD_ENDS)
        index = find_index(base + begin, end - begin, table_at, bits, arena_at, offsets_at)
        out[i] = unknown if index < 0 else ids[index]
        begin = end
    keep(text), keep(table), keep(arena), keep(offsets)
    return np.int64(len(ends))
