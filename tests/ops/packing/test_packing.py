import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.ops.packing import copy_runs, first_fit_decreasing, reference


@given(st.integers(1, 12).flatmap(lambda size: st.tuples(st.just(size), st.lists(st.integers(1, size), max_size=40))))
def test_equals_the_definition(case):
    capacity, lengths = case
    assert first_fit_decreasing(np.array(lengths, np.int64), capacity).tolist() == reference.first_fit_decreasing(
        lengths, capacity
    )


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 3000])
def test_no_row_is_overfull_and_rows_are_few(size):
    lengths = np.random.default_rng(size).integers(1, 101, size)
    rows = first_fit_decreasing(lengths, 100)
    filled = np.bincount(rows, lengths)
    assert filled.max() <= 100
    assert (filled > 0).all()
    assert len(filled) <= 11 / 9 * lengths.sum() / 100 + 1 or (lengths > 50).sum() == len(filled)


def test_lengths_that_cannot_be_packed():
    assert first_fit_decreasing(np.zeros(0, np.int64), 5).shape == (0,)
    for lengths in ([0], [6], [-1]):
        with pytest.raises(AssertionError, match=r"outside 1..capacity"):
            first_fit_decreasing(np.array(lengths), 5)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=6), st.sampled_from([np.uint16, np.uint32]))
def test_runs_are_copied_to_their_places(runs, dtype):
    source = np.arange(1000, 1030, dtype=dtype)
    source.flags.writeable = False
    begins, lengths = (np.array([run[part] for run in runs], np.int64) for part in (0, 1))
    places = np.cumsum([1, *(lengths + 1)])
    out = np.zeros(int(places[-1]), np.int64)
    copy_runs(source, begins, lengths, places[:-1], out)
    assert out.tolist() == [0] + [
        each for begin, length in runs for each in [*range(1000 + begin, 1000 + begin + length), 0]
    ]


LARGEST = (1 << 63) - 1


@pytest.mark.parametrize(
    "run", [(-1, 1, 0), (0, -1, 0), (0, 1, -1), (9, 2, 0), (0, 2, 9), (LARGEST, 1, 0), (0, 1, LARGEST)]
)
def test_a_run_outside_is_caught(run):
    with pytest.raises(AssertionError):
        copy_runs(np.zeros(10, np.uint16), *(np.array([each]) for each in run), np.zeros(10, np.int64))
