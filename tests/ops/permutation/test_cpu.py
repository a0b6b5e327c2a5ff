import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.ops.permutation import permute, reference


@settings(deadline=None)  # the first example compiles
@given(st.data(), st.integers(1, (1 << 62) - 1), st.integers(0, (1 << 64) - 1))
def test_equals_the_definition(data, size, key):
    indices = data.draw(st.lists(st.integers(0, size - 1), max_size=5))
    expected = [reference.permute(index, size, key) for index in indices]
    assert permute(np.array(indices, np.int64), size, key).tolist() == expected


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000, 4097, 1 << 16])
def test_a_bijection_that_the_key_changes(size):
    first, second = (permute(np.arange(size), size, key) for key in (1, 2))
    assert np.array_equal(np.sort(first), np.arange(size))
    assert np.array_equal(np.sort(second), np.arange(size))
    assert first.dtype == np.int64
    if size > 20:
        assert (first == second).mean() < 0.1


def test_looks_like_a_shuffle():
    size, parts = 1 << 14, 16
    order = permute(np.arange(size), size, key=5)
    # where a block of neighbours goes is spread evenly; 16 x 16 cells, chi-squared with 225 degrees of freedom
    cells, _, _ = np.histogram2d(np.arange(size), order, bins=parts)
    expected = size / parts**2
    assert ((cells - expected) ** 2 / expected).sum() < 310  # exceeded by chance once in 10,000
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.04


def test_shapes_and_empty_input():
    assert permute(np.zeros((0,), np.int64), 5, 0).shape == (0,)
    assert permute(np.arange(6).reshape(2, 3), 6, 0).shape == (2, 3)


def test_an_index_outside_is_caught():
    with pytest.raises(AssertionError, match=r"outside"):
        permute(np.array([5]), 5, 0)
