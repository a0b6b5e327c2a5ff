"""Sixteen-byte keys of pieces, shared by the counting table and the encoder's cache.

A piece of up to 15 bytes is its own key: its bytes, zeros, and its length in the low half of the last byte. So two keys
are equal exactly when the pieces are. A longer piece has a hash and its length as key, with zero in that half byte, and
whoever finds an equal key must still compare the bytes (`is_inline` tells the two kinds apart). The high half of the
last byte is always zero: the encoder's cache keeps a number there.
"""

import numpy as np
from numba import njit

from textmill.errors import DataError
from textmill.ops.memory import PADDING, fold_multiply, hash_span, load64, low_bytes

INLINE_BYTES = 15
"""The longest piece that fits in its own key."""
KEY_MASKS = 2 * (INLINE_BYTES + 1)
"""Words that `fill_key_masks` writes."""

# Numba's types leave the last two options out
helper = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]
"""For what kernels alone call: code that Python could call is left out, a tenth of the time that compiling takes."""
inlined = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]
"""The same for what becomes part of its callers."""

_LENGTH_SHIFT = np.uint64(56)
_INLINE_LENGTH = np.uint64(0x0F << 56)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_FIRST_SALT = np.uint64(0x9E3779B97F4A7C15)
_SECOND_SALT = np.uint64(0xD6E8FEB86659FD93)


@inlined
def piece_key(address, length):
    """(uint64, uint64): the key of the `length` >= 1 bytes at `address`. Reads up to 16 bytes, whatever the length."""
    if length > INLINE_BYTES:
        return hash_span(address, length), np.uint64(length)
    first = low_bytes(load64(address), min(length, 8))
    beyond = np.uint64(8 * max(length - 8, 0))
    second = load64(address + 8) & ((_ONE << beyond) - _ONE)
    return first, second | (np.uint64(length) << _LENGTH_SHIFT)


@inlined
def fill_key_masks(masks):
    """Fills uint64[KEY_MASKS]: for each length up to `INLINE_BYTES`, which bits of the two words are the piece's."""
    ones = ~_ZERO
    for length in range(INLINE_BYTES + 1):
        masks[2 * length] = ones if length >= 8 else (_ONE << np.uint64(8 * length)) - _ONE
        masks[2 * length + 1] = (_ONE << np.uint64(8 * max(length - 8, 0))) - _ONE


@inlined
def inline_key(address, length, masks):
    """(uint64, uint64): `piece_key` of 1 to `INLINE_BYTES` bytes, with fewer instructions. masks: the address."""
    entry = masks + (length << 4)
    first, second = load64(address) & load64(entry), load64(address + 8) & load64(entry + 8)
    return first, second | (np.uint64(length) << _LENGTH_SHIFT)


@inlined
def is_inline(second):
    """bool: whether the key whose second word this is holds the piece itself. The spare half byte may hold anything."""
    return (second & _INLINE_LENGTH) != _ZERO


@inlined
def key_hash(first, second):
    """uint64: a hash of the key."""
    return fold_multiply(first ^ _FIRST_SALT, second ^ _SECOND_SALT)


@inlined
def key_bucket(first, second, bits):
    """int64 in 0..2**bits - 1: where a table of 2**bits buckets keeps the key."""
    return np.int64(key_hash(first, second) >> np.uint64(64 - bits))


def check_block(text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None) -> np.ndarray:
    """The `ends` that count, after checking what the kernels rely on.

    Raises:
        DataError: a wrong dtype, more pieces than ends, or a text without its padding.
    """
    if text.dtype != np.uint8 or ends.dtype != np.int32 or not (text.flags.c_contiguous and ends.flags.c_contiguous):
        raise DataError(
            f"a block is contiguous uint8 text with int32 ends, got {text.dtype} and {ends.dtype}",
            fix="use textmill.ops.memory.padded and the ends of a splitter",
        )
    count = len(ends) if num_pieces is None else num_pieces
    if not 0 <= count <= len(ends):
        raise DataError(f"num_pieces must be in 0..{len(ends)}, got {count}", fix="pass what the splitter returned")
    last = int(ends[count - 1]) if count else 0
    if start < 0 or start + last + PADDING > len(text):
        raise DataError(
            f"a block needs {PADDING} bytes of padding: pieces end at {start + last}, the buffer at {len(text)}",
            fix="use textmill.ops.memory.padded",
        )
    return ends[:count]


def check_out(out: np.ndarray, needed: int) -> None:
    """Checks that a kernel may write so many ids to the array.

    Raises:
        DataError: it is no contiguous int32 array to be written to, or too small.
    """
    if out.dtype != np.int32 or not (out.flags.c_contiguous and out.flags.writeable) or len(out) < needed:
        raise DataError(
            f"out must be contiguous int32 of {needed} or more, got {len(out)} of {out.dtype}", fix="enlarge it"
        )


def bad_ends() -> DataError:
    """The error for ends that do not grow."""
    return DataError("the ends of pieces must grow from piece to piece", fix="pass the ends a splitter wrote")
