"""A run ends when it gets no better, says so, goes on where it stopped, and gives the best weights back."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textmill.data.batches import Batch
from textmill.errors import ConfigError
from textmill.models import GPT, GPTConfig
from textmill.objectives import NextToken
from textmill.training.checkpoints import Checkpoints
from textmill.training.config import TrainingConfig
from textmill.training.early_stopping import Patience
from textmill.training.hooks import Hook, Progress, StepRecord
from textmill.training.trainer import Trainer, TrainingResult


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Counting:
    def batch(self, step: int) -> Batch:
        tokens = np.random.default_rng(step).integers(0, 7, (2, 3))
        return Batch(tokens=tokens, targets=(tokens + 1) % 7)


def tiny() -> GPT:
    return GPT(GPTConfig(vocab_size=7, width=4, num_layers=1, num_heads=1, context_length=3), seed=1)


class Told(Hook):
    def __init__(self) -> None:
        self.stops: list[tuple[int, int]] = []

    def on_stop_early(self, step: int, bad_evaluations: int) -> None:
        self.stops.append((step, bad_evaluations))


def measured(losses: Sequence[float]) -> Callable[[Any], Mapping[str, float]]:
    rest = iter(losses)
    return lambda model: {"loss": next(rest)}


def run(out: Path, losses: Sequence[float], model: GPT | None = None, **changes: Any) -> TrainingResult:
    hooks = changes.pop("hooks", [])
    settings = {"steps": 20, "batch_size": 2, "context_length": 3, "warmup_steps": 1, "evaluate_every": 2} | changes
    config = TrainingConfig(precision="fp32", **settings)
    trainer = Trainer(model or tiny(), NextToken(), Counting(), config, out=out, evaluate=measured(losses), hooks=hooks)
    return trainer.run()


def longest_wait(losses: Sequence[float], patience: int, min_delta: float) -> int | None:
    """The number of the measurement that ends the run, by looking back over all of them each time."""
    better = [0]
    for number in range(1, len(losses)):
        if losses[number] < losses[better[-1]] - min_delta:
            better.append(number)
        if number - better[-1] >= patience:
            return number
    return None


@given(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=20), st.integers(1, 4), st.sampled_from([0.0, 1.5]))
def test_patience_by_its_definition(losses: list[float], patience: int, min_delta: float) -> None:
    counter, ended = Patience(patience, min_delta), None
    for number, loss in enumerate(losses):
        counter.tell(loss)
        if counter.is_over:
            ended = number
            break
    assert ended == longest_wait(losses, patience, min_delta)


def test_what_is_not_a_number_is_no_better() -> None:
    counter = Patience(2)
    for loss in (math.nan, math.inf):
        counter.tell(loss)
    assert counter.is_over
    assert counter.reference_loss is None


def test_it_stops_with_a_checkpoint_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told()
    result = run(tmp_path, [3.0, 2.0, 2.5, 1.95], patience=2, min_delta=0.1, hooks=[told, Progress()])
    assert (result.step, result.stopped_early, result.best_step, result.weights_step) == (8, True, 8, 8)
    assert told.stops == [(8, 2)]
    assert "stopping after step 8: the last 2 measurements on held-out text are no better" in capsys.readouterr().err
    assert Checkpoints(tmp_path / "checkpoints").steps() == [8]


def test_it_is_not_stopped_again_and_more_patience_goes_on(tmp_path: Path) -> None:
    run(tmp_path, [1.0, 2.0, 3.0], patience=2)
    told = Told()
    again = run(tmp_path, [], patience=2, hooks=[told])
    assert (again.step, again.stopped_early, told.stops) == (6, True, [])
    more = run(tmp_path, [4.0, 5.0], patience=4, hooks=[told])
    assert (more.step, told.stops) == (10, [(10, 4)])


def test_a_cut_run_stops_at_the_same_step(tmp_path: Path) -> None:
    class CutError(Exception):
        pass

    class Scissors(Hook):
        def on_step(self, record: StepRecord) -> None:
            if record.step == 7:
                raise CutError

    losses = [3.0, 2.0, 2.5, 2.4, 2.3]
    whole = run(tmp_path / "whole", losses, patience=3)
    with pytest.raises(CutError):
        run(tmp_path / "cut", losses, patience=3, hooks=[Scissors()], checkpoint_every=1)
    # one bad measurement stands in the checkpoint of step 6
    rest = run(tmp_path / "cut", losses[3:], patience=3, checkpoint_every=1)
    assert (whole.step, whole.stopped_early) == (rest.step, rest.stopped_early) == (10, True)


def test_the_best_weights_come_back(tmp_path: Path) -> None:
    model, last = tiny(), tiny()
    losses = [3.0, 1.0, 2.0]
    result = run(tmp_path / "best", losses, model, steps=6, keep_best=True)
    run(tmp_path / "last", losses, last, steps=6)
    assert (result.step, result.weights_step, result.metrics) == (6, 4, {"loss": 1.0})
    assert not torch.equal(model.embedding.weight, last.embedding.weight)
    best = Checkpoints(tmp_path / "best" / "checkpoints").read(4).model()
    assert all(torch.equal(weight, best[name]) for name, weight in model.named_parameters())
    # a finished run gives them too, and its last ones to those who ask for them
    again = tiny()
    assert run(tmp_path / "best", [], again, steps=6, keep_best=True).weights_step == 4
    assert torch.equal(again.embedding.weight, model.embedding.weight)
    assert run(tmp_path / "best", [], again, steps=6).metrics == {"loss": 2.0}
    assert torch.equal(again.embedding.weight, last.embedding.weight)


def test_patience_needs_something_to_measure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"patience=3 needs held-out text to measure on.*hold some text out"):
        Trainer(tiny(), NextToken(), Counting(), TrainingConfig(patience=3), out=tmp_path)
