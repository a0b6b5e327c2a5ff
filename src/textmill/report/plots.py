"""The plots of a report, in one style, drawn on figure objects: no window, no global state.

A plot says what it shows in a title at its left, names its unit under it, and labels lines where they end.
"""

import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from textmill.files import replacing
from textmill.report.data import Bar, ReportData, Series
from textmill.report.words import number

_SVG_SETTINGS = threading.Lock()

T = TypeVar("T")

MOST_POINTS = 500
"""A line is thinned to so many points: more can't be told apart and make the page heavy."""
WIDTH_INCHES = 5.4
HEIGHT_INCHES = 3.1


@dataclass(frozen=True, kw_only=True)
class Palette:
    paper: str
    ink: str
    faint: str
    grid: str
    ours: str
    second: str
    other: str


LIGHT = Palette(
    paper="#ffffff", ink="#23282d", faint="#6b7280", grid="#e8e5de", ours="#0b6e69", second="#c77b1b", other="#b9b4a8"
)
DARK = Palette(
    paper="#1c2125", ink="#e9e6df", faint="#9aa3ad", grid="#30373d", ours="#4cc2b4", second="#e6ad58", other="#5d666e"
)


def draw_all(data: ReportData, palette: Palette = LIGHT) -> dict[str, Figure]:
    """Every plot that the report has data for, by file name without its ending."""
    plots: Mapping[str, tuple[bool, Callable[[], Figure]]] = {
        "bits_per_byte": (bool(data.bars), lambda: bits_per_byte(data.bars, palette)),
        "loss": (
            has(data.train_loss) or has(data.held_out_loss),
            lambda: loss(data.train_loss, data.held_out_loss, palette),
        ),
        "learning_rate": (any(map(has, data.learning_rates)), lambda: learning_rate(data.learning_rates, palette)),
        "speed": (has(data.speed), lambda: speed(_given(data.speed), palette)),
        "token_lengths": (
            data.tokenizer is not None and bool(data.tokenizer.length_counts),
            lambda: token_lengths(_given(data.tokenizer).length_counts, palette),
        ),
        "token_ranks": (
            data.tokenizer is not None and bool(data.tokenizer.rank_counts),
            lambda: token_ranks(_given(data.tokenizer).rank_counts, palette),
        ),
    }
    return {name: draw() for name, (there, draw) in plots.items() if there}


def loss(train: Series | None, held_out: Series | None, palette: Palette = LIGHT) -> Figure:
    """Training loss as it came and smoothed, held-out loss at its measurements; nats per token."""
    unit, limits = "nats per token, by training step", None
    if train is not None and has(train):
        limits = _without_the_fall(_finite(train)[1])
        unit += f" (begins at {_finite(train)[1][0]:.1f})" if limits else ""
    figure, axes = bare_axes("Loss", unit, palette)
    ends: list[tuple[float, float, str, str]] = []
    if train is not None and has(train):
        steps, values = _finite(train)
        smoothed = smooth(values)
        thin = _thin(len(steps))
        axes.plot(steps[thin], values[thin], color=palette.second, alpha=0.28, linewidth=0.8)
        axes.plot(steps[thin], smoothed[thin], color=palette.second, linewidth=1.8)
        ends.append((steps[-1], smoothed[-1], f"{train.name} {smoothed[-1]:.2f}", palette.second))
    if held_out is not None and has(held_out):
        steps, values = _finite(held_out)
        axes.plot(steps, values, color=palette.ours, linewidth=1.8, marker="o", markersize=3.5)
        ends.append((steps[-1], values[-1], f"{held_out.name} {values[-1]:.2f}", palette.ours))
    _label_ends(axes, ends)
    axes.set_ylim(limits)
    return figure


