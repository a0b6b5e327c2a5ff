"""Rows that lie one after the other: what the kernels of this folder rely on, checked."""

import numpy as np

from textmill.errors import DataError


def flat_int64(values: np.ndarray, name: str) -> np.ndarray:
    """The values as contiguous int64.

    Raises:
        DataError: no whole numbers, or more than one dimension.
    """
    values = np.asarray(values)
    if values.ndim != 1 or (values.dtype.kind not in "iu" and values.size):
        raise DataError(f"{name} must be whole numbers in one dimension, got {values.dtype} {values.shape}")
    return np.ascontiguousarray(values, np.int64)


def row_lengths(tokens: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """int64: the length of each row.

    Raises:
        DataError: starts that do not ascend from 0 to the number of tokens, or a row of 2**31 tokens or more.
    """
    ascend = len(starts) >= 1 and bool((starts[1:] >= starts[:-1]).all())
    if not ascend or starts[0] != 0 or starts[-1] != len(tokens):
        raise DataError(f"starts must ascend from 0 to the number of tokens, {len(tokens)}", fix="give R + 1 of them")
    lengths = np.diff(starts)
    if lengths.max(initial=0) >= 1 << 31:
        raise DataError(f"a row must have fewer than 2**31 tokens, got {lengths.max()}", fix="cut it")
    return lengths
