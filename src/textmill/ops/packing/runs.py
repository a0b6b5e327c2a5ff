"""Runs of stored ids into a batch, each where it belongs."""

import numpy as np
from numba import njit


def copy_runs(source: np.ndarray, begins: np.ndarray, lengths: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """Writes source[begins[i] : begins[i] + lengths[i]] to `out` from places[i] on, for each i.

    Args:
        source: whole numbers, [S]; a file that is mapped into memory will do.
        out: int64 [N].

    >>> out = np.zeros(5, np.int64)
    >>> copy_runs(np.arange(10, 20, dtype=np.uint16), np.array([8, 1]), np.array([2, 1]), np.array([0, 4]), out)
    >>> out.tolist()
    [18, 19, 0, 0, 11]
    """
    begins, lengths, places = (np.ascontiguousarray(each, np.int64) for each in (begins, lengths, places))
    assert source.ndim == out.ndim == begins.ndim == 1
    assert begins.shape == lengths.shape == places.shape
    assert out.dtype == np.int64
    if len(begins):
        assert min(begins.min(), lengths.min(), places.min()) >= 0
        # each alone first: their sums must not wrap around
        assert max(begins.max(), lengths.max()) <= len(source), "a run leaves the source"
        assert places.max() <= len(out), "a run leaves the batch"
        assert (begins + lengths).max() <= len(source), "a run leaves the source"
        assert (places + lengths).max() <= len(out), "a run leaves the batch"
        _copy_runs(source, begins, lengths, places, out)


@njit(cache=True, nogil=True)
def _copy_runs(source, begins, lengths, places, out):
    for run in range(len(begins)):
        begin, place = begins[run], places[run]
        for step in range(lengths[run]):
            out[place + step] = source[begin + step]
