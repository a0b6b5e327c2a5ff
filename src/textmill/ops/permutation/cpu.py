"""The permutation of many indices at once, in Numba."""

import numba
import numpy as np

from textmill.ops.permutation.reference import GOLDEN, ROUNDS

_GOLDEN = np.uint64(GOLDEN)
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)


def permute(indices: np.ndarray, size: int, key: int) -> np.ndarray:
    """Where each of the indices goes in the permutation of range(size) that `key` picks, as int64.

    >>> permute(np.arange(5), 5, key=3).tolist()
    [0, 3, 1, 4, 2]
    """
    flat = np.ascontiguousarray(indices, dtype=np.int64)
    assert size < 1 << 62
    assert flat.size == 0 or (flat.min() >= 0 and flat.max() < size), "an index outside range(size)"
    out = np.empty_like(flat)
    bits = max(0, size - 1).bit_length()
    _permute(flat.reshape(-1), np.uint64(size), np.uint64(bits), np.uint64(key & ((1 << 64) - 1)), out.reshape(-1))
    return out


@numba.njit(cache=True, nogil=True)
def _permute(indices, size, bits, key, out):
    one = np.uint64(1)
    left_bits = bits >> one
    right_bits = bits - left_bits
    left_mask = (one << left_bits) - one
    right_mask = (one << right_bits) - one
    for place in range(len(indices)):
        value = np.uint64(indices[place])
        while True:
            left, right = value >> right_bits, value & right_mask
            round_key = key
            for number in range(ROUNDS):
                round_key += _GOLDEN
                if number % 2 == 0:
                    left ^= _mix(right + round_key) & left_mask
                else:
                    right ^= _mix(left + round_key) & right_mask
            value = (left << right_bits) | right
            if value < size:
                break
        out[place] = np.int64(value)


@numba.njit(cache=True, nogil=True, inline="always")
def _mix(value):
    value = (value ^ (value >> np.uint64(30))) * _FACTOR_1
    value = (value ^ (value >> np.uint64(27))) * _FACTOR_2
    return value ^ (value >> np.uint64(31))
