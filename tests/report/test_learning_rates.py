"""The picture of a sweep draws whatever a sweep can be."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from textmill.report import learning_rates, plots
from textmill.training.learning_rate_finder import LearningRates


def curve(steps: int, *, diverged: bool = False) -> LearningRates:
    logs = np.linspace(-6, 0, steps)
    losses = 9 - 3 / (1 + np.exp(-4 * (logs + 3))) + 3 * np.maximum(logs + 1.5, 0) ** 2
    losses = losses + 0.05 * np.random.default_rng(0).normal(size=steps)
    return LearningRates(rates=10**logs, losses=losses, diverged=diverged)


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in [*figure.texts, *figure.axes[0].texts])


@pytest.mark.parametrize("palette", [plots.LIGHT, plots.DARK])
def test_it_marks_both_suggestions(palette: plots.Palette) -> None:
    found = curve(200, diverged=True)
    figure = learning_rates.draw(found, palette)
    assert f"steepest: {found.steepest:.1e}" in words(figure)
    assert f"lowest / 10: {found.tenth_of_lowest:.1e}" in words(figure)
    assert "until it diverges" in words(figure)
    assert plots.svg(figure) == plots.svg(learning_rates.draw(found, palette))


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_short_sweeps(steps: int) -> None:
    figure = learning_rates.draw(curve(steps))
    assert "diverges" not in words(figure)
    assert plots.svg(figure)
