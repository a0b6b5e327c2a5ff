"""The held-out loss against plain sums over all logits."""

import math

import numpy as np
import pytest
import torch

from textmill.data.batches import IGNORED, Batch
from textmill.errors import DataError
from textmill.models import GPT, GPTConfig
from textmill.objectives import NextToken, Weighted
from textmill.training.evaluation import HeldOut


def test_loss_and_bits_per_byte() -> None:
    settings = GPTConfig(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=4, dropout=0.5)
    model = GPT(settings, seed=1).train()
    generator = np.random.default_rng(0)
    batches = [
        Batch(tokens=generator.integers(0, 9, (2, 4)), targets=generator.integers(0, 9, (2, 4))) for _ in range(3)
    ]
    batches[2].targets[1] = IGNORED
    measured = HeldOut(objective=NextToken(), batches=lambda: iter(batches), num_bytes=37)(model)
    assert model.training
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            log_probabilities = model.eval()(torch.from_numpy(batch.tokens)).log_softmax(-1)
            for place in np.argwhere(batch.targets != IGNORED):
                nats -= float(log_probabilities[(*place, batch.targets[tuple(place)])])
                tokens += 1
    assert measured["tokens"] == tokens == 20
    assert measured["loss"] == pytest.approx(nats / tokens, rel=1e-5)
    assert measured["bits_per_byte"] == pytest.approx(nats / math.log(2) / 37, rel=1e-5)


def test_parts_of_a_weighted_objective() -> None:
    model = GPT(GPTConfig(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=4))
    batch = Batch(tokens=np.ones((2, 4), np.int64), targets=np.ones((2, 4), np.int64))
    objective = Weighted({"a": (NextToken(), 1.0), "b": (NextToken(), 0.5)})
    measured = HeldOut(objective=objective, batches=lambda: [batch])(model)
    assert measured["loss"] == pytest.approx(1.5 * measured["a"])


def test_nothing_held_out() -> None:
    model = GPT(GPTConfig(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=4))
    with pytest.raises(DataError, match=r"no held-out text to measure on\. Fix: give more text"):
        HeldOut(objective=NextToken(), batches=list)(model)
