"""Kernels that sort counted pieces by their bytes."""

import numpy as np
from numba import njit

from textmill.ops.memory import address_of, count_trailing_zeros, keep, load64, low_bytes, store64

_BYTE = np.uint64(0xFF)
_SAME = np.uint64(0)
_HEAD_BYTES = 8


@njit(forceinline=True)
def _compare_words(a, b):
    """int64: below, equal to or above 0 as the eight bytes of word a come before, equal or come after those of b."""
    different = a ^ b
    if different == _SAME:
        return np.int64(0)
    # the first byte in memory is the lowest
    shift = np.uint64(count_trailing_zeros(different) & ~7)
    return np.int64((a >> shift) & _BYTE) - np.int64((b >> shift) & _BYTE)


@njit(forceinline=True)
def _compare_spans(a, a_length, b, b_length):
    """int64: below, equal to or above 0 as the bytes at a come before, equal or come after those at b.

    A span that the other begins with comes first. Reads up to 7 bytes beyond both.
    """
    left = min(a_length, b_length)
    while left > 0:
        word_a, word_b = load64(a), load64(b)
        if left < 8:
            word_a, word_b = low_bytes(word_a, left), low_bytes(word_b, left)
        order = _compare_words(word_a, word_b)
        if order != 0:
            return order
        a += 8
        b += 8
        left -= 8
    return a_length - b_length


@njit(forceinline=True)
def _head(address, length):
    """uint64: the first eight bytes, zeros after the piece's end."""
    return load64(address) if length >= _HEAD_BYTES else low_bytes(load64(address), length)


@njit(forceinline=True)
def _before_or_same(i, j, arena, offsets, heads):
    """bool: whether piece i does not come after piece j. heads: address of the first eight bytes of each."""
    order = _compare_words(load64(heads + (i << 3)), load64(heads + (j << 3)))
    if order != 0:
        return order < 0
    return (
        _compare_spans(arena + offsets[i], offsets[i + 1] - offsets[i], arena + offsets[j], offsets[j + 1] - offsets[j])
        <= 0
    )


@njit(cache=True, nogil=True)
def sort_pieces(arena, offsets, heads, order, scratch):
    """bool: whether the sorted order ended up in `scratch` instead of `order`. Pieces have a byte or more.

    order, scratch: int64[n]; heads: uint64[n], room for the first bytes. Merges runs of growing length.
    """
    base, heads_at, total = address_of(arena), address_of(heads), len(order)
    for i in range(total):
        order[i] = i
        store64(heads_at + (i << 3), _head(base + offsets[i], offsets[i + 1] - offsets[i]))
    swapped, width = False, np.int64(1)
    while width < total:
        for begin in range(0, total, 2 * width):
            middle, end = min(begin + width, total), min(begin + 2 * width, total)
            i, j = begin, middle
            for k in range(begin, end):
                if i < middle and (j >= end or _before_or_same(order[i], order[j], base, offsets, heads_at)):
                    scratch[k] = order[i]
                    i += 1
                else:
                    scratch[k] = order[j]
                    j += 1
        order, scratch = scratch, order
        swapped = not swapped
        width *= 2
    keep(arena), keep(heads)
    return swapped


@njit(cache=True, nogil=True)
def first_not_rising(arena, offsets):
    """int64: the first piece that does not come after the one before it, or -1."""
    base = address_of(arena)
    for i in range(1, len(offsets) - 1):
        if (
            _compare_spans(
                base + offsets[i - 1], offsets[i] - offsets[i - 1], base + offsets[i], offsets[i + 1] - offsets[i]
            )
            >= 0
        ):
            return np.int64(i)
    keep(arena)
    return np.int64(-1)


@njit(cache=True, nogil=True)
def gather(arena, offsets, order, target, target_offsets):
    """Copies the pieces of `order` one after the other; target_offsets begins with 0."""
    used = np.int64(0)
    for k in range(len(order)):
        begin, end = offsets[order[k]], offsets[order[k] + 1]
        for i in range(begin, end):
            target[used] = arena[i]
            used += 1
        target_offsets[k + 1] = used
