"""Progress, metrics and TensorBoard."""

import json
import sys
from pathlib import Path

import pytest

from textmill.errors import ConfigError, OutputError
from textmill.training.hooks import Hook, JsonLines, Progress, RunRecord, StepRecord, TensorBoard


def run(first_step: int = 0, steps: int | None = 20) -> RunRecord:
    return RunRecord(
        first_step=first_step, steps=steps, minutes=None, num_parameters=1, precision="fp32", device="cpu", threads=1,
        tokens_per_step=8,
    )  # fmt: skip


def step(number: int, loss: float = 1.5) -> StepRecord:
    return StepRecord(
        step=number, loss=loss, learning_rate=0.1, gradient_norm=2.0, tokens=8 * number, tokens_per_second=1234.0,
        elapsed_seconds=3.0, seconds_left=61.0,
    )  # fmt: skip


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_hook_may_ignore_everything(tmp_path: Path) -> None:
    hook = Hook()
    hook.on_start(run())
    hook.on_step(step(1))
    hook.on_evaluate(1, {})
    hook.on_checkpoint(1, tmp_path)
    hook.on_end()


def test_json_lines_are_there_at_once(tmp_path: Path) -> None:
    hook = JsonLines(tmp_path / "metrics.jsonl")
    hook.on_start(run())
    hook.on_step(step(1))
    hook.on_evaluate(1, {"loss": float("nan"), "bits_per_byte": 2.0})
    first, second = lines(hook.path)
    assert (first["kind"], first["step"], first["loss"]) == ("step", 1, 1.5)
    assert second == {"kind": "evaluation", "step": 1, "loss": None, "bits_per_byte": 2.0}
    hook.on_end()


def test_json_lines_hold_each_step_once_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    hook = JsonLines(path)
    hook.on_start(run())
    for number in range(1, 6):
        hook.on_step(step(number))
    hook.on_end()
    with path.open("a") as file:
        file.write('{"kind": "step", "step": 6, "lo')
    resumed = JsonLines(path)
    resumed.on_start(run(first_step=3))
    resumed.on_step(step(4, loss=9.0))
    resumed.on_end()
    assert [(line["step"], line["loss"]) for line in lines(path)] == [(1, 1.5), (2, 1.5), (3, 1.5), (4, 9.0)]


def test_json_lines_on_an_impossible_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((OutputError, FileExistsError)):
        JsonLines(tmp_path / "file" / "metrics.jsonl").on_start(run())


def test_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Progress, "SECONDS_BETWEEN_LINES", 0.0)
    hook = Progress()
    hook.on_start(run(first_step=4))
    hook.on_evaluate(4, {"loss": 2.0, "bits_per_byte": 1.25})
    hook.on_step(step(5))
    hook.on_end()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "training: going on from step 4",
        "training: step 4  held out 1.250 bits/byte",
        "training: step 5/20  1:01 left  1,234 tokens/s  loss 1.500  held out 1.250 bits/byte",
    ]


def test_lines_are_rare(capsys: pytest.CaptureFixture[str]) -> None:
    hook = Progress()
    hook.on_start(run(steps=None))
    for number in range(50):
        hook.on_step(step(number))
    assert capsys.readouterr().err == ""


def test_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    hook = Progress(title="pretraining")
    hook.on_start(run())
    hook.on_step(step(7))
    hook.on_evaluate(7, {"loss": 2.0})
    hook.on_step(step(8))
    hook.on_end()
    err = capsys.readouterr().err
    assert "pretraining" in err
    assert "step 8/20" in err


def test_tensorboard_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        ConfigError, match=r"TensorBoard is asked for and not installed.*pip install 'textmill\[tensorboard\]'"
    ):
        TensorBoard(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    hook = TensorBoard(tmp_path / "events")
    hook.on_start(run())
    hook.on_step(step(1))
    hook.on_evaluate(1, {"loss": 2.0})
    hook.on_end()
    content = b"".join(file.read_bytes() for file in (tmp_path / "events").iterdir())
    assert b"training/loss" in content
    assert b"held_out/loss" in content
