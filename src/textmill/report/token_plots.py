"""The plots of a comparison of tokenizers: a colour for each of them in all plots."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from textmill.report.judgement import Judgement
from textmill.report.plots import HEIGHT_INCHES, LIGHT, Palette, bare_axes
from textmill.report.words import number

SERIES = ("#0b6e69", "#c77b1b", "#5468c9", "#b3403a", "#6b8e23", "#8a56b0")
"""Told apart on light and on dark paper."""
MOST_GROUPS = 10
MOST_LENGTH = 20
_NAME_CHARACTERS = 24


def draw_comparison(judgements: Sequence[Judgement], palette: Palette = LIGHT) -> dict[str, Figure]:
    """Each plot by its name."""
    return {
        "bytes_by_group": bytes_by_group(judgements, palette),
        "ranks": ranks(judgements, palette),
        "lengths": lengths(judgements, palette),
    }


def bytes_by_group(judgements: Sequence[Judgement], palette: Palette = LIGHT) -> Figure:
    """Bytes per token of the groups that most of the text belongs to; hollow where most tokens are unknown."""
    totals: dict[str, int] = {}
    for judgement in judgements:
        for name, group in judgement.figures.groups.items():
            totals[name] = totals.get(name, 0) + round(group.tokens * group.bytes_per_token)
    shown = sorted((name for name in totals if name != "blanks"), key=lambda name: -totals[name])[:MOST_GROUPS]
    height = 1.2 + len(shown) * (0.16 + 0.11 * len(judgements))
    said = "by script and kind of character; hollow: mostly the unknown token"
    figure, axes = bare_axes("Bytes per token", said, palette, height=height)
    thick = 0.8 / len(judgements)
    for index, judgement in enumerate(judgements):
        colour = SERIES[index % len(SERIES)]
        for row, name in enumerate(shown):
            found = judgement.figures.groups.get(name)
            if found is None:
                continue
            hollow = found.unknown_rate > 0.5
            axes.barh(
                row + (index + 0.5) * thick - 0.4,
                found.bytes_per_token,
                height=thick * 0.85,
                color="none" if hollow else colour,
                edgecolor=colour,
                linewidth=0.8,
            )
    axes.set_yticks(range(len(shown)), shown)
    axes.invert_yaxis()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda row, _: shown[int(row)] if 0 <= row < len(shown) else ""))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=palette.grid, linewidth=0.8)
    box = axes.get_position()
    axes.set_position((0.2, box.y0, 0.76, box.height))
    # the names stand to the right of the bars
    axes.set_xlim(right=axes.get_xlim()[1] * 1.4)
    _legend(axes, judgements, palette, "lower right", height)
    return figure


def ranks(judgements: Sequence[Judgement], palette: Palette = LIGHT) -> Figure:
    """Occurrences against rank, both logarithmic."""
    figure, axes = bare_axes("Frequency of tokens", "occurrences in the text, by rank", palette)
    for index, judgement in enumerate(judgements):
        points = np.array(judgement.rank_counts, dtype=np.float64)
        axes.loglog(points[:, 0], points[:, 1], color=SERIES[index % len(SERIES)], linewidth=1.6)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda x, _: number(x)))
        axis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    _legend(axes, judgements, palette, "upper right")
    return figure


def lengths(judgements: Sequence[Judgement], palette: Palette = LIGHT) -> Figure:
    """Share of the vocabulary by the length of tokens; the longest together at the end."""
    figure, axes = bare_axes("Length of tokens", "per cent of the vocabulary, by bytes", palette)
    for index, judgement in enumerate(judgements):
        counts = np.array(judgement.length_counts, dtype=np.float64)
        shown = np.zeros(MOST_LENGTH + 1)
        short = min(len(counts), MOST_LENGTH)
        shown[:short] = counts[:short]
        shown[MOST_LENGTH] = counts[MOST_LENGTH:].sum()
        percent = 100 * shown / max(1.0, counts.sum())
        axes.plot(range(1, MOST_LENGTH + 1), percent[1:], color=SERIES[index % len(SERIES)], linewidth=1.6)
    axes.set_ylim(bottom=0)
    axes.set_xticks([1, 5, 10, 15, MOST_LENGTH])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}+" if x == MOST_LENGTH else f"{x:.0f}"))
    _legend(axes, judgements, palette, "upper right")
    return figure


def _legend(
    axes: Axes, judgements: Sequence[Judgement], palette: Palette, place: str, height: float = HEIGHT_INCHES
) -> None:
    """The names in their colours, one under the other."""
    right, top = "right" in place, "upper" in place
    step = 0.085 * HEIGHT_INCHES / height
    names = list(enumerate(judgements)) if top else list(reversed(list(enumerate(judgements))))
    for line, (index, judgement) in enumerate(names):
        axes.text(
            0.985 if right else 0.015,
            0.96 - step * line if top else 0.03 + step * line,
            judgement.name[-_NAME_CHARACTERS:].replace("$", r"\$"),
            transform=axes.transAxes,
            color=SERIES[index % len(SERIES)],
            ha="right" if right else "left",
            va="top" if top else "bottom",
            fontsize=9.5,
            fontweight="bold",
            backgroundcolor=palette.paper,
        )
