"""What to do with a batch whose loss or gradient is no finite number: stop, or leave it out and go on.

A batch that is left out leaves nothing behind: weights, optimisers and running means are as they were before it; what
an objective remembers of it goes on where it is finite, and is zero elsewhere. The step's number goes on, so that a run
that was cut and goes on leaves out the same batches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textmill.errors import TextmillError
from textmill.objectives import Objective
from textmill.training.config import TrainingConfig


class DivergedError(TextmillError):
    """The loss or its gradient is no longer a finite number."""


@dataclass(frozen=True, kw_only=True)
class BadStep:
    """A step that made no update, because its loss or its gradient isn't finite."""

    step: int
    """Its number, counted from 1 as in `StepRecord`; its batch is the one before."""
    loss: float
    gradient_norm: float
    weights: tuple[str, ...]
    """Names of the weights whose gradients aren't finite; empty where their sum alone overflows."""
    skipped: bool
    """Whether the run goes on."""
    in_a_row: int
    """Such steps one after the other, this one included."""

    @property
    def batch(self) -> int:
        """The number of its batch."""
        return self.step - 1

    @property
    def what(self) -> str:
        """
        >>> shared = dict(step=4, weights=(), skipped=False, in_a_row=1)
        >>> BadStep(loss=math.nan, gradient_norm=math.nan, **shared).what
        'loss is nan'
        """
        if not math.isfinite(self.loss):
            return f"loss is {self.loss}"
        return f"gradient's norm is {self.gradient_norm}"

    def error(self, standing: str) -> DivergedError:
        """Why the run stops here; `standing` says which checkpoint is left."""
        row = f", the {self.in_a_row}th such step in a row" if self.in_a_row > 3 else ""
        return DivergedError(
            f"the {self.what} at step {self.step}{row}{standing}",
            fix="use a lower learning rate, a longer warm-up or precision=fp32, or leave such batches out by "
            "training.on_nonfinite=skip"
            if not row
            else "use a lower learning rate, a longer warm-up or precision=fp32: it isn't the batch",
        )


class Skips:
    """Counts the batches that were left out, and undoes what they did beside the weights."""

    def __init__(self, model: Any, objective: Objective, config: TrainingConfig) -> None:
        self.objective, self.config = objective, config
        saved = model.state_dict().keys()
        # running means; tables such as rotary positions aren't saved, and never change
        self.buffers: list[Tensor] = [buffer for name, buffer in model.named_buffers() if name in saved]
        self.total = self.in_a_row = 0
        self._before: list[Tensor] = []

    @property
    def is_on(self) -> bool:
        """Whether such batches are left out, and not the end of the run."""
        return self.config.on_nonfinite == "skip"

    def begin(self) -> None:
        """Remembers the running means, before each step."""
        if self.is_on:
            self._before = [buffer.clone() for buffer in self.buffers]

    @torch.no_grad()
    def undo(self) -> None:
        """Puts the running means back, and takes what isn't finite out of the objective's memory."""
        for buffer, before in zip(self.buffers, self._before, strict=True):
            buffer.copy_(before)
        if hasattr(self.objective, "load_state"):
            remembered: Mapping[str, Tensor] = self.objective.state() if hasattr(self.objective, "state") else {}
            self.objective.load_state(
                {name: torch.where(tensor.isfinite(), tensor, 0) for name, tensor in remembered.items()}
            )

    def count(self, *, bad: bool) -> bool:
        """Takes note of a step; whether the run may go on."""
        self.in_a_row = self.in_a_row + 1 if bad else 0
        may_go_on = not bad or (self.is_on and self.in_a_row < self.config.most_skips)
        self.total += bad and may_go_on
        return may_go_on
