"""The loop: against a loop written out, cut in any way, stopped, refused, diverged."""

import copy
import dataclasses
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from textmill.data.batches import IGNORED, Batch
from textmill.errors import ConfigError, OutputError
from textmill.models import GPT, GPTConfig
from textmill.objectives import NextToken, Weighted
from textmill.training import compiling
from textmill.training.checkpoints import Checkpoints
from textmill.training.config import TrainingConfig
from textmill.training.evaluation import HeldOut
from textmill.training.hooks import Hook, RunRecord, StepRecord
from textmill.training.optimizers import OPTIMIZERS
from textmill.training.schedules import multiplier
from textmill.training.trainer import DivergedError, StoppedError, Trainer


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More threads than tiny tensors need only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Ragged:
    """Random sequences with a different number of targets in each row."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def batch(self, step: int) -> Batch:
        generator = np.random.default_rng((self.seed, step))
        tokens = generator.integers(0, 13, (6, 5))
        targets = (tokens * 3 + 1) % 13
        targets[generator.random((6, 5)) < 0.3] = IGNORED
        return Batch(tokens=tokens, targets=targets)


class Recorder(Hook):
    def __init__(self) -> None:
        self.told: list[str] = []
        self.steps: list[StepRecord] = []

    def on_start(self, run: RunRecord) -> None:
        self.told.append(f"start {run.first_step}")

    def on_step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def on_evaluate(self, step: int, metrics: Mapping[str, float]) -> None:
        self.told.append(f"evaluate {step}")

    def on_checkpoint(self, step: int, path: Path) -> None:
        assert path.is_dir()
        self.told.append(f"checkpoint {step}")

    def on_end(self) -> None:
        self.told.append("end")


def tiny(**changes: Any) -> GPT:
    settings = {"vocab_size": 13, "width": 8, "num_layers": 1, "num_heads": 2, "context_length": 5} | changes
    return GPT(GPTConfig(**settings), seed=3)


def settings(**changes: Any) -> TrainingConfig:
    values = {"steps": 6, "batch_size": 6, "context_length": 5, "warmup_steps": 2, "precision": "fp32"} | changes
    return TrainingConfig(**values)


def trained(out: Path, config: TrainingConfig, model: GPT | None = None, **arguments: Any) -> dict[str, torch.Tensor]:
    model = model or tiny()
    Trainer(
        model, arguments.pop("objective", NextToken()), arguments.pop("batches", Ragged()), config, out=out, **arguments
    ).run()
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], tolerance: float = 0.0) -> None:
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("clip_norm", [0.5, None])
def test_equals_a_loop_written_out(tmp_path: Path, clip_norm: float | None) -> None:
    config = settings(optimizer="adamw", weight_decay=0.0, clip_norm=clip_norm)
    model = tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(6):
        batch = Ragged().batch(step)
        logits, targets = model(torch.from_numpy(batch.tokens)).flatten(0, 1), torch.from_numpy(batch.targets).flatten()
        optimizer.zero_grad()
        F.cross_entropy(logits, targets, ignore_index=IGNORED).backward()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.param_groups[0]["lr"] = config.learning_rate * multiplier(config, step)
        optimizer.step()
    assert_same(trained(tmp_path, config), dict(model.state_dict()), tolerance=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_accumulation_equals_one_big_batch(tmp_path: Path, rows: int) -> None:
    """Though the parts hold different numbers of targets."""
    config = settings(optimizer="adamw", learning_rate=1e-3)
    whole = trained(tmp_path / "whole", config)
    parts = trained(tmp_path / "parts", dataclasses.replace(config, micro_batch_size=rows))
    assert_same(whole, parts, tolerance=2e-5)


def test_recompute_changes_nothing(tmp_path: Path) -> None:
    model = tiny(dropout=0.2)
    plain = trained(tmp_path / "plain", settings(), tiny(dropout=0.2))
    assert_same(plain, trained(tmp_path / "recompute", settings(recompute="block"), model))
    assert model.trunk.recompute == "none"


def test_same_seed_same_weights_and_the_global_generator_is_left_alone(tmp_path: Path) -> None:
    model = tiny(dropout=0.3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = trained(tmp_path / "a", settings(), model)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert_same(first, trained(tmp_path / "b", settings(), tiny(dropout=0.3)))
    other = trained(tmp_path / "c", settings(seed=1), tiny(dropout=0.3))
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_bf16_learns_and_leaves_fp32_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textmill.training.precision.has_fast_bf16", lambda device: True)
    recorder, model = Recorder(), tiny(width=16)
    config = settings(steps=60, precision="bf16", learning_rate=0.01)
    weights = trained(tmp_path, config, model, hooks=[recorder])
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert recorder.steps[-1].loss < 0.5 * recorder.steps[0].loss
    assert Trainer(model, NextToken(), Ragged(), config, out=tmp_path).run().precision == "bf16"
    # fp32 weights, not rounded ones
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in weights.values())


def test_weighted_objectives(tmp_path: Path) -> None:
    recorder = Recorder()
    objective = Weighted({"task": (NextToken(), 1.0), "lm": (NextToken(), 0.5)})
    trained(tmp_path / "sum", settings(steps=1), hooks=[recorder], objective=objective)
    single = Recorder()
    trained(tmp_path / "one", settings(steps=1), hooks=[single])
    assert recorder.steps[0].loss == pytest.approx(1.5 * single.steps[0].loss, rel=1e-6)


# --- stopping and going on


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_goes_on_to_the_bit(tmp_path: Path, optimizer: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textmill.training.precision.has_fast_bf16", lambda device: True)
    config = settings(steps=8, optimizer=optimizer, precision=precision, micro_batch_size=2, checkpoint_every=3)
    whole = trained(tmp_path / "whole", config, tiny(dropout=0.1))

    class CutError(Exception):
        pass

    class Scissors(Hook):
        def on_step(self, record: StepRecord) -> None:
            if record.step == 5:
                raise CutError

    with pytest.raises(CutError):
        trained(tmp_path / "cut", config, tiny(dropout=0.1), hooks=[Scissors()])
    recorder = Recorder()
    assert_same(whole, trained(tmp_path / "cut", config, tiny(dropout=0.1), hooks=[recorder]))
    assert [record.step for record in recorder.steps] == [4, 5, 6, 7, 8]
    assert recorder.steps[-1].tokens == 8 * 30


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    evaluate = HeldOut(objective=NextToken(), batches=lambda: [Ragged().batch(99)])
    first = Trainer(tiny(), NextToken(), Ragged(), settings(), out=tmp_path, evaluate=evaluate).run()
    model, recorder = tiny(), Recorder()
    again = Trainer(model, NextToken(), Ragged(), settings(), out=tmp_path, evaluate=evaluate, hooks=[recorder]).run()
    assert recorder.told == ["start 6", "end"]
    assert (again.step, again.loss, again.metrics, again.best_step) == (6, first.loss, first.metrics, first.best_step)
    assert_same(dict(model.state_dict()), trained(tmp_path, settings(), evaluate=evaluate))


def test_fresh_begins_again(tmp_path: Path) -> None:
    trained(tmp_path, settings())
    recorder = Recorder()
    Trainer(tiny(), NextToken(), Ragged(), settings(), out=tmp_path, hooks=[recorder]).run(fresh=True)
    assert recorder.told[0] == "start 0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": settings(learning_rate=0.1)}, r"training\.learning_rate was 0\.003 and is now 0\.1"),
        ({"config": settings(steps=7)}, r"training\.steps was 6 and is now 7"),
        ({"model": "wider"}, r"model\..* was .* and is now"),
        ({"batches": Ragged(1)}, r"data\.first_batch was"),
        ({"objective": NextToken(z_loss=0.1)}, r"objective was 'NextToken\(label_smoothing=0\.0, z_loss=0\.0\)'"),
    ],
)
def test_another_runs_checkpoint_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    trained(tmp_path, settings())
    changed = dict(change)
    config = changed.pop("config", settings())
    model = tiny(width=16) if changed.pop("model", None) else tiny()
    with pytest.raises(ConfigError, match=rf"step-00000006 belongs to another run: {message}.*--fresh"):
        trained(tmp_path, config, model, **changed)


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    config = settings(keep=2, checkpoint_every=2)
    whole = trained(tmp_path, config)
    (tmp_path / "checkpoints" / "step-00000006" / "model.safetensors").write_bytes(b"torn")
    with pytest.warns(UserWarning, match="passing over a damaged checkpoint: .*step-00000006"):
        assert_same(whole, trained(tmp_path, config))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step_with_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    class Sender(Recorder):
        def on_step(self, record: StepRecord) -> None:
            if record.step == 2:
                os.kill(os.getpid(), number)

    whole, sender, model = trained(tmp_path / "whole", settings()), Sender(), tiny()
    with pytest.raises(StoppedError, match=f"stopped by {number.name} after step 2.*run the same command again"):
        Trainer(model, NextToken(), Ragged(), settings(), out=tmp_path / "cut", hooks=[sender]).run()
    assert sender.told == ["start 0", "checkpoint 2", "end"]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert_same(whole, trained(tmp_path / "cut", settings()))


@pytest.mark.parametrize(("kills"), [2, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path: Path, kills: int) -> None:
    script = Path(__file__).with_name("killed_run.py")
    command = [sys.executable, str(script), str(tmp_path), str(kills), "0"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{kills} kills" in done.stdout


# --- evaluation and checkpoints


def test_evaluates_and_keeps_the_best(tmp_path: Path) -> None:
    losses = iter([3.0, 1.0, 2.0])
    recorder = Recorder()
    result = Trainer(
        tiny(), NextToken(), Ragged(), settings(evaluate_every=2), out=tmp_path,
        evaluate=lambda model: {"loss": next(losses)}, hooks=[recorder],
    ).run()  # fmt: skip
    assert recorder.told == [
        "start 0", "evaluate 2", "checkpoint 2", "evaluate 4", "checkpoint 4", "evaluate 6", "checkpoint 6", "end",
    ]  # fmt: skip
    assert (result.best_loss, result.best_step, result.metrics) == (1.0, 4, {"loss": 2.0})
    assert result.best_checkpoint is not None
    assert result.best_checkpoint.is_dir()
    assert Checkpoints(tmp_path / "checkpoints").steps() == [4, 6]


def test_a_measurement_that_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    result = Trainer(
        tiny(), NextToken(), Ragged(), settings(), out=tmp_path, evaluate=lambda model: {"loss": math.nan}
    ).run()
    assert result.best_step is None


def test_the_clock_stops_the_run_with_a_measurement_and_a_checkpoint(tmp_path: Path) -> None:
    recorder = Recorder()
    config = settings(steps=None, minutes=0.3 / 60, evaluate_every=None, warmup_steps=0)
    result = Trainer(
        tiny(), NextToken(), Ragged(), config, out=tmp_path, evaluate=lambda model: {"loss": 1.0}, hooks=[recorder]
    ).run()
    assert result.step > 1
    assert 0.3 <= result.elapsed_seconds < 5
    assert recorder.told == ["start 0", f"evaluate {result.step}", f"checkpoint {result.step}", "end"]
    rates = [record.learning_rate for record in recorder.steps]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.5 * rates[0]


# --- what goes wrong


def test_a_loss_that_is_not_a_number_stops_before_the_update(tmp_path: Path) -> None:
    model = tiny()

    class Breaker(Hook):
        def on_step(self, record: StepRecord) -> None:
            if record.step == 3:
                with torch.no_grad():
                    model.embedding.weight[5] = math.nan

    with pytest.raises(
        DivergedError, match=r"the loss is nan at step 4; the checkpoint of step 2 stands.*lower learning rate"
    ):
        trained(tmp_path, settings(checkpoint_every=2), model, hooks=[Breaker()])
    assert Checkpoints(tmp_path / "checkpoints").steps() == [2]


def test_read_only_output(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises((OutputError, FileExistsError)):
        trained(tmp_path, settings())


def test_full_disk_during_a_checkpoint(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("a small disk can't be mounted here")

    class Filler(Hook):
        def on_checkpoint(self, step: int, path: Path) -> None:
            space = os.statvfs(small)
            (small / "filler").write_bytes(bytes(space.f_bavail * space.f_frsize))

    try:
        config = settings(checkpoint_every=2)
        with pytest.raises(OutputError, match=r"step-00000004: the disk is full\. Fix: free some space"):
            trained(small, config, hooks=[Filler()])
        (small / "filler").unlink()
        recorder = Recorder()
        trained(small, config, hooks=[recorder])
        assert recorder.told[0] == "start 2"
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_failing_compiler_ends_in_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            raise RuntimeError("no C++ compiler")

        return call

    plain, model = trained(tmp_path / "plain", settings()), tiny()
    monkeypatch.setattr(compiling.torch, "compile", broken)
    with pytest.warns(UserWarning, match="torch.compile failed, going on without it: no C"):
        compiled = trained(tmp_path / "compiled", settings(compile=True), model)
    assert_same(plain, compiled)
    assert "hidden" not in vars(model)


def test_a_models_own_error_is_no_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.torch, "compile", lambda function: function)
    model = tiny()
    compiling.compile_trunk(model)
    with pytest.raises(ConfigError, match="positions for 5 tokens, got 6"):
        model.hidden(torch.zeros(1, 6, 8))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_equals_plain(tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain", settings())
    assert_same(plain, trained(tmp_path / "compiled", settings(compile=True), copy.deepcopy(tiny())), tolerance=1e-3)
