"""The picture of the optimisers: all of them, from one start, downhill."""

from pathlib import Path

import numpy as np
import pytest
from docs import optimizer_paths
from matplotlib.figure import Figure

from textmill.training.optimizers import OPTIMIZERS


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_path_leads_down(kind: str) -> None:
    points = optimizer_paths.path(kind)
    assert points.shape == (optimizer_paths.STEPS + 1, 2)
    assert np.allclose(points[0], optimizer_paths.START)
    losses = optimizer_paths.surface(*points.T)
    assert losses[-1] < losses[0] / 100
    assert optimizer_paths.surface(*optimizer_paths.MINIMUM) == 0


def test_the_picture_names_every_optimizer(capsys: pytest.CaptureFixture[str]) -> None:
    drawn: list[tuple[Figure, Path]] = []
    assert optimizer_paths.main(lambda figure, path: drawn.append((figure, path))) == 0
    [(figure, path)] = drawn
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    assert titles == {*optimizer_paths.NAMES.values(), "loss, by step"}
    assert optimizer_paths.NAMES.keys() == OPTIMIZERS.keys()
    assert path.is_file()
    assert str(path) in capsys.readouterr().out
