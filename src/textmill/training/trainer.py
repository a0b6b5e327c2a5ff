"""The training loop.

Losses are summed and divided once by their counts over the whole batch, however it is cut. A step is a function of its
number: the batch and all chance come from (seed, step). So a run that is cut anywhere and goes on from a
checkpoint ends, on a CPU and with the same number of threads, with the same weights to the bit.
"""

import contextlib
import dataclasses
import hashlib
import math
import platform
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

import textmill
from textmill.errors import TextmillError
from textmill.objectives import Objective
from textmill.ops.permutation import mixed
from textmill.training import cpu
from textmill.training.checkpoints import Checkpoints, State, refuse_other
from textmill.training.compiling import compile_trunk
from textmill.training.config import TrainingConfig
from textmill.training.hooks import Hook, RunRecord, StepRecord
from textmill.training.optimizers import Optimizers, roles
from textmill.training.placement import OneDevice, Placement, split_rows
from textmill.training.precision import Weights, chosen_dtype
from textmill.training.schedules import multiplier
from textmill.training.signals import Signals

Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""A measurement on held-out text; its `loss` decides which checkpoint is the best."""


class Batches(Protocol):
    """Numbered batches: the same number gives the same batch."""

    def batch(self, step: int) -> Any: ...


class DivergedError(TextmillError):
    """The loss or its gradient is no longer a finite number."""


class StoppedError(TextmillError):
    """A signal ended the run early; a checkpoint was written and the same command goes on."""

    def __init__(self, signal_name: str, step: int) -> None:
        super().__init__(f"stopped by {signal_name} after step {step}", fix="run the same command again to go on")
        self.signal_name, self.step = signal_name, step
        # what shells say of a process that a signal ended: 130 for Ctrl-C
        self.exit_status = 128 + signal.Signals[signal_name]


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a finished run leaves, beside the trained weights in the model."""

    step: int
    """Updates done."""
    loss: float
    """The last batch's, in nats."""
    metrics: Mapping[str, float]
    """The last measurement on held-out text; empty without one."""
    best_loss: float | None
    best_step: int | None
    best_checkpoint: Path | None
    """Where the held-out loss was lowest."""
    elapsed_seconds: float
    tokens: int
    precision: str


