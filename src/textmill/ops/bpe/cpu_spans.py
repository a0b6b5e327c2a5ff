"""Kernels for where tokens stand: in bytes a running sum, in characters a count of the bytes that begin one."""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, count_trailing_zeros, keep, load32, load64, low_bytes, store32
from textmill.ops.vectors import VECTOR_BYTES, bytes_in_range, count_ones

_TOP_BITS = np.uint64(0x8080808080808080)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_FIRST_BYTE_KIND, _CONTINUATION = np.uint64(0xC0), np.uint64(0x80)


@njit(cache=True, nogil=True)
def add_up(ids, lengths, bounds):
    """bounds (int32, one more than ids): token i is bytes bounds[i] to bounds[i + 1]."""
    at, lengths_at, bounds_at = np.int64(0), address_of(lengths), address_of(bounds)
    store32(bounds_at, at)
    for i in range(len(ids)):
        at += load32(lengths_at + (np.int64(ids[i]) << 2))
        store32(bounds_at + ((i + 1) << 2), at)
    keep(lengths), keep(bounds)


@njit(forceinline=True)
def _continued(word):
    """int64: how many bytes of the word are continuation bytes, 10xxxxxx."""
    # the second bit of each byte comes to stand where the first was
    return count_ones(word & ~(word << _ONE) & _TOP_BITS)


@njit(forceinline=True)
def _ascii_end(at, end):
    """int64: the address of the first byte from `at` on that is not ASCII, or `end`, or a little beyond it."""
    while at < end:
        others = bytes_in_range(at, 0, 128, 128)
        if others != _ZERO:
            return at + count_trailing_zeros(others)
        at += VECTOR_BYTES
    return at


@njit(cache=True, nogil=True)
def add_up_characters(text, start, stop, ids, lengths, starts, ends):
    """bool: whether the tokens end at byte `stop` of the padded text; they lie one after the other from `start` on.

    starts, ends (int32): token i holds at least one byte of characters starts[i] to ends[i] - 1.
    """
    at, end, begun = address_of(text) + start, address_of(text) + stop, np.int64(0)
    lengths_at, starts_at, ends_at = address_of(lengths), address_of(starts), address_of(ends)
    plain_end = _ascii_end(at, end)
    for i in range(len(ids)):
        length = load32(lengths_at + (np.int64(ids[i]) << 2))
        after = at + length
        if after > end:
            return False
        # up to here every byte is a character, and the text need not be looked at
        if after <= plain_end:
            store32(starts_at + (i << 2), begun)
            begun += length
        else:
            word = low_bytes(load64(at), min(length, 8))
            # a token that begins inside a character has that one too
            store32(starts_at + (i << 2), begun - np.int64((word & _FIRST_BYTE_KIND) == _CONTINUATION))
            begun += length - _continued(word)
            for done in range(8, length, 8):
                begun -= _continued(low_bytes(load64(at + done), min(length - done, 8)))
            if word & _TOP_BITS == _ZERO:
                plain_end = _ascii_end(after, end)
        store32(ends_at + (i << 2), begun)
        at = after
    keep(text), keep(lengths), keep(starts), keep(ends)
    return at == end
