"""The held-out loss against plain sums over all logits."""

import math

import numpy as np
import pytest
import torch
from tests.objectives.ragged import ragged_batch, small_bert

from textmill.data.batches import IGNORED, Batch
from textmill.errors import DataError
from textmill.models import GPT, GPTConfig
from textmill.objectives import MaskedToken, NextToken, ReplacedToken, SentencePair, Weighted
from textmill.training.evaluation import HeldOut


def test_loss_and_bits_per_byte() -> None:
    settings = GPTConfig(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=4, dropout=0.5)
    model = GPT(settings, seed=1).train()
    generator = np.random.default_rng(0)
    batches = [
        Batch(tokens=generator.integers(0, 9, (2, 4)), targets=generator.integers(0, 9, (2, 4))) for _ in range(3)
    ]
    batches[2].targets[1] = IGNORED
    measured = HeldOut(objective=NextToken(), batches=lambda: iter(batches), num_bytes=37, num_characters=31)(model)
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
    assert measured["bits_per_character"] == pytest.approx(nats / math.log(2) / 31, rel=1e-5)
    assert measured["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert "accuracy" not in measured


def test_parts_of_a_weighted_objective() -> None:
    model = GPT(GPTConfig(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=4))
    batch = Batch(tokens=np.ones((2, 4), np.int64), targets=np.ones((2, 4), np.int64))
    objective = Weighted({"a": (NextToken(), 1.0), "b": (NextToken(), 0.5)})
    measured = HeldOut(objective=objective, batches=lambda: [batch])(model)
    assert measured["loss"] == pytest.approx(1.5 * measured["a"])
    assert measured["b_perplexity"] == pytest.approx(math.exp(measured["b"]))


def test_a_smoothed_objective_is_measured_without() -> None:
    model = GPT(GPTConfig(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=4))
    batch = Batch(tokens=np.ones((2, 4), np.int64), targets=np.ones((2, 4), np.int64))
    plain, smooth = (
        HeldOut(objective=NextToken(label_smoothing=part), batches=lambda: [batch])(model) for part in (0.0, 0.3)
    )
    assert plain == smooth


def test_an_encoder_s_two_objectives() -> None:
    """Figures over two batches of different sizes, against counts of them all."""
    model = small_bert()
    batches = [ragged_batch(), ragged_batch().cut(0, 1)]
    objective = Weighted({"mlm": (MaskedToken(), 1.0), "pair": (SentencePair(), 0.5)})
    measured = HeldOut(objective=objective, batches=lambda: batches, num_bytes=100)(model)
    nats = sum(MaskedToken()(model, batch)["loss"].item() for batch in batches)
    pairs = sum(SentencePair()(model, batch)["loss"].item() for batch in batches)
    masked_right = sum(MaskedToken().measure(model, batch)[1]["loss"] for batch in batches)
    pairs_right = sum(SentencePair().measure(model, batch)[1]["loss"] for batch in batches)
    assert measured == {
        "loss": pytest.approx(nats / 8 + 0.5 * pairs / 4),
        "mlm": pytest.approx(nats / 8),
        "pair": pytest.approx(pairs / 4),
        "mlm_perplexity": pytest.approx(math.exp(nats / 8)),
        "mlm_accuracy": masked_right / 8,
        "pair_accuracy": pairs_right / 4,
        "tokens": 8,
        "bits_per_byte": pytest.approx(nats / math.log(2) / 100),
    }
    alone = HeldOut(objective=ReplacedToken(), batches=lambda: batches)(small_bert(heads="replaced_token"))
    assert alone.keys() == {"loss", "accuracy", "tokens"}
    assert alone["tokens"] == 27


def test_nothing_held_out() -> None:
    model = GPT(GPTConfig(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=4))
    with pytest.raises(DataError, match=r"no held-out text to measure on\. Fix: give more text"):
        HeldOut(objective=NextToken(), batches=list)(model)
