"""A learning rate from one short sweep: the rate rises exponentially from step to step until the loss diverges.

At step i of N the rate is lowest * (highest / lowest)^(i / (N - 1)). Below the right rates the loss hardly moves, at
them it falls, above them it rises. Two suggestions are in use: the rate at which the loss falls fastest, and a tenth of
the rate at which it is lowest. All rates of a run are swept together, in the proportion that the settings give them.

Source: Smith 2015, "Cyclical learning rates for training neural networks", arXiv:1506.01186, section 3.3, with the
exponential sweep that later work uses.
"""

import contextlib
import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from textmill.errors import ConfigError, DataError
from textmill.objectives import Objective
from textmill.training.config import TrainingConfig
from textmill.training.placement import OneDevice, Placement
from textmill.training.update import Update

DIVERGED = 2.0
"""The sweep stops where the smoothed loss is so many times its lowest value."""
KEEP = 0.9
"""How much of the smoothed loss stays at each step, for that."""
LEAST_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """What a sweep found. All arrays have one entry a step, up to where the loss diverged."""

    rates: np.ndarray
    """float64: the values of `learning_rate`, rising."""
    losses: np.ndarray
    """float64: the loss of each step's batch before its update, in nats."""
    diverged: bool
    """Whether the loss diverged before the highest rate."""

    @property
    def smoothed(self) -> np.ndarray:
        """The mean of each loss and its neighbours, a twentieth of the sweep in all."""
        return _means(self.losses)

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest, by the logarithm of the rate."""
        smoothed, logs = self.smoothed, np.log(self.rates)
        slopes = _means(np.gradient(smoothed, logs)) if len(logs) > 1 else np.zeros(len(logs))
        # before the lowest loss: after it the curve may fall out of a spike
        return float(self.rates[np.argmin(slopes[: max(1, int(np.argmin(smoothed)) + 1)])])

    @property
    def tenth_of_lowest(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest."""
        return float(self.rates[np.argmin(self.smoothed)]) / 10


def find_learning_rate(
    model: Any,
    objective: Objective,
    batches: Any,
    config: TrainingConfig,
    *,
    steps: int = 200,
    lowest: float = 1e-6,
    highest: float = 1.0,
    placement: Placement | None = None,
) -> LearningRates:
    """Sweeps `learning_rate` on the first batches of a run; the model is left exactly as it was.

    Optimiser, precision, clipping, penalties and groups are those of `config`; its warm-up and schedule take no part.

    Raises:
        ConfigError: fewer than 20 steps, or rates that don't rise.
        DataError: the loss of the untrained model is no finite number.
    """
    if steps < LEAST_STEPS or not 0 < lowest < highest:
        raise ConfigError(
            f"a sweep needs {LEAST_STEPS} steps and 0 < lowest < highest, got steps={steps}, lowest={lowest} and "
            f"highest={highest}",
            fix="for example steps=200, lowest=1e-6, highest=1",
        )
    placement = placement or OneDevice()
    model = placement.place(model)
    rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    running = least = math.inf
    with _left_as_it_was(model), torch.random.fork_rng(devices=[]):
        # a copy, because an objective may remember what came before
        update = Update(model.train(), copy.deepcopy(objective), config, placement)
        try:
            for step, rate in enumerate(rates):
                loss, _ = update.gradients(batches.batch(step), step)
                if not math.isfinite(loss):
                    break
                update.apply(float(rate) / config.learning_rate)
                losses.append(loss)
                running = loss if step == 0 else KEEP * running + (1 - KEEP) * loss
                least = min(least, running)
                if running > DIVERGED * least:
                    break
        finally:
            update.weights.restore()
    if not losses:
        raise DataError("the loss is no finite number before the first update", fix="look at the data and the model")
    return LearningRates(rates=rates[: len(losses)], losses=np.array(losses), diverged=len(losses) < steps)


@contextlib.contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Gives the model its weights, its tables and its mode back."""
    was_training = model.training
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
        model.train(was_training)


def _means(values: np.ndarray) -> np.ndarray:
    """The mean of each value and its neighbours, a twentieth of all; fewer at the ends.

    >>> _means(np.array([0.0, 3.0, 6.0, 0.0])).tolist()
    [1.5, 3.0, 3.0, 3.0]
    """
    reach = max(1, len(values) // 40)
    sums = np.concatenate(([0.0], np.cumsum(values)))
    places = np.arange(len(values))
    first, stop = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    means: np.ndarray = (sums[stop] - sums[first]) / (stop - first)
    return means
