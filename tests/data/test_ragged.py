"""Unpadded batches and their parts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.data.ragged import RaggedBatch
from textmill.training.placement import split_rows


def ragged(lengths: list[int], seed: int = 0) -> RaggedBatch:
    draws = np.random.default_rng(seed)
    size = sum(lengths)
    places = np.flatnonzero(draws.random(size) < 0.3)
    return RaggedBatch(
        tokens=np.arange(100, 100 + size),
        starts=np.cumsum([0, *lengths]),
        places=places,
        targets=places + 100 + draws.integers(0, 2, len(places)),
        types=draws.integers(0, 2, size),
        labels=draws.integers(0, 2, len(lengths)),
    )


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(1, 9))
def test_parts_put_together_are_the_batch(lengths, rows):
    batch = ragged(lengths)
    parts = split_rows(batch, rows)
    assert len(parts) == -(-len(lengths) // rows)
    for name in ("tokens", "targets", "types", "labels"):
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(batch, name))
    offsets = np.cumsum([0, *(len(part.tokens) for part in parts)])
    places = [part.places + offset for part, offset in zip(parts, offsets, strict=False)]
    assert np.array_equal(np.concatenate(places), batch.places)
    assert [length for part in parts for length in np.diff(part.starts).tolist()] == lengths
    assert sum(part.num_rows() for part in parts) == len(lengths)
    assert sum(part.num_targets() for part in parts) == batch.num_targets()
    assert np.array_equal(np.concatenate([part.replaced() for part in parts]), batch.replaced())


def test_a_part_of_the_middle_and_one_without_pairs():
    batch = RaggedBatch(
        tokens=np.arange(6), starts=np.array([0, 2, 2, 5, 6]), places=np.array([1, 2, 4]), targets=np.array([1, 9, 4])
    )
    part = batch.cut(1, 3)
    assert part.tokens.tolist() == [2, 3, 4]
    assert part.starts.tolist() == [0, 0, 3]
    assert part.places.tolist() == [0, 2]
    assert part.replaced().tolist() == [True, False]
    assert part.types is None
    assert part.labels is None
    assert batch.cut(1, 2).num_targets() == 0
    assert split_rows(batch, None) == [batch]


@pytest.mark.parametrize(
    "change",
    [
        {"starts": np.array([0, 3])},
        {"starts": np.array([1, 4])},
        {"places": np.array([1, 2])},
        {"types": np.zeros(3, np.int64)},
        {"labels": np.zeros(2, np.int64)},
    ],
)
def test_arrays_that_do_not_fit(change):
    arrays = {"tokens": np.arange(4), "starts": np.array([0, 4]), "places": np.array([1]), "targets": np.array([1])}
    RaggedBatch(**arrays)
    with pytest.raises(AssertionError):
        RaggedBatch(**(arrays | change))
