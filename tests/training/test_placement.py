"""Batches cut by rows."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from textmill.data.batches import Batch
from textmill.training.placement import OneDevice, split_rows


@dataclass(frozen=True)
class Labelled:
    rows: np.ndarray
    name: str


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_parts_put_together_are_the_batch(rows: int) -> None:
    batch = Batch(tokens=np.arange(10).reshape(5, 2), targets=np.arange(10, 20).reshape(5, 2))
    parts = split_rows(batch, rows)
    assert len(parts) == -(-5 // rows)
    assert np.array_equal(np.concatenate([part.tokens for part in parts]), batch.tokens)
    assert np.array_equal(np.concatenate([part.targets for part in parts]), batch.targets)


def test_what_is_no_array_stays() -> None:
    assert [part.name for part in split_rows(Labelled(np.zeros((3, 1)), "x"), 2)] == ["x", "x"]


def test_whole() -> None:
    batch = Batch(tokens=np.zeros((2, 2)), targets=np.zeros((2, 2)))
    assert split_rows(batch, None) == [batch]
    assert OneDevice().share(batch) is batch
    assert OneDevice().total({"loss": torch.tensor(1.0)}) == {"loss": torch.tensor(1.0)}
