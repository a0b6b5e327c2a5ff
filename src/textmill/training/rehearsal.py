"""Real steps of a small part of a run, for its plan: what they keep in memory, and how long they take.

Three steps by the trainer's own arithmetic: one that makes the optimisers' state, one under the eyes of
`training.memory.LiveBytes`, one against the clock. Where the whole model and a whole micro-batch would take too long,
parts of both are rehearsed: all figures are then linear in the layers, linear in the rows, and known from four corners.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textmill.objectives import Objective
from textmill.objectives.base import measured
from textmill.training.batches import lengths
from textmill.training.config import TrainingConfig
from textmill.training.flops import flops_of, num_predicted
from textmill.training.memory import LiveBytes, num_bytes
from textmill.training.placement import OneDevice
from textmill.training.update import Update

LEAST_TOKENS = 1024
"""Of a rehearsed micro-batch: with fewer, one chunk of logits would hold all of them."""

MakeModel = Callable[[int | None], Any]
"""(layers; None: all of them) -> a model in training mode"""
MakeBatch = Callable[[int], Any]
"""rows -> a batch like those of the run"""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a rehearsed step had. Bytes, all tensors of the moment included."""

    phases: Mapping[str, float]
    """The peak of each phase. Forward goes up to where the trunk's own backward pass begins: the head's is in it."""
    state: float
    """Of the optimisers."""
    flops_per_second: float
    """Forward and backward; the model's operations, by `training.flops`."""
    update_seconds: float
    """Of the optimisers' step."""
    num_parameters: float
    rehearsed: int
    """The peak of what was really rehearsed."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is rehearsed."""

    model: MakeModel
    batch: MakeBatch
    objective: Objective
    config: TrainingConfig
    device: torch.device
    evaluates: bool

    @property
    def micro(self) -> int:
        """Rows held at once while training; on held-out text it is the whole batch."""
        return self.config.micro_batch_size or self.config.batch_size

    @property
    def parts(self) -> int:
        """Parts of a rehearsed batch: two where the run's batches are cut, since gradients then wait for more."""
        return 2 if self.micro < self.config.batch_size else 1


def rehearse(scene: Scene, num_layers: int | None, micro: int, evaluation_rows: int) -> Rehearsal:
    """Steps with `micro` rows at once, and a measurement with `evaluation_rows`."""
    rows = micro * scene.parts
    config = dataclasses.replace(scene.config, batch_size=rows, micro_batch_size=micro)
    with torch.random.fork_rng(devices=[]):
        model: Any = OneDevice(scene.device).place(scene.model(num_layers)).train()
        if hasattr(model, "set_recompute"):
            model.set_recompute(config.recompute)
        update = Update(model, scene.objective, config, OneDevice(scene.device))
        batch = scene.batch(rows)
        update.gradients(batch, 0)
        update.apply(0.0)
        counted = LiveBytes()
        state = [value for value in update.optimizers.state().values() if isinstance(value, Tensor)]
        counted.count([*model.parameters(), *model.buffers(), *update.weights.masters.values(), *state])
        with counted:
            counted.phase = "forward"
            handle = model.trunk.register_forward_hook(_marks_backward(counted))
            update.gradients(batch, 1)
            handle.remove()
            counted.phase = "update"
            update.apply(0.0)
            if scene.evaluates:
                counted.phase = "evaluation"
                _evaluate(scene.objective, model, scene.batch(evaluation_rows))
        seconds, update_seconds = _timed(update, batch, scene.device)
    work = flops_of(model).training(lengths(batch), num_predicted(scene.objective, batch))
    return Rehearsal(
        phases={phase: peak for phase, peak in counted.peaks.items() if phase},
        state=num_bytes(state),
        flops_per_second=work / seconds,
        update_seconds=update_seconds,
        num_parameters=sum(weight.numel() for weight in update.weights.masters.values()),
        rehearsed=max(counted.peaks.values()),
    )


def _marks_backward(counted: LiveBytes) -> Callable[[Any, Any, Any], None]:
    """A hook of the trunk: the gradient of what it gives out begins the next phase, a forward pass the first again."""

    def began(_: Tensor) -> None:
        counted.phase = "backward"

    def mark(_: Any, __: Any, output: Any) -> None:
        counted.phase = "forward"
        hidden = output if isinstance(output, Tensor) else output[0]
        if hidden.requires_grad:
            hidden.register_hook(began)

    return mark


@torch.no_grad()
def _evaluate(objective: Objective, model: Any, batch: Any) -> None:
    model.eval()
    measured(objective, model, batch)
    model.train()


def _timed(update: Update, batch: Any, device: torch.device) -> tuple[float, float]:
    """Seconds of forward and backward, and of the optimisers' step."""
    stamps = []
    for part in (lambda: update.gradients(batch, 2), lambda: update.apply(0.0)):
        _wait(device)
        began = time.perf_counter()
        part()
        _wait(device)
        stamps.append(time.perf_counter() - began)
    return stamps[0], stamps[1]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# --- the whole from its parts


def outlook(scene: Scene, num_layers: int | None, period: int, *, whole: bool) -> Rehearsal:
    """What the whole model's steps with whole micro-batches are expected to have.

    Args:
        num_layers: of the whole model; None where its layers aren't counted.
        period: every so many layers the same kinds come again.
        whole: rehearse all of it.
    """
    if whole:
        return rehearse(scene, None, scene.micro, scene.config.batch_size)
    rows = corners(scene.micro, -(-LEAST_TOKENS // scene.config.context_length))
    layers: list[Any] = [None]
    if num_layers is not None:
        layers = corners(num_layers, max(2, period + num_layers % period), period)
    evaluated = [scene.config.batch_size] if len(rows) == 1 else rows
    seen = {(some, r): rehearse(scene, some, r, e) for some in layers for r, e in zip(rows, evaluated, strict=True)}

    def expected(figure: Callable[[Rehearsal], float], at: int) -> float:
        """a + b l + c r + d l r through the corners, at the whole's layers and rows."""
        return _line(layers, [_line(rows, [figure(seen[some, r]) for r in rows], at) for some in layers], num_layers)

    largest = seen[layers[-1], rows[-1]]
    num_parameters = expected(lambda each: each.num_parameters, scene.micro)
    return Rehearsal(
        phases={
            phase: expected(
                lambda each, phase=phase: each.phases[phase],  # type: ignore[misc]
                scene.config.batch_size if phase == "evaluation" else scene.micro,
            )
            for phase in largest.phases
        },
        state=expected(lambda each: each.state, scene.micro),
        flops_per_second=largest.flops_per_second,
        update_seconds=largest.update_seconds * num_parameters / largest.num_parameters,
        num_parameters=num_parameters,
        rehearsed=max(each.rehearsed for each in seen.values()),
    )


def corners(whole: int, first: int, step: int | None = None) -> list[int]:
    """Two sizes to rehearse, `step` apart or the second twice the first; the whole alone where it is no larger.

    >>> corners(12, 2, 1), corners(22, 4, 3), corners(3, 2, 1), corners(32, 4)
    ([2, 3], [4, 7], [3], [4, 8])
    """
    second = 2 * first if step is None else first + step
    return [whole] if second >= whole else [first, second]


def _line(places: list[Any], values: list[float], at: int | None) -> float:
    """
    >>> _line([2, 3], [10.0, 14.0], 5), _line([2], [10.0], 5)
    (22.0, 10.0)
    """
    if len(places) == 1 or at is None:
        return values[0]
    slope = (values[1] - values[0]) / (places[1] - places[0])
    return values[0] + slope * (at - places[0])
