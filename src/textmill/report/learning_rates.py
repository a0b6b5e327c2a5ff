"""The picture of a learning-rate sweep."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from textmill.report.plots import LIGHT, Palette, bare_axes
from textmill.training.learning_rate_finder import LearningRates


def draw(found: LearningRates, palette: Palette = LIGHT) -> Figure:
    """Loss against rate, as it came and smoothed, with the two suggestions marked."""
    end = ", until it diverges" if found.diverged else ""
    figure, axes = bare_axes("Learning-rate sweep", f"loss in nats, by learning rate{end}", palette)
    smoothed = found.smoothed
    axes.set_xscale("log")
    axes.plot(found.rates, found.losses, color=palette.second, alpha=0.28, linewidth=0.8)
    axes.plot(found.rates, smoothed, color=palette.second, linewidth=1.8)
    low, high = float(smoothed.min()), float(smoothed[: max(1, int(np.argmin(smoothed)))].max())
    span = max(high - low, 1e-9)
    axes.set_ylim(low - 0.2 * span, high + 0.45 * span)
    marks = sorted(((found.tenth_of_lowest, "lowest / 10:"), (found.steepest, "steepest:")))
    reach = np.log(found.rates[-1] / found.rates[0]) or 1.0
    for row, (rate, name) in enumerate(marks):
        height = high + (0.34 - 0.16 * row) * span
        axes.axvline(rate, color=palette.ours, linewidth=1.0, linestyle=(0, (4, 3)))
        # the lower rate's name stands at its left and the higher one's at its right, where there is room
        part = np.log(rate / found.rates[0]) / reach
        place, side = (-5, "right") if part > (0.65 if row else 0.35) else (5, "left")
        label = f"{name} {rate:.1e}"
        axes.annotate(label, (rate, height), (place, 0), "data", "offset points", color=palette.ours, ha=side)
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0e}".replace("e-0", "e-").replace("e+00", "")))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    return figure
