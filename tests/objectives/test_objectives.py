"""NextToken and Weighted against their definitions."""

import numpy as np
import pytest
import torch

from textmill.data.batches import IGNORED, Batch
from textmill.errors import ConfigError
from textmill.models import GPT, GPTConfig
from textmill.objectives import NextToken, Weighted
from textmill.ops import cross_entropy


@pytest.fixture
def model() -> GPT:
    return GPT(GPTConfig(vocab_size=11, width=8, num_layers=1, num_heads=2, context_length=6), seed=1)


@pytest.fixture
def batch() -> Batch:
    tokens = np.random.default_rng(0).integers(0, 11, (3, 6))
    targets = np.roll(tokens, -1, 1)
    targets[:, -1] = IGNORED
    return Batch(tokens=tokens, targets=targets)


def test_ignored_is_the_same_everywhere() -> None:
    assert cross_entropy.IGNORED == IGNORED


def test_next_token_is_the_sum_of_negative_log_probabilities(model: GPT, batch: Batch) -> None:
    log_probabilities = model(torch.from_numpy(batch.tokens)).log_softmax(-1)
    expected = -sum(log_probabilities[b, t, batch.targets[b, t]] for b in range(3) for t in range(5))
    torch.testing.assert_close(NextToken()(model, batch)["loss"], expected)
    assert NextToken().counts(batch) == {"loss": 15}


def test_smoothing_equals_torch(model: GPT, batch: Batch) -> None:
    logits, targets = model(torch.from_numpy(batch.tokens)).flatten(0, 1), torch.from_numpy(batch.targets).flatten()
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=0.1)
    torch.testing.assert_close(NextToken(label_smoothing=0.1)(model, batch)["loss"], expected)


def test_parts_of_a_batch_add_up(model: GPT, batch: Batch) -> None:
    parts = [Batch(tokens=batch.tokens[rows], targets=batch.targets[rows]) for rows in (slice(0, 1), slice(1, 3))]
    objective = NextToken()
    torch.testing.assert_close(
        sum(objective(model, part)["loss"] for part in parts), objective(model, batch)["loss"], rtol=1e-5, atol=1e-5
    )
    assert sum(objective.counts(part)["loss"] for part in parts) == objective.counts(batch)["loss"]


def test_stretches_that_are_kept_apart(model: GPT, batch: Batch) -> None:
    """Each stretch read alone, from position 0 on."""
    apart = Batch(tokens=batch.tokens, targets=batch.targets, starts=np.array([0, 4, 6, 12, 13, 18]))
    expected = torch.zeros(())
    for begin, end in zip(apart.starts[:-1], apart.starts[1:], strict=True):
        log_probabilities = model(torch.from_numpy(batch.tokens.ravel()[None, begin:end])).log_softmax(-1)[0]
        for place, target in enumerate(batch.targets.ravel()[begin:end]):
            expected = expected - (0 if target == IGNORED else log_probabilities[place, target])
    torch.testing.assert_close(NextToken()(model, apart)["loss"], expected)
    assert not torch.allclose(expected, NextToken()(model, batch)["loss"])


def test_measure_leaves_smoothing_out(model: GPT, batch: Batch) -> None:
    losses, right = NextToken(label_smoothing=0.2, z_loss=0.1).measure(model, batch)
    assert torch.equal(losses["loss"], NextToken()(model, batch)["loss"])
    assert right == {}


def test_weighted_sum(model: GPT, batch: Batch) -> None:
    objective = Weighted({"plain": (NextToken(), 1.0), "smooth": (NextToken(label_smoothing=0.2), 0.5)})
    assert objective.weights == {"plain": 1.0, "smooth": 0.5}
    assert objective.counts(batch) == {"plain": 15, "smooth": 15}
    losses = objective(model, batch)
    assert torch.equal(losses["plain"], NextToken()(model, batch)["loss"])
    assert torch.equal(losses["smooth"], NextToken(label_smoothing=0.2)(model, batch)["loss"])


def test_weights_multiply_in_nested_sums() -> None:
    inner = Weighted({"a": (NextToken(), 0.5), "b": (NextToken(), 2.0)})
    assert Weighted({"x": (inner, 0.5), "y": (NextToken(), 1.0)}).weights == {"x.a": 0.25, "x.b": 1.0, "y": 1.0}


def test_bad_weights() -> None:
    with pytest.raises(ConfigError, match="at least one part, got none"):
        Weighted({})
    with pytest.raises(ConfigError, match=r"weight of 'lm' must be >= 0, got -1\.0"):
        Weighted({"lm": (NextToken(), -1.0)})
