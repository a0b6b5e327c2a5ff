"""The calls that reach the package. It is a stand-in here: the service can't be reached from a test."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from textmill.errors import ConfigError
from textmill.training.hooks import RunRecord, StepRecord
from textmill.training.weights_and_biases import WeightsAndBiases


class Package(ModuleType):
    """What `import wandb` gives, as far as it is used."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[tuple[str, Any]] = []

    def init(self, **arguments: Any) -> Any:
        self.calls.append(("init", arguments))
        return self

    def log(self, values: dict[str, float], *, step: int) -> None:
        self.calls.append(("log", (step, values)))

    def finish(self) -> None:
        self.calls.append(("finish", None))


def started(first_step: int = 0) -> RunRecord:
    return RunRecord(
        first_step=first_step, steps=9, minutes=None, num_parameters=7, precision="fp32", device="cpu", threads=1,
        tokens_per_step=8, peak_flops=1e9,
    )  # fmt: skip


def step(number: int) -> StepRecord:
    return StepRecord(
        step=number, loss=1.5, learning_rate=0.1, gradient_norm=2.0, tokens=8 * number, tokens_per_second=4.0, mfu=0.5,
        elapsed_seconds=3.0, seconds_left=61.0,
    )  # fmt: skip


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"Weights & Biases is asked for and not installed.*pip install wandb"):
        WeightsAndBiases(tmp_path)


def test_a_run_and_its_continuation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package()
    monkeypatch.setitem(sys.modules, "wandb", package)
    hook = WeightsAndBiases(tmp_path / "runs", project="words", settings={"width": 8})
    hook.on_start(started())
    hook.on_step(step(1))
    hook.on_evaluate(1, {"loss": 2.0, "bits_per_byte": 1.0})
    hook.on_end()
    hook.on_end()
    (_, begun), *rest = package.calls
    assert (begun["project"], begun["name"], begun["resume"]) == ("words", "runs", "allow")
    assert (begun["config"]["width"], begun["config"]["num_parameters"]) == (8, 7)
    assert rest == [
        ("log", (1, {
            "training/loss": 1.5, "training/learning_rate": 0.1, "training/gradient_norm": 2.0,
            "training/tokens_per_second": 4.0, "training/mfu": 0.5, "training/tokens": 8,
        })),
        ("log", (1, {"held_out/loss": 2.0, "held_out/bits_per_byte": 1.0})),
        ("finish", None),
    ]  # fmt: skip
    package.calls.clear()
    WeightsAndBiases(tmp_path / "runs").on_start(started(first_step=1))
    assert package.calls[0][1]["id"] == begun["id"]
    WeightsAndBiases(tmp_path / "runs").on_start(started())
    assert package.calls[1][1]["id"] != begun["id"]
