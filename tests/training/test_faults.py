"""Batches that give no number, spikes and dead experts: found, told with their batch, left out, to the bit."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from textmill.data.batches import Batch
from textmill.data.ragged import RaggedBatch
from textmill.data.streams import StreamBatch
from textmill.layers.experts_config import ExpertsConfig
from textmill.layers.routing import ExpertLoad
from textmill.models import GPT, GPTConfig, Mixtral, MixtralConfig
from textmill.models.configs import LstmConfig
from textmill.models.lstm import Lstm
from textmill.objectives import NextToken
from textmill.objectives.carried import CarriedNextToken
from textmill.training.config import TrainingConfig
from textmill.training.faults import ExpertWatch, FaultWatch, Spikes, described
from textmill.training.hooks import Hook, JsonLines, Progress, RunRecord, StepRecord
from textmill.training.nonfinite import BadStep, DivergedError
from textmill.training.trainer import Trainer, TrainingResult


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Counting:
    """Sequences that count up; the first id of a batch is its number."""

    def batch(self, step: int) -> Batch:
        ids = (step + np.arange(7) + np.arange(4)[:, None]) % 13
        return Batch(tokens=ids[:, :-1].copy(), targets=ids[:, 1:].copy())


class Poisoned(NextToken):
    """A loss, or a gradient, that is no number on chosen batches."""

    bad: frozenset[int] = frozenset()
    value = math.nan
    in_gradient = False

    def __call__(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        losses = super().__call__(model, batch)
        if int(batch.tokens[0, 0]) not in self.bad:
            return losses
        if self.in_gradient:
            model.embedding.weight.register_hook(_once(lambda grad: grad.index_fill(0, torch.tensor([3]), self.value)))
            return losses
        return {"loss": losses["loss"] * self.value}


def _once(change: Any) -> Any:
    """A hook of a weight that changes its next gradient only."""
    used: list[bool] = []

    def hook(grad: Tensor) -> Tensor:
        if used:
            return grad
        used.append(True)
        changed: Tensor = change(grad)
        return changed

    return hook


def poisoned(*bad: int, value: float = math.nan, in_gradient: bool = False) -> Poisoned:
    objective = Poisoned()
    for name, setting in (("bad", frozenset(bad)), ("value", value), ("in_gradient", in_gradient)):
        object.__setattr__(objective, name, setting)
    return objective


def tiny() -> GPT:
    return GPT(GPTConfig(vocab_size=13, width=8, num_layers=1, num_heads=2, context_length=6), seed=3)


def settings(**changes: Any) -> TrainingConfig:
    values = {"steps": 8, "batch_size": 4, "context_length": 6, "warmup_steps": 2, "precision": "fp32"} | changes
    return TrainingConfig(**values)


def run(
    out: Path, objective: Any, model: GPT | None = None, **changes: Any
) -> tuple[dict[str, Tensor], TrainingResult]:
    model = model or tiny()
    hooks = changes.pop("hooks", [])
    result = Trainer(model, objective, Counting(), settings(**changes), out=out, hooks=hooks).run()
    return dict(model.state_dict()), result


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- batches that are left out


@pytest.mark.parametrize("in_gradient", [False, True])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_batch_left_out_changes_no_weight(tmp_path: Path, value: float, in_gradient: bool) -> None:
    """With all batches bad but the first, the weights are those after the first."""
    objective = poisoned(*range(1, 8), value=value, in_gradient=in_gradient)
    weights, result = run(tmp_path / "bad", objective, on_nonfinite="skip")
    # the first step's rate is that of the warm-up, however many follow
    one, single = run(tmp_path / "one", NextToken(), steps=1)
    assert (result.step, result.skipped, result.loss) == (8, 7, single.loss)
    for name, weight in one.items():
        assert torch.equal(weights[name], weight)


def test_the_gradients_that_are_bad_are_named(tmp_path: Path) -> None:
    watch = FaultWatch(tmp_path / "faults.jsonl", Counting(), tell=lambda text: None)
    run(tmp_path, poisoned(5, in_gradient=True), on_nonfinite="skip", hooks=[watch])
    (fault,) = lines(tmp_path / "faults.jsonl")
    assert fault["details"]["weights"] == ["embedding.weight"]
    assert fault["details"]["gradient_norm"] is None
    assert fault["details"]["loss"] > 0


def test_a_cut_run_leaves_out_the_same_batches(tmp_path: Path) -> None:
    class CutError(Exception):
        pass

    class Scissors(Hook):
        def on_step(self, record: StepRecord) -> None:
            if record.step == 6:
                raise CutError

    def hooks(folder: Path) -> list[Hook]:
        told.clear()
        metrics = folder / "metrics.jsonl"
        watch = FaultWatch(folder / "faults.jsonl", Counting(), tokenizer=Letters(), history=metrics, tell=told.append)
        return [JsonLines(metrics), watch]

    told: list[str] = []
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments: dict[str, Any] = {"on_nonfinite": "skip", "checkpoint_every": 4, "optimizer": "adamw"}
    expected, result = run(whole, poisoned(3, 4, 6), hooks=hooks(whole), **arguments)
    assert told[0] == "step 4: the loss is nan; left out; batch 3 begins 'defghi'"
    with pytest.raises(CutError):
        run(cut, poisoned(3, 4, 6), hooks=[*hooks(cut), Scissors()], **arguments)
    weights, again = run(cut, poisoned(3, 4, 6), hooks=hooks(cut), **arguments)
    assert (result.skipped, again.skipped) == (3, 3)
    for name, weight in expected.items():
        assert torch.equal(weights[name], weight)
    faults = lines(whole / "faults.jsonl")
    assert faults == lines(cut / "faults.jsonl")
    assert [(fault["kind"], fault["step"], fault["batch"]["number"]) for fault in faults] == [
        ("bad_step", 4, 3), ("bad_step", 5, 4), ("bad_step", 7, 6),
    ]  # fmt: skip
    assert faults[0]["batch"]["texts"] == ["defghi", "efghij", "fghijk", "ghijkl"]
    assert (faults[1]["details"]["in_a_row"], faults[2]["details"]["in_a_row"]) == (2, 1)
    kinds = [(line["kind"], line["step"]) for line in lines(cut / "metrics.jsonl")]
    assert kinds == [("bad_step" if step in (4, 5, 7) else "step", step) for step in range(1, 9)]


class Letters:
    def decode(self, ids: Any) -> str:
        return "".join("abcdefghijklmnop"[i] for i in ids)


def test_too_many_in_a_row_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        DivergedError, match=r"the loss is nan at step 7, the 5th such step in a row; the checkpoint of"
    ):
        run(tmp_path, poisoned(*range(2, 8)), on_nonfinite="skip", most_skips=5, checkpoint_every=2)
    # the count goes on where the checkpoint, of step 6, left it
    with pytest.raises(DivergedError, match="at step 7, the 5th such step"):
        run(tmp_path, poisoned(*range(2, 8)), on_nonfinite="skip", most_skips=5, checkpoint_every=2)


def test_a_run_that_stopped_goes_on_without_the_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = FaultWatch(tmp_path / "faults.jsonl", Counting())
    with pytest.raises(DivergedError, match=r"the loss is inf at step 6; the checkpoint of step 4 stands.*=skip"):
        run(tmp_path, poisoned(5, value=math.inf), checkpoint_every=4, hooks=[watch, Progress()])
    err = capsys.readouterr().err
    assert "training: step 6: the loss is inf; the run stops; batch 5 begins '[5, 6, 7, 8, 9, 10]'" in err
    assert "training: step 6: the loss is inf; stopping" in err
    (fault,) = lines(tmp_path / "faults.jsonl")
    assert fault["details"]["skipped"] is False
    _, result = run(tmp_path, poisoned(5, value=math.inf), checkpoint_every=4, on_nonfinite="skip")
    assert (result.step, result.skipped) == (8, 1)


def test_a_memory_is_cleaned_of_what_is_no_number(tmp_path: Path) -> None:
    class Streams:
        def batch(self, step: int) -> StreamBatch:
            plain = Counting().batch(step)
            return StreamBatch(tokens=plain.tokens, targets=plain.targets, continues=step > 0)

    class Broken(Hook):
        """Makes one token's vector no number, for one step."""

        def on_step(self, record: StepRecord) -> None:
            with torch.no_grad():
                model.embedding.weight[12] = math.nan

        def on_bad_step(self, bad: BadStep) -> None:
            with torch.no_grad():
                model.embedding.weight[12] = 0.0

    model = Lstm(LstmConfig(vocab_size=13, width=8, num_layers=1))
    config = settings(on_nonfinite="skip", optimizer="adamw", steps=10)
    result = Trainer(model, CarriedNextToken(), Streams(), config, out=tmp_path, hooks=[Broken()]).run()
    assert 0 < result.skipped < 10
    assert math.isfinite(result.loss)


