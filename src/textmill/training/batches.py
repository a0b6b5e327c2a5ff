"""What the trainer asks of any batch."""

import dataclasses
import hashlib
from typing import Any, Protocol

import numpy as np


class Batches(Protocol):
    """Numbered batches: the same number gives the same batch."""

    def batch(self, step: int) -> Any: ...


def num_tokens(batch: Any, otherwise: int = 0) -> int:
    """The tokens that the model reads. Batches hold no padding, so that all of them are real.

    Args:
        otherwise: for a batch without tokens.
    """
    return int(batch.tokens.size) if hasattr(batch, "tokens") else otherwise


def lengths(batch: Any) -> np.ndarray:
    """int64: the tokens of each sequence that attends to itself alone.

    >>> from textmill.data.batches import Batch
    >>> tokens = np.zeros((2, 3), np.int64)
    >>> lengths(Batch(tokens=tokens, targets=tokens)).tolist()
    [3, 3]
    >>> lengths(Batch(tokens=tokens, targets=tokens, starts=np.array([0, 1, 3, 6]))).tolist()
    [1, 2, 3]
    """
    starts = getattr(batch, "starts", None)
    if starts is not None:
        found: np.ndarray = np.diff(starts)
        return found
    rows, time = batch.tokens.shape
    return np.full(rows, time, np.int64)


def digest(batch: Any) -> str:
    """The beginning of a SHA-256 of the batch's arrays: other data, another order or another size give another."""
    found = hashlib.sha256()
    for entry in dataclasses.fields(batch):
        value = getattr(batch, entry.name)
        found.update(f"{entry.name} {getattr(value, 'shape', '')}".encode())
        found.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return found.hexdigest()[:16]
