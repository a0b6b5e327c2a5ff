"""The loss as a picture in the terminal, under the progress line, drawn anew while training goes on.

Each cell of text is 2 x 4 dots of braille. Training loss is a line of dots, the mean of the steps that fall on a dot's
column; held-out loss is a mark at each measurement.
"""

import math
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.progress import Progress as Bars
from rich.text import Text

from textmill.training.hooks import Progress, RunRecord, StepRecord, whole_lines

BRAILLE = 0x2800
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bit of each dot of a cell: by column, then from the top."""
MARK = "◆"
WIDTH, HEIGHT = 72, 9
"""Cells of the picture at most."""
LABEL = 8
"""Cells left of it, for the scale."""


class LossPicture:
    """Losses of a run so far, and their picture.

    >>> picture = LossPicture()
    >>> for step in range(1, 41):
    ...     picture.add(step, 4.0 - step / 20)
    >>> picture.add_held_out(40, 2.5)
    >>> print("\\n".join(line.rstrip() for line in picture.lines(26, 3)))
       3.925 ⠉⠒⠢⠤⣀⡀
                  ⠈⠉⠒⠢⠤⣀⡀    ◆
       2.000            ⠈⠉⠒⠤⠤⣀
             step 1         40
    """

    def __init__(self) -> None:
        self.steps, self.losses = array("q"), array("d")
        self.held_out: list[tuple[int, float]] = []

    def add(self, step: int, loss: float) -> None:
        """A training step's loss."""
        self.steps.append(step)
        self.losses.append(loss)

    def add_held_out(self, step: int, loss: float) -> None:
        """A measurement on held-out text."""
        if math.isfinite(loss):
            self.held_out.append((step, loss))

    def lines(self, width: int, height: int) -> list[str]:
        """The picture as lines of text, scale and steps included; none before the second step."""
        if len(self.losses) < 2:
            return []
        columns = 2 * (width - LABEL - 1)
        first, last = self.steps[0], max(self.steps[-1], self.steps[0] + 1)
        means = self._means(first, last, columns)
        low, high = self._limits(means)
        cells = [[BRAILLE] * (columns // 2) for _ in range(height)]
        rows = np.round((high - np.clip(means, low, high)) / (high - low) * (4 * height - 1))
        for column, row in enumerate(rows.tolist()):
            if not math.isnan(row):
                cells[int(row) // 4][column // 2] |= DOTS[column % 2][int(row) % 4]
        shown = [[" " if cell == BRAILLE else chr(cell) for cell in line] for line in cells]
        for step, loss in self.held_out:
            if first <= step and low <= loss <= high:
                column = int((step - first) / (last - first) * (columns // 2 - 1))
                shown[int((high - loss) / (high - low) * (height - 1) + 0.5)][column] = MARK
        return self._with_scales(shown, low, high, (first, last))

    def _means(self, first: int, last: int, columns: int) -> np.ndarray:
        """The mean loss on each column of dots; nan where it has no step."""
        steps, losses = np.array(self.steps), np.array(self.losses)
        places = ((steps - first) * (columns - 1)) // (last - first)
        counts = np.bincount(places, minlength=columns)
        sums = np.bincount(places, weights=losses, minlength=columns)
        means: np.ndarray = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return means

    def _limits(self, means: np.ndarray) -> tuple[float, float]:
        """The lowest and highest loss to show; the first steep fall is cut off, where it would flatten the rest."""
        known = means[~np.isnan(means)]
        held_out = [loss for _, loss in self.held_out]
        low = min([float(known.min()), *held_out])
        later = known[len(known) // 10 :]
        high, most = float(later.max()), float(known.max())
        if len(known) < 20 or most - low < 2 * (high - low):
            high = most
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _with_scales(self, shown: list[list[str]], low: float, high: float, steps: tuple[int, int]) -> list[str]:
        labels = [f"{high:{LABEL}.3f}", *[" " * LABEL] * (len(shown) - 2), f"{low:{LABEL}.3f}"]
        lines = [f"{label} {''.join(cells)}" for label, cells in zip(labels, shown, strict=True)]
        left, right = f"step {steps[0]:,}", f"{steps[1]:,}"
        space = max(1, len(shown[0]) - len(left) - len(right))
        return [*lines, f"{' ' * LABEL} {left}{' ' * space}{right}"]


class _Pictured(Bars):
    """The progress line, and the picture under it."""

    def __init__(self, *columns: Any, picture: LossPicture, console: Console) -> None:
        # rich draws once while it is being made
        self.picture, self.terminal = picture, console
        super().__init__(*columns, console=console, transient=True, refresh_per_second=2)

    def get_renderables(self) -> Iterator[Any]:
        yield from super().get_renderables()
        width, height = self.terminal.size
        lines = self.picture.lines(min(WIDTH + LABEL, width - 1), max(3, min(HEIGHT, height - 4)))
        if lines:
            yield Group(*map(_coloured, lines), Text(f"{' ' * LABEL} ⠤ training loss  {MARK} held out", style="dim"))


def _coloured(line: str) -> Text:
    text = Text(line[:LABEL], style="dim")
    text.append(line[LABEL:], style="cyan" if any(ord(c) >= BRAILLE for c in line) else "")
    text.highlight_words([MARK], style="bold yellow")
    return text


class LiveProgress(Progress):
    """`Progress` with the picture under its line, on a terminal; elsewhere `Progress` as it is.

    Args:
        history: the `JsonLines` file of the run, from which a run that goes on takes up the picture.
    """

    def __init__(self, *, title: str = "training", history: Path | None = None) -> None:
        super().__init__(title=title)
        self.history, self.picture = history, LossPicture()

    def on_start(self, run: RunRecord) -> None:
        if run.first_step and self.history is not None:
            for line in whole_lines(self.history):
                if line["step"] <= run.first_step and isinstance(line.get("loss"), float):
                    add = self.picture.add if line.get("kind") == "step" else self.picture.add_held_out
                    add(line["step"], line["loss"])
        super().on_start(run)

    def on_step(self, record: StepRecord) -> None:
        self.picture.add(record.step, record.loss)
        super().on_step(record)

    def on_evaluate(self, step: int, metrics: Mapping[str, float]) -> None:
        if "loss" in metrics:
            self.picture.add_held_out(step, metrics["loss"])
        super().on_evaluate(step, metrics)

    def _new_bar(self, columns: tuple[Any, ...], console: Any) -> Any:
        return _Pictured(*columns, picture=self.picture, console=console)