# --- spikes


def test_spikes_by_their_definition() -> None:
    generator = np.random.default_rng(0)
    losses = 3.0 + 0.1 * generator.standard_normal(200)
    losses[150] = 5.0
    spikes, found = Spikes(window=50), {}
    for step, loss in enumerate(losses.tolist()):
        before = losses[max(0, step - 50) : step]
        z = spikes.judge(loss)
        if z is not None:
            found[step] = z
            median = np.median(before)
            assert z == pytest.approx(0.6745 * (loss - median) / np.median(np.abs(before - median)))
    assert list(found) == [150]


def test_a_falling_loss_is_no_spike() -> None:
    spikes = Spikes()
    assert not any(spikes.judge(10 * 0.98**step) for step in range(300))


def step(number: int, loss: float) -> StepRecord:
    return StepRecord(
        step=number, loss=loss, learning_rate=0.1, gradient_norm=2.0, tokens=1, tokens_per_second=1.0,
        elapsed_seconds=1.0, seconds_left=1.0,
    )  # fmt: skip


def started(first_step: int = 0) -> RunRecord:
    return RunRecord(
        first_step=first_step, steps=50, minutes=None, num_parameters=1, precision="fp32", device="cpu", threads=1,
        tokens_per_step=8,
    )  # fmt: skip


