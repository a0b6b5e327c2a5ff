"""A small encoder, a ragged batch, and its hidden states by their definition."""

from typing import Any

import numpy as np
import torch
from tests.models.encoders import shaken
from torch import Tensor

from textmill.data.ragged import RaggedBatch
from textmill.models import Bert, BertConfig


def small_bert(**choices: Any) -> Bert:
    settings = {"vocab_size": 31, "context_length": 16, "width": 8, "num_layers": 2, "num_heads": 2} | choices
    bert: Bert = shaken(Bert(BertConfig(**settings)))
    return bert


def ragged_batch() -> RaggedBatch:
    """Sequences of 7, 1 and 12 tokens; the middle one has nothing to predict."""
    generator = np.random.default_rng(1)
    return RaggedBatch(
        tokens=generator.integers(0, 31, 20),
        starts=np.array([0, 7, 8, 20]),
        places=np.array([1, 2, 6, 9, 19]),
        targets=generator.integers(0, 31, 5),
        types=generator.integers(0, 2, 20),
        labels=np.array([1, 0, 1]),
    )


def states_one_by_one(model: Bert, batch: RaggedBatch) -> Tensor:
    """[N, W]: each sequence read alone, as a batch of one row."""
    rows = []
    for begin, end in zip(batch.starts[:-1], batch.starts[1:], strict=True):
        tokens, types = (torch.from_numpy(part[begin:end])[None] for part in (batch.tokens, batch.types))
        rows.append(model.hidden(model.embed(tokens, types))[0])
    return torch.cat(rows)
