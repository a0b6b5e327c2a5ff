"""The picture of the loss: where its dots stand, on a terminal and elsewhere."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from textmill.report.live import BRAILLE, LABEL, MARK, LiveProgress, LossPicture, _Pictured
from textmill.training.hooks import RunRecord, StepRecord


def started(first_step: int = 0) -> RunRecord:
    return RunRecord(
        first_step=first_step, steps=40, minutes=None, num_parameters=1, precision="fp32", device="cpu", threads=1,
        tokens_per_step=8,
    )  # fmt: skip


def step(number: int, loss: float) -> StepRecord:
    return StepRecord(
        step=number, loss=loss, learning_rate=0.1, gradient_norm=2.0, tokens=1, tokens_per_second=1.0,
        elapsed_seconds=1.0, seconds_left=1.0,
    )  # fmt: skip


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """(column, row) of each dot of the picture, from its upper left."""
    bits = {
        0x01: (0, 0),
        0x02: (0, 1),
        0x04: (0, 2),
        0x40: (0, 3),
        0x08: (1, 0),
        0x10: (1, 1),
        0x20: (1, 2),
        0x80: (1, 3),
    }
    found = set()
    for y, line in enumerate(lines):
        for x, character in enumerate(line[LABEL + 1 :]):
            if BRAILLE <= ord(character) < BRAILLE + 256:
                value = ord(character) - BRAILLE
                found |= {(2 * x + dx, 4 * y + dy) for bit, (dx, dy) in bits.items() if value & bit}
    return found


def test_every_column_has_the_mean_of_its_steps() -> None:
    picture, generator = LossPicture(), np.random.default_rng(0)
    losses = 3 + generator.random(500)
    for number, loss in enumerate(losses.tolist(), 1):
        picture.add(number, loss)
    lines = picture.lines(LABEL + 1 + 20, 5)
    columns = (np.arange(500) * 39) // 499
    means = np.array([losses[columns == column].mean() for column in range(40)])
    rows = np.round((means.max() - means) / (means.max() - means.min()) * 19).astype(int)
    assert dots(lines[:-1]) == set(zip(range(40), rows.tolist(), strict=True))
    assert lines[0].startswith(f"{means.max():{LABEL}.3f} ")
    assert lines[4].startswith(f"{means.min():{LABEL}.3f} ")
    assert lines[-1].split() == ["step", "1", "500"]


def test_the_first_fall_does_not_flatten_the_rest() -> None:
    picture = LossPicture()
    for number in range(1, 201):
        picture.add(number, 50.0 if number < 5 else 2.0 - number / 400)
    lines = picture.lines(60, 6)
    assert float(lines[0][:LABEL]) < 2.1
    # what is cut off stands at the upper edge
    assert (0, 0) in dots(lines[:-1])


@pytest.mark.parametrize("losses", [[], [1.0], [2.0, 2.0]])
def test_little_to_draw(losses: list[float]) -> None:
    picture = LossPicture()
    for number, loss in enumerate(losses, 1):
        picture.add(number, loss)
    picture.add_held_out(1, float("nan"))
    assert bool(picture.lines(40, 4)) == (len(losses) > 1)


def test_held_out_losses_are_marked() -> None:
    picture = LossPicture()
    for number in range(1, 11):
        picture.add(number, 3.0)
    picture.add_held_out(1, 4.0)
    picture.add_held_out(10, 2.0)
    lines = picture.lines(LABEL + 1 + 10, 5)
    assert float(lines[4][:LABEL]) == 2.0
    assert lines[4][-1] == MARK


def test_drawn_under_the_line() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=20)
    progress = LiveProgress()
    for number in range(1, 30):
        progress.on_step(step(number, 3 - number / 20))
    bar = progress._new_bar((), console)
    assert isinstance(bar, _Pictured)
    console.print(*bar.get_renderables())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "training loss" in text
    assert any(ord(character) >= BRAILLE for character in text)


def test_on_a_terminal_and_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"kind": "step", "step": n, "loss": 4.0 - n / 10} for n in range(1, 9)]
    lines.append({"kind": "evaluation", "step": 4, "loss": 3.9})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    plain = LiveProgress(history=path)
    plain.on_start(started(first_step=6))
    plain.on_step(step(7, 3.0))
    plain.on_end()
    assert list(plain.picture.steps) == [1, 2, 3, 4, 5, 6, 7]
    assert plain.picture.held_out == [(4, 3.9)]
    assert capsys.readouterr().err == "training: going on from step 6\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    shown = LiveProgress(history=path)
    shown.on_start(started(first_step=6))
    shown.on_step(step(7, 3.0))
    shown.on_evaluate(7, {"loss": 3.1})
    shown.on_end()
    assert "step 7/40" in capsys.readouterr().err