def learning_rate(rates: tuple[Series, ...], palette: Palette = LIGHT) -> Figure:
    figure, axes = bare_axes("Learning rate", "by training step", palette)
    colours = [palette.ours, palette.second, palette.faint]
    tops: list[tuple[float, float, str, str]] = []
    for index, series in enumerate(filter(has, rates)):
        steps, values = _finite(series)
        colour = colours[index % len(colours)]
        thin = _thin(len(steps))
        axes.plot(steps[thin], values[thin], color=colour, linewidth=1.8)
        axes.fill_between(steps[thin], values[thin], color=colour, alpha=0.10, linewidth=0)
        tops.append((steps[-1], values[-1], f"{series.name}, at most {values.max():.2g}", colour))
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    # lines end near zero, so the names stand in the upper right corner, where every schedule leaves room
    for index, (_, _, name, colour) in enumerate(tops):
        axes.text(0.985, 0.95 - 0.11 * index, name, transform=axes.transAxes, color=colour, ha="right", va="top")
    axes.set_ylim(top=axes.get_ylim()[1] * (1.12 + 0.12 * len(tops)))
    return figure


def speed(series: Series, palette: Palette = LIGHT) -> Figure:
    """Tokens per second, and their median."""
    figure, axes = bare_axes("Speed", "tokens per second, by training step", palette)
    steps, values = _finite(series)
    thin = _thin(len(steps))
    median = float(np.median(values))
    axes.plot(steps[thin], values[thin], color=palette.ours, linewidth=1.2)
    axes.axhline(median, color=palette.second, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_ylim(0, values.max() * 1.3)
    axes.margins(x=0)
    label = f"median {number(median)}"
    axes.text(0.985, 0.95, label, transform=axes.transAxes, color=palette.second, ha="right", va="top")
    return figure


def bits_per_byte(bars: tuple[Bar, ...], palette: Palette = LIGHT) -> Figure:
    """One bar for the model and one for each baseline, the best on top."""
    ordered = sorted(bars, key=lambda bar: bar.bits_per_byte, reverse=True)
    height = 0.72 + 0.4 * len(ordered)
    figure, axes = bare_axes("Bits per byte on held-out text", "less is better", palette, height=height)
    for row, bar in enumerate(ordered):
        colour = palette.ours if bar.ours else palette.other
        axes.barh(row, bar.bits_per_byte, height=0.42, color=colour, linewidth=0)
        weight = "bold" if bar.ours else "normal"
        text_colour = palette.ours if bar.ours else palette.ink
        axes.text(0, row + 0.24, bar.name, color=text_colour, fontweight=weight, va="bottom", ha="left")
        axes.annotate(
            f"{bar.bits_per_byte:.2f}",
            (bar.bits_per_byte, row),
            (4, 0),
            "data",
            "offset points",
            color=text_colour,
            fontweight=weight,
            va="center",
        )
    axes.set_yticks([])
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_ylim(-0.35, len(ordered) - 0.2)
    axes.set_position((0.02, 0.02, 0.95, 1 - 0.64 / height))
    axes.set_xlim(0, max(bar.bits_per_byte for bar in ordered) * 1.12)
    return figure


def token_lengths(counts: tuple[int, ...], palette: Palette = LIGHT) -> Figure:
    """How many tokens of the vocabulary have 1, 2, 3, ... bytes; the longest tenth of a percent in one last bar."""
    figure, axes = bare_axes("Length of tokens", "tokens of the vocabulary, by bytes", palette)
    lengths = np.array(counts, dtype=np.int64)
    most = len(lengths) - 1
    if most > 20:
        most = max(20, int(np.searchsorted(np.cumsum(lengths), 0.999 * lengths.sum())))
    shown = np.append(lengths[1:most], lengths[most:].sum())
    axes.bar(np.arange(1, most + 1), shown, color=palette.ours, width=0.8, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if most < len(lengths) - 1:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}+" if round(x) == most else f"{x:.0f}"))
        axes.set_xticks([*[x for x in axes.get_xticks() if 1 <= x < most - 1], most])
    mean = float((np.arange(len(lengths)) * lengths).sum() / max(lengths.sum(), 1))
    axes.text(0.985, 0.95, f"mean {mean:.1f} bytes", transform=axes.transAxes, color=palette.ours, ha="right", va="top")
    return figure


def token_ranks(counts: tuple[int, ...], palette: Palette = LIGHT) -> Figure:
    """Occurrences against rank, both logarithmic: a straight line is Zipf's law."""
    figure, axes = bare_axes("Frequency of tokens", "occurrences in held-out text, by rank", palette)
    values = np.array([count for count in counts if count > 0], dtype=np.float64)
    ranks = np.arange(1, len(values) + 1)
    thin = np.unique(np.geomspace(1, len(values), min(len(values), MOST_POINTS)).astype(np.int64)) - 1
    axes.loglog(ranks[thin], values[thin], color=palette.ours, linewidth=1.8)
    # Zipf's law through the middle of the line, as something to see the curve against
    middle = len(values) // 2
    zipf = values[middle] * ranks[middle] / ranks
    axes.loglog(ranks[thin], zipf[thin], color=palette.second, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_ylim(0.7, max(values.max(), zipf.max()) * 1.6)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda x, _: number(x)))
        axis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.text(
        0.985, 0.95, "1 / rank, for comparison", transform=axes.transAxes, color=palette.second, ha="right", va="top"
    )
    return figure


