"""The sweep: the model is left alone, the suggestions are where a curve's shape says they are."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from textmill.data.batches import Batch
from textmill.errors import ConfigError, DataError
from textmill.models import GPT, GPTConfig
from textmill.objectives import NextToken
from textmill.training.config import TrainingConfig
from textmill.training.learning_rate_finder import LearningRates, find_learning_rate


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Counting:
    def batch(self, step: int) -> Batch:
        tokens = np.random.default_rng(step).integers(0, 13, (6, 5))
        return Batch(tokens=tokens, targets=(tokens * 3 + 1) % 13)


def tiny(**changes: object) -> GPT:
    settings = {"vocab_size": 13, "width": 8, "num_layers": 1, "num_heads": 2, "context_length": 5} | changes
    return GPT(GPTConfig(**settings), seed=3)  # type: ignore[arg-type]


def config(**changes: object) -> TrainingConfig:
    return TrainingConfig(**({"optimizer": "adamw", "precision": "fp32"} | changes))  # type: ignore[arg-type]


def snapshot(model: GPT) -> dict[str, torch.Tensor]:
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_model_is_left_as_it_was(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textmill.training.precision.has_fast_bf16", lambda device: True)
    model = tiny(dropout=0.2).eval()
    before, chance = snapshot(model), torch.get_rng_state()
    first = find_learning_rate(model, NextToken(), Counting(), config(precision=precision), steps=40)
    after = snapshot(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)
    assert not model.training
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), chance)
    again = find_learning_rate(model, NextToken(), Counting(), config(precision=precision), steps=40)
    assert np.array_equal(first.losses, again.losses)


def test_a_sweep_finds_a_rate_that_learns() -> None:
    found = find_learning_rate(tiny(), NextToken(), Counting(), config(), steps=100, lowest=1e-6, highest=100.0)
    assert found.diverged
    assert len(found.rates) == len(found.losses) < 100
    assert 1e-4 < found.steepest < 0.3
    assert 1e-4 < found.tenth_of_lowest < 0.3
    assert found.losses[0] == pytest.approx(math.log(13), rel=0.05)


def test_parts_of_a_batch_add_up() -> None:
    whole = find_learning_rate(tiny(), NextToken(), Counting(), config(), steps=20, highest=0.01)
    parts = find_learning_rate(tiny(), NextToken(), Counting(), config(micro_batch_size=2), steps=20, highest=0.01)
    np.testing.assert_allclose(whole.losses, parts.losses, rtol=1e-4)
    assert not whole.diverged


def test_suggestions_on_a_curve_whose_shape_is_known() -> None:
    """A fall around 1e-3, lowest at 1e-2, a rise after it."""
    rates = np.geomspace(1e-6, 1.0, 400)
    logs = np.log10(rates)
    losses = 5 - 3 / (1 + np.exp(-6 * (logs + 3))) + 2 * np.maximum(logs + 2, 0) ** 2
    found = LearningRates(rates=rates, losses=losses, diverged=False)
    assert math.log10(found.steepest) == pytest.approx(-3, abs=0.1)
    assert math.log10(found.tenth_of_lowest) == pytest.approx(-3, abs=0.1)
    noisy = losses + 0.05 * np.random.default_rng(0).normal(size=400)
    assert math.log10(LearningRates(rates=rates, losses=noisy, diverged=False).steepest) == pytest.approx(-3, abs=0.4)


@pytest.mark.parametrize("bad", [{"steps": 19}, {"lowest": 0.0}, {"lowest": 2.0, "highest": 1.0}])
def test_sweeps_that_make_no_sense(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="a sweep needs 20 steps and 0 < lowest < highest, got"):
        find_learning_rate(tiny(), NextToken(), Counting(), config(), **bad)  # type: ignore[arg-type]


def test_a_broken_model() -> None:
    model = tiny()
    with torch.no_grad():
        model.embedding.weight.fill_(math.nan)
    with pytest.raises(DataError, match="no finite number before the first update"):
        find_learning_rate(model, NextToken(), Counting(), config())
