"""Draws `docs/images/optimizers.png`: every optimiser of the package on one loss surface, from the same start.

`python -m docs.optimizer_paths` writes it again. The paths are made by `textmill.training.optimizers.Optimizers`, which
trains models too. Muon needs a matrix, so the two numbers x and y are the diagonal of one for all of them:

    W = [[x, 0], [0, y]]        loss(W) = f(x, y) = (along^2 + 20 across^2) / 2

where along and across are the distances from the minimum in the axes of a bowl that is turned by 25 degrees, so that
neither x nor y alone is steep or flat.

W stays diagonal under Muon: a diagonal matrix made orthogonal has +-1 where it had its entries.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import nn

from textmill.report.plots import LIGHT, write_png
from textmill.training.config import TrainingConfig
from textmill.training.optimizers import OPTIMIZERS, Optimizers
from textmill.training.schedules import multiplier

IMAGE = Path(__file__).parent / "images" / "optimizers.png"
START = (-1.4, 1.7)
MINIMUM = (1.0, 0.5)
CURVATURE, TURN = 20.0, math.radians(25)
STEPS = 100
RATES = {
    "sgd": 0.015, "adagrad": 0.6, "rmsprop": 0.12, "adam": 0.2, "adamw": 0.2, "lion": 0.12, "muon": 0.12,
}  # fmt: skip
"""Chosen for a path that shows the optimiser's character in steps that can be seen, not for a race."""
COLOURS = {
    "sgd": "#8a8f98", "adagrad": "#b5651d", "rmsprop": "#d4a017", "adam": "#3b6fb6", "adamw": "#2aa0c8",
    "lion": "#c2387a", "muon": "#0b6e69",
}  # fmt: skip
COMMON: dict[str, Any] = {"weight_decay": 0.0, "betas": (0.9, 0.99), "momentum": 0.9}
SETTINGS: dict[str, dict[str, Any]] = {"adamw": {"weight_decay": 0.5}}
"""Without decay AdamW would be Adam. With so much of it, it ends where the pull to zero holds the gradient's."""
NAMES = {
    "sgd": "SGD, momentum", "adagrad": "Adagrad", "rmsprop": "RMSProp", "adam": "Adam", "adamw": "AdamW, decay 0.5",
    "lion": "Lion", "muon": "Muon",
}  # fmt: skip


def surface(x: Any, y: Any) -> Any:
    """The loss, of arrays or of tensors; its minimum is 0."""
    dx, dy = x - MINIMUM[0], y - MINIMUM[1]
    along, across = math.cos(TURN) * dx + math.sin(TURN) * dy, math.cos(TURN) * dy - math.sin(TURN) * dx
    return (along**2 + CURVATURE * across**2) / 2


def path(kind: str) -> np.ndarray:
    """float64 [STEPS + 1, 2]: x and y from the start on, with the rate running down along a cosine."""
    changes = COMMON | SETTINGS.get(kind, {}) | {"learning_rate": RATES[kind], "matrix_learning_rate": RATES[kind]}
    changes |= {"optimizer": kind}
    config = TrainingConfig(steps=STEPS, warmup_steps=0, final_fraction=0.0, **changes)
    weight = nn.Parameter(torch.diag(torch.tensor(START)))
    optimizers = Optimizers({"weight": weight}, {"weight": "matrix"}, config)
    points: list[tuple[float, ...]] = [START]
    for step in range(STEPS):
        weight.grad = None
        x, y = weight.diagonal()
        surface(x, y).backward()
        optimizers.step(multiplier(config, step))
        points.append(tuple(weight.detach().diagonal().tolist()))
    return np.array(points)


def draw() -> Figure:
    """The paths over the surface, one panel each, and all losses by step in the last."""
    found = {kind: path(kind) for kind in OPTIMIZERS}
    figure = Figure(figsize=(11, 5.9), facecolor=LIGHT.paper)
    grid = figure.add_gridspec(2, 4, left=0.035, right=0.99, bottom=0.06, top=0.86, wspace=0.16, hspace=0.3)
    axes = [figure.add_subplot(grid[place // 4, place % 4]) for place in range(len(found) + 1)]
    for (kind, points), one in zip(found.items(), axes, strict=False):
        _draw_path(one, kind, points)
    _draw_losses(axes[-1], {kind: surface(*points.T) for kind, points in found.items()})
    figure.text(0.035, 0.965, f"Seven optimisers, {STEPS} steps from the same start (circle) to the minimum (cross)",
                color=LIGHT.ink, fontsize=13, fontweight="bold", va="center")  # fmt: skip
    figure.text(0.035, 0.92, "a turned bowl, 20 times as curved across as along; rates run down along a cosine; "
                "one dot a step", color=LIGHT.faint, fontsize=10, va="center")  # fmt: skip
    return figure


def _draw_path(axes: Axes, kind: str, points: np.ndarray) -> None:
    x, y = np.meshgrid(np.linspace(-1.8, 2.3, 200), np.linspace(-1.1, 2.2, 200))
    axes.contourf(x, y, np.sqrt(surface(x, y)), levels=14, cmap="Greys", alpha=0.45)
    axes.plot(*points.T, color=COLOURS[kind], linewidth=1.3, marker=".", markersize=4)
    axes.plot(*START, marker="o", markersize=7, color=LIGHT.paper, markeredgecolor=LIGHT.ink)
    axes.plot(*MINIMUM, marker="x", markersize=8, color=LIGHT.ink, markeredgewidth=2)
    axes.set_xlim(-1.8, 2.3)
    axes.set_ylim(-1.1, 2.2)
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([0, 1, 2])
    axes.tick_params(colors=LIGHT.faint, labelsize=8, length=0)
    axes.set_title(f"{NAMES[kind]}", color=COLOURS[kind], fontsize=11, fontweight="bold", loc="left", pad=4)
    axes.set_title(f"rate {RATES[kind]:.2g}", color=LIGHT.faint, fontsize=9, loc="right", pad=4)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_losses(axes: Axes, losses: dict[str, np.ndarray]) -> None:
    ends = sorted(losses, key=lambda kind: float(losses[kind][-1]))
    for kind in losses:
        axes.semilogy(losses[kind], color=COLOURS[kind], linewidth=1.4)
    for row, kind in enumerate(ends):
        axes.text(0.02, 0.03 + 0.062 * row, NAMES[kind].partition(",")[0], transform=axes.transAxes,
                  color=COLOURS[kind], fontsize=8.5, fontweight="bold")  # fmt: skip
    axes.set_title("loss, by step", color=LIGHT.ink, fontsize=11, fontweight="bold", loc="left", pad=4)
    # room for the names under the lines
    axes.set_ylim(1e-9, 200)
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(colors=LIGHT.faint, labelsize=8, length=0, which="both")
    axes.grid(axis="y", color=LIGHT.grid, linewidth=0.8)
    for spine in axes.spines.values():
        spine.set_visible(False)


def main(write: Callable[[Figure, Path], None] = write_png) -> int:
    """Writes the picture, says so, and returns 0."""
    write(draw(), IMAGE)
    print(IMAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