def smooth(values: np.ndarray) -> np.ndarray:
    """An exponential mean that reaches back over a fiftieth of the line, less at its beginning.

    >>> smooth(np.array([4.0, 4.0, 4.0])).tolist()
    [4.0, 4.0, 4.0]
    """
    out = np.empty(len(values))
    mean = 0.0
    for i, value in enumerate(values):
        # at the beginning, where the loss falls fast, the mean reaches back over less
        reach = min(1 + i / 4, max(1.0, len(values) / 50))
        mean += (value - mean) / reach
        out[i] = mean
    return out


def svg(figure: Figure) -> str:
    """The figure as an SVG element, equal for equal data."""
    buffer = io.StringIO()
    # the setting is the whole process's, so two threads must not restore it under each other
    with _SVG_SETTINGS, matplotlib.rc_context({"svg.hashsalt": "textmill", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def write_png(figure: Figure, path: Path) -> None:
    """The figure as a PNG file, whole or absent.

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    with replacing(path) as file:
        file.write(buffer.getvalue())


def has(series: Series | None) -> bool:
    """Whether there is something to draw."""
    return series is not None and bool(np.isfinite(np.array(series.values)).any())


def _given(value: T | None) -> T:
    assert value is not None
    return value


def bare_axes(title: str, unit: str, palette: Palette, *, height: float = HEIGHT_INCHES) -> tuple[Figure, Axes]:
    """Bare axes with the title and the unit at their upper left."""
    figure = Figure(figsize=(WIDTH_INCHES, height), facecolor=palette.paper)
    top = 1 - 0.62 / height
    axes = figure.add_axes((0.115, 0.36 / height, 0.845, top - 0.36 / height))
    axes.set_facecolor(palette.paper)
    figure.text(0.02, 1 - 0.09 / height, title, color=palette.ink, fontsize=12.5, fontweight="bold", va="top")
    figure.text(0.02, 1 - 0.33 / height, unit, color=palette.faint, fontsize=9.5, va="top")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(palette.other)
    axes.grid(axis="y", color=palette.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=palette.faint, labelsize=9.5, length=0, which="both")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: number(x)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: number(y)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    return figure, axes


def _label_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Names above and below the lines' right ends, the higher line's above."""
    axes.margins(x=0.01, y=0.12)
    for index, (x, y, name, colour) in enumerate(sorted(ends, key=lambda end: -end[1])):
        above = index == 0
        axes.annotate(
            name,
            (x, y),
            (0, 14 if above else -12),
            "data",
            "offset points",
            color=colour,
            fontweight="bold",
            ha="right",
            va="bottom" if above else "top",
        )


def _without_the_fall(values: np.ndarray) -> tuple[float, float] | None:
    """Limits of y that leave out the first steep fall where it would flatten all that comes after, else None."""
    top = float(smooth(values)[len(values) // 25 :].max())
    bottom = float(values.min())
    if len(values) < MOST_POINTS or values[0] - bottom < 1.5 * (top - bottom):
        return None
    return bottom - 0.15 * (top - bottom), top


def _finite(series: Series) -> tuple[np.ndarray, np.ndarray]:
    steps, values = np.array(series.steps, dtype=np.float64), np.array(series.values, dtype=np.float64)
    kept = np.isfinite(values)
    return steps[kept], values[kept]


def _thin(length: int) -> np.ndarray:
    """Positions of at most MOST_POINTS points, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, MOST_POINTS)).round().astype(np.int64))