def test_a_spike_is_told_with_its_batch_also_after_a_resume(tmp_path: Path) -> None:
    def watched(first: int, last: int) -> list[str]:
        told: list[str] = []
        metrics = JsonLines(tmp_path / "metrics.jsonl")
        watch = FaultWatch(tmp_path / "faults.jsonl", Counting(), history=metrics.path, tell=told.append)
        for hook in (metrics, watch):
            hook.on_start(started(first))
            for number in range(first + 1, last + 1):
                hook.on_step(step(number, 9.0 if number in (15, 31, 41) else 2.0 + number % 2))
            hook.on_end()
        return told

    # the 15th is among too few to judge
    assert watched(0, 36) == ["step 31: the loss is 9.000, 9 deviations above 2.500, the median before; batch 30 begins"
                              " '[4, 5, 6, 7, 8, 9]'"]  # fmt: skip
    assert [told.split(":")[0] for told in watched(30, 45)] == ["step 31", "step 41"]
    faults = lines(tmp_path / "faults.jsonl")
    assert [fault["step"] for fault in faults] == [31, 41]
    assert faults[0]["batch"]["number"] == 30
    assert faults[0]["batch"]["rows"] == 4
    assert faults[0]["details"]["median"] == 2.5


# --- experts


def test_a_dead_expert_is_told_once_until_it_lives_again() -> None:
    class Trunk:
        share = (0.5, 0.5, 0.0)

        def expert_load(self) -> list[ExpertLoad]:
            return [ExpertLoad(4, torch.tensor(self.share), 0.0)]

    watch, trunk = ExpertWatch(window=3), Trunk()
    assert [watch.look(trunk) for _ in range(5)] == [[], [], [(4, 2, 0.0)], [], []]
    trunk.share = (0.4, 0.3, 0.3)
    assert [watch.look(trunk) for _ in range(3)] == [[], [], []]
    trunk.share = (0.0, 0.5, 0.5)
    assert [watch.look(trunk) for _ in range(3)] == [[], [], [(4, 0, 0.0)]]


def test_dead_experts_of_a_real_run(tmp_path: Path) -> None:
    model = Mixtral(
        MixtralConfig(
            vocab_size=13, width=8, num_layers=2, num_heads=2, context_length=6,
            experts=ExpertsConfig(num_experts=4, top_k=1, normalise=False),
        )
    )  # fmt: skip
    # all tokens alike choose alike
    with torch.no_grad():
        model.embedding.weight[:] = model.embedding.weight[0]
    told: list[str] = []
    watch = FaultWatch(tmp_path / "faults.jsonl", Counting(), model=model, tell=told.append)
    watch.experts.every = watch.experts.window = 2
    config = settings(optimizer="adamw", learning_rate=1e-12)
    Trainer(model, NextToken(), Counting(), config, out=tmp_path, hooks=[watch]).run()
    dead = {(line["details"]["layer"], line["details"]["expert"]) for line in lines(tmp_path / "faults.jsonl")}
    assert len(dead) == 6
    loads = model.trunk.expert_load()
    assert dead == {(load.layer, expert) for load in loads for expert in range(4) if load.share[expert] == 0}
    assert "of layer 1 gets 0.00% of the choices; batch 3 begins '[3, 4" in told[-1]


# --- what is told of a batch


def test_described_batches() -> None:
    ragged = RaggedBatch(
        tokens=np.arange(40), starts=np.array([0, 30, 34, 40]), places=np.array([1]), targets=np.array([7])
    )
    found = described(ragged)
    assert (found["rows"], found["tokens"]) == (3, 40)
    assert found["ids"] == [list(range(24)), [30, 31, 32, 33], [34, 35, 36, 37, 38, 39]]
    other = RaggedBatch(tokens=ragged.tokens, starts=ragged.starts, places=ragged.places, targets=np.array([8]))
    assert described(other)["digest"] != found["digest"]
    assert "texts" not in found
