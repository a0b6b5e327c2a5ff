import math
import threading
from pathlib import Path

import numpy as np
import pytest

from textmill.report import plots
from textmill.report.data import Bar, ReportData, Series


def test_a_plot_is_drawn_for_each_part_with_data(report_data: ReportData) -> None:
    assert list(plots.draw_all(report_data)) == [
        "bits_per_byte", "loss", "learning_rate", "speed", "token_lengths", "token_ranks"
    ]  # fmt: skip
    assert plots.draw_all(ReportData(title="Bare")) == {}


def test_the_best_bar_is_on_top_and_values_stand_beside_the_bars() -> None:
    bars = (Bar(name="gzip", bits_per_byte=2.8), Bar(name="ours", bits_per_byte=1.5, ours=True))
    axes = plots.bits_per_byte(bars).axes[0]
    tops = {round(bar.get_width(), 2): bar.get_y() for bar in axes.patches}
    assert tops[1.5] > tops[2.8]
    assert {"1.50", "2.80", "gzip", "ours"} <= {text.get_text() for text in axes.texts}


def test_short_and_broken_lines_are_drawn(tmp_path: Path) -> None:
    one = Series(name="training", steps=(1.0,), values=(3.0,))
    holes = Series(name="held-out", steps=(1.0, 2.0, 3.0), values=(math.nan, 2.0, math.inf))
    for figure in (plots.loss(one, holes), plots.loss(None, one), plots.speed(one), plots.learning_rate((one, one))):
        plots.write_png(figure, tmp_path / "plot.png")
        assert plots.svg(figure).startswith("<svg")
    nothing = ReportData(title="Bare", train_loss=Series(name="training", steps=(1.0,), values=(math.nan,)))
    assert plots.draw_all(nothing) == {}


def test_a_long_run_leaves_out_the_fall_and_says_where_it_began() -> None:
    steps = np.arange(1, 2001)
    values = 2 + 6 * np.exp(-steps / 30)
    figure = plots.loss(Series(name="training", steps=tuple(steps.tolist()), values=tuple(values.tolist())), None)
    assert figure.axes[0].get_ylim()[1] < 4
    assert any("begins at 7.8" in text.get_text() for text in figure.texts)
    assert all(len(line.get_xdata()) <= plots.MOST_POINTS for line in figure.axes[0].lines)


def test_smoothing_keeps_the_mean_of_noise_and_follows_a_fall() -> None:
    noise = np.random.default_rng(0).normal(5, 1, 2000)
    assert abs(plots.smooth(noise)[200:].mean() - 5) < 0.1
    assert plots.smooth(noise)[200:].std() < 0.3
    assert plots.smooth(np.array([9.0]))[0] == 9.0


def test_long_tokens_share_a_last_bar() -> None:
    counts = [0] + [1000] * 20 + [0] * 200 + [1]
    heights = [bar.get_height() for bar in plots.token_lengths(tuple(counts)).axes[0].patches]
    assert sum(heights) == sum(counts)
    assert len(heights) < 30


def test_plots_are_drawn_in_threads_at_once(report_data: ReportData) -> None:
    """No global figure or axes: what one thread draws never lands in another's plot."""
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(plots.svg(plots.bits_per_byte(report_data.bars))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1


def test_a_series_with_missing_values_is_a_programmers_mistake() -> None:
    with pytest.raises(AssertionError):
        Series(name="x", steps=(1.0,), values=())