class Trainer:
    """Trains `model` on numbered batches; `run` starts, or goes on from the newest checkpoint under `out`.

    The model ends with fp32 weights, whatever the precision in between.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        batches: Batches,
        config: TrainingConfig,
        *,
        out: Path,
        evaluate: Evaluate | None = None,
        hooks: Sequence[Hook] = (),
        placement: Placement | None = None,
    ) -> None:
        self.placement = placement or OneDevice()
        self.model: Any = self.placement.place(model)
        self.objective, self.batches, self.config = objective, batches, config
        self.evaluate, self.hooks = evaluate, list(hooks)
        self.checkpoints = Checkpoints(out / "checkpoints", keep=config.keep)

    def run(self, *, fresh: bool = False) -> TrainingResult:
        """Trains to the end.

        Args:
            fresh: begin again, forgetting the checkpoints.

        Raises:
            StoppedError: Ctrl-C, SIGTERM or a closed terminal; a checkpoint was written.
            DivergedError: the loss or the gradient is not finite.
            ConfigError: the newest checkpoint belongs to another run.
            OutputError: a checkpoint can't be written; those before it stand.
        """
        with contextlib.ExitStack() as undo:
            self._prepare(undo)
            self._resume(fresh)
            stop = undo.enter_context(Signals())
            self._start_hooks(undo)
            while not self.finished:
                self._train_step()
                improved = self._evaluate_if_due()
                if improved or stop.received or self._checkpoint_due():
                    self._save()
                if stop.received:
                    raise StoppedError(stop.received, self.step)
        return self._result()

    def _train_step(self) -> None:
        """One update of the weights."""
        config, started = self.config, time.perf_counter()
        batch = self.batches.batch(self.step)
        counts = self.objective.counts(batch)

        # forward and backward, part by part; gradients add up
        losses: dict[str, Tensor] = {}
        for number, part in enumerate(split_rows(self.placement.share(batch), config.micro_batch_size)):
            torch.manual_seed(mixed(config.seed, self.step, number))
            sums = self.objective(self.model, part)
            torch.autograd.backward(self._mean(sums, counts))
            self.weights.collect_gradients()
            losses = {key: losses.get(key, 0.0) + loss.detach() for key, loss in sums.items()}
        loss = float(self._mean(self.placement.total(losses), counts))

        # clip, after making sure there is something sound to clip
        norm = float(nn.utils.clip_grad_norm_(self.weights.trained.values(), config.clip_norm or math.inf))
        self._refuse_divergence(loss, norm)

        # update
        rate = self.optimizers.step(multiplier(config, self.step, self._elapsed()))
        self.weights.publish()
        self.weights.drop_gradients()

        self.step += 1
        self.loss = loss
        self.finished = self._is_over()
        num_tokens = batch.tokens.size if hasattr(batch, "tokens") else max(counts.values())
        self.tokens += num_tokens
        self._tell(loss, norm, rate, num_tokens / (time.perf_counter() - started))

    def _mean(self, sums: Mapping[str, Tensor], counts: Mapping[str, int]) -> Tensor:
        """The weighted sum of the means."""
        weights = self.objective.weights
        return torch.stack([loss * (weights[key] / max(1, counts[key])) for key, loss in sums.items()]).sum()

    def _refuse_divergence(self, loss: float, norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient's norm is {norm}"
        steps = self.checkpoints.steps()
        standing = f"; the checkpoint of step {steps[-1]} stands" if steps else ""
        raise DivergedError(
            f"the {what} at step {self.step + 1}{standing}",
            fix="use a lower learning rate, a longer warm-up, or precision=fp32",
        )

    # --- what happens around the steps

    def _prepare(self, undo: contextlib.ExitStack) -> None:
        """Weights, optimisers and the process's settings; all that must be undone at the end is put in `undo`."""
        config = self.config
        if self.placement.device.type == "cpu":
            cpu.keep_memory()
        undo.enter_context(torch.random.fork_rng(devices=[]))
        self.weights = Weights(self.model, chosen_dtype(config.precision, self.placement.device))
        undo.callback(self.weights.restore)
        self.precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[self.weights.dtype]
        self.optimizers = Optimizers(self.weights.trained, roles(self.model), config)
        was_training = self.model.training
        undo.callback(self.model.train, was_training)
        self.model.train()
        if hasattr(self.model, "set_recompute"):
            self.model.set_recompute(config.recompute)
            undo.callback(self.model.set_recompute, False)
        if config.compile:
            undo.callback(compile_trunk(self.model))

    def _resume(self, fresh: bool) -> None:
        """Takes up the newest checkpoint, or stands at step 0."""
        self.step, self.tokens, self.elapsed_before = 0, 0, 0.0
        self.loss, self.best_loss, self.best_step = math.nan, None, None
        self.metrics: Mapping[str, float] = {}
        self.settings = self._settings()
        self.checkpoints.clean()
        if fresh:
            self.checkpoints.delete()
        found = self.checkpoints.newest()
        if found is not None:
            refuse_other(found.state.settings, self.settings, found.path)
            self.weights.load(found.model())
            self.optimizers.load(found.optimizer())
            state = found.state
            self.step, self.tokens, self.elapsed_before = state.step, state.tokens, state.elapsed_seconds
            self.loss, self.metrics = state.loss, state.metrics
            self.best_loss, self.best_step = state.best_loss, state.best_step
        self.first_step = self.step
        self.started = self.saved_at = time.monotonic()
        self.finished = self._is_over()

    def _start_hooks(self, undo: contextlib.ExitStack) -> None:
        record = RunRecord(
            first_step=self.step,
            steps=self.config.steps,
            minutes=self.config.minutes,
            num_parameters=sum(weight.numel() for weight in self.weights.masters.values()),
            precision=self.precision,
            device=str(self.placement.device),
            threads=torch.get_num_threads(),
            tokens_per_step=self.config.tokens_per_step,
        )
        for hook in self.hooks:
            undo.callback(hook.on_end)
            hook.on_start(record)

    def _tell(self, loss: float, norm: float, rate: float, tokens_per_second: float) -> None:
        if not self.hooks:
            return
        record = StepRecord(
            step=self.step,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=self.tokens,
            tokens_per_second=tokens_per_second,
            elapsed_seconds=self._elapsed(),
            seconds_left=self._seconds_left(),
        )
        for hook in self.hooks:
            hook.on_step(record)

    def _evaluate_if_due(self) -> bool:
        """Measures on held-out text when it is time; whether it was never better."""
        every = self.config.evaluate_every
        due = self.finished or (every is not None and self.step % every == 0)
        if self.evaluate is None or not due:
            return False
        self.metrics = dict(self.evaluate(self.model))
        for hook in self.hooks:
            hook.on_evaluate(self.step, self.metrics)
        loss = self.metrics["loss"]
        if not math.isfinite(loss) or (self.best_loss is not None and loss >= self.best_loss):
            return False
        self.best_loss, self.best_step = loss, self.step
        return True

    def _checkpoint_due(self) -> bool:
        config = self.config
        by_steps = config.checkpoint_every is not None and self.step % config.checkpoint_every == 0
        waited = time.monotonic() - self.saved_at
        by_clock = config.checkpoint_seconds is not None and waited >= config.checkpoint_seconds
        return by_steps or by_clock or self.finished

    def _save(self) -> None:
        state = State(
            step=self.step,
            elapsed_seconds=self._elapsed(),
            tokens=self.tokens,
            loss=self.loss,
            metrics=self.metrics,
            best_loss=self.best_loss,
            best_step=self.best_step,
            settings=self.settings,
            versions={
                "textmill": textmill.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "threads": str(torch.get_num_threads()),
            },
        )
        if self.placement.is_main:
            path = self.checkpoints.save(state, self.weights.masters, self.optimizers.state())
            for hook in self.hooks:
                hook.on_checkpoint(self.step, path)
        self.saved_at = time.monotonic()

    def _settings(self) -> dict[str, Any]:
        """What decides the trained weights; a checkpoint goes on only where all of it is the same."""
        model: dict[str, Any] = {name: list(weight.shape) for name, weight in self.weights.masters.items()}
        described = getattr(self.model, "config", None)
        if dataclasses.is_dataclass(described):
            model["config"] = repr(described)
        return {
            "training": {**self.config.deciding(), "precision": self.precision},
            "objective": repr(self.objective),
            "model": model,
            "data": {"first_batch": _digest(self.batches.batch(0))},
        }

    def _is_over(self) -> bool:
        # asked once a step: the clock must not end the run between its last step and its last measurement
        config = self.config
        by_steps = config.steps is not None and self.step >= config.steps
        return by_steps or (config.minutes is not None and self._elapsed() >= 60 * config.minutes)

    def _elapsed(self) -> float:
        """Seconds of training, over all starts."""
        return self.elapsed_before + time.monotonic() - self.started

    def _seconds_left(self) -> float:
        config, left = self.config, math.inf
        if config.steps is not None:
            pace = (time.monotonic() - self.started) / max(1, self.step - self.first_step)
            left = pace * (config.steps - self.step)
        if config.minutes is not None:
            left = min(left, 60 * config.minutes - self._elapsed())
        return max(0.0, left)

    def _result(self) -> TrainingResult:
        best = None if self.best_step is None else self.checkpoints.path_of(self.best_step)
        return TrainingResult(
            step=self.step,
            loss=self.loss,
            metrics=self.metrics,
            best_loss=self.best_loss,
            best_step=self.best_step,
            best_checkpoint=best,
            elapsed_seconds=self._elapsed(),
            tokens=self.tokens,
            precision=self.precision,
        )


def _digest(batch: Any) -> str:
    """A SHA-256 of the batch's arrays: other data, another order or another size of batch give another."""
    digest = hashlib.sha256()
    for entry in dataclasses.fields(batch):
        value = getattr(batch, entry.name)
        digest.update(f"{entry.name} {getattr(value, 'shape', '')}".encode())
        digest.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()[:16]
