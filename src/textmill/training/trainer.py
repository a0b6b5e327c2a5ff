"""The training loop.

Losses are summed and divided once by their counts over the whole batch, however it is cut. A step is a function of its
number: the batch and all chance come from (seed, step). So a run that is cut anywhere and goes on from a
checkpoint ends, on a CPU and with the same number of threads, with the same weights to the bit.
"""

import contextlib
import dataclasses
import math
import platform
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import textmill
from textmill.errors import ConfigError, TextmillError
from textmill.objectives import Objective
from textmill.training import cpu
from textmill.training.batches import Batches, digest, num_tokens
from textmill.training.checkpoints import Checkpoints, State, refuse_other
from textmill.training.clock import Clock
from textmill.training.compiling import compile_trunk
from textmill.training.config import TrainingConfig
from textmill.training.early_stopping import Patience
from textmill.training.flops import Meter, num_predicted
from textmill.training.hooks import Hook, RunRecord, StepRecord
from textmill.training.nonfinite import BadStep, DivergedError, Skips
from textmill.training.placement import OneDevice, Placement
from textmill.training.schedules import multiplier
from textmill.training.signals import Signals
from textmill.training.update import Update

__all__ = ["Batches", "DivergedError", "Evaluate", "StoppedError", "Trainer", "TrainingResult"]

Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""A measurement on held-out text; its `loss` decides which checkpoint is the best."""


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
    weights_step: int
    """The update that the model's weights come from: the last one, or with `keep_best` the best one. `metrics` are
    theirs."""
    stopped_early: bool
    """Whether `patience` ended the run."""
    elapsed_seconds: float
    tokens: int
    skipped: int
    """Batches left out because their loss or gradient wasn't finite."""
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
        if config.patience is not None and evaluate is None:
            raise ConfigError(
                f"patience={config.patience} needs held-out text to measure on, and there is none",
                fix="hold some text out, or leave patience out",
            )
        self.checkpoints = Checkpoints(out / "checkpoints", keep=config.keep)

    def run(self, *, fresh: bool = False) -> TrainingResult:
        """Trains to the end.

        Args:
            fresh: begin again, forgetting the checkpoints.

        Raises:
            StoppedError: Ctrl-C, SIGTERM or a closed terminal; a checkpoint was written.
            DivergedError: the loss or the gradient is not finite.
            ConfigError: the newest checkpoint belongs to another run, or `patience` has nothing to measure.
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
                if improved or stop.received or self.finished or self.clock.checkpoint_due(self.step):
                    self._save()
                if stop.received:
                    raise StoppedError(stop.received, self.step)
            self._take_the_best()
        return self._result()

    def _train_step(self) -> None:
        """One update of the weights, or none where the batch's loss or gradient isn't finite."""
        started = time.perf_counter()
        batch = self.batches.batch(self.step)
        self.skips.begin()
        loss, norm = self.update.gradients(batch, self.step)
        self.step += 1
        good = math.isfinite(loss) and math.isfinite(norm)
        may_go_on = self.skips.count(bad=not good)
        if not good:
            self._meet_bad_step(loss, norm, may_go_on)
            return
        rate = self.update.apply(multiplier(self.config, self.step - 1, self.clock.elapsed()))
        self.loss = loss
        self.finished = self._is_over()
        seconds = time.perf_counter() - started
        self.tokens += num_tokens(batch, max(self.objective.counts(batch).values()))
        if self.hooks:
            self._tell(batch, norm, rate, seconds)

    def _meet_bad_step(self, loss: float, norm: float, may_go_on: bool) -> None:
        """Leaves the batch out, or ends the run.

        Raises:
            DivergedError: such batches aren't to be left out, or there were too many.
        """
        bad = BadStep(
            step=self.step,
            loss=loss,
            gradient_norm=norm,
            weights=self.update.not_finite(),
            skipped=may_go_on,
            in_a_row=self.skips.in_a_row,
        )
        for hook in self.hooks:
            hook.on_bad_step(bad)
        self.weights.drop_gradients()
        if not may_go_on:
            steps = self.checkpoints.steps()
            raise bad.error(f"; the checkpoint of step {steps[-1]} stands" if steps else "")
        self.skips.undo()
        self.finished = self._is_over()

    # --- what happens around the steps

    def _prepare(self, undo: contextlib.ExitStack) -> None:
        """Weights, optimisers and the process's settings; all that must be undone at the end is put in `undo`."""
        config = self.config
        if self.placement.device.type == "cpu":
            cpu.keep_memory()
        undo.enter_context(torch.random.fork_rng(devices=[]))
        self.update = Update(self.model, self.objective, config, self.placement)
        self.weights, self.optimizers = self.update.weights, self.update.optimizers
        undo.callback(self.weights.restore)
        self.precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[self.weights.dtype]
        was_training = self.model.training
        undo.callback(self.model.train, was_training)
        self.model.train()
        if hasattr(self.model, "set_recompute"):
            self.model.set_recompute(config.recompute)
            undo.callback(self.model.set_recompute, "none")
        if config.compile:
            undo.callback(compile_trunk(self.model))

    def _resume(self, fresh: bool) -> None:
        """Takes up the newest checkpoint, or stands at step 0."""
        self.step, self.tokens, elapsed = 0, 0, 0.0
        self.skips = Skips(self.model, self.objective, self.config)
        self.loss, self.best_loss, self.best_step = math.nan, None, None
        self.metrics: Mapping[str, float] = {}
        self.patience = Patience(self.config.patience, self.config.min_delta)
        self.settings = self._settings()
        self.checkpoints.clean()
        if fresh:
            self.checkpoints.delete()
        found = self.checkpoints.newest()
        if found is not None:
            refuse_other(found.state.settings, self.settings, found.path)
            self.weights.load(found.model())
            self.optimizers.load(found.optimizer())
            if hasattr(self.objective, "load_state"):
                self.objective.load_state(found.objective())
            state = found.state
            self.step, self.tokens, elapsed = state.step, state.tokens, state.elapsed_seconds
            self.skips.total, self.skips.in_a_row = state.skipped, state.skipped_in_a_row
            self.loss, self.metrics = state.loss, state.metrics
            self.best_loss, self.best_step = state.best_loss, state.best_step
            self.patience.reference_loss = state.reference_loss
            self.patience.bad_evaluations = state.bad_evaluations
        self.clock: Clock = Clock(self.config, self.step, elapsed)
        self.finished = self._is_over()

    def _start_hooks(self, undo: contextlib.ExitStack) -> None:
        if not self.hooks:
            return
        self.meter = Meter(self.model, self.placement.device, self.weights.dtype)
        record = RunRecord(
            first_step=self.step,
            steps=self.config.steps,
            minutes=self.config.minutes,
            num_parameters=sum(weight.numel() for weight in self.weights.masters.values()),
            precision=self.precision,
            device=str(self.placement.device),
            threads=torch.get_num_threads(),
            tokens_per_step=self.config.tokens_per_step,
            peak_flops=self.meter.peak,
        )
        for hook in self.hooks:
            undo.callback(hook.on_end)
            hook.on_start(record)

    def _tell(self, batch: Any, norm: float, rate: float, seconds: float) -> None:
        tokens = num_tokens(batch, max(self.objective.counts(batch).values()))
        record = StepRecord(
            step=self.step,
            loss=self.loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=self.tokens,
            tokens_per_second=tokens / seconds,
            mfu=self.meter.utilisation(batch, num_predicted(self.objective, batch), seconds),
            elapsed_seconds=self.clock.elapsed(),
            seconds_left=self.clock.seconds_left(self.step),
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
        self._lose_patience(loss)
        if not math.isfinite(loss) or (self.best_loss is not None and loss >= self.best_loss):
            return False
        self.best_loss, self.best_step = loss, self.step
        return True

    def _lose_patience(self, loss: float) -> None:
        """Ends the run when its held-out loss has been no better for too long."""
        self.patience.tell(loss)
        if self.patience.is_over and not self.finished:
            self.finished = True
            for hook in self.hooks:
                hook.on_stop_early(self.step, self.patience.bad_evaluations)

    def _take_the_best(self) -> None:
        """Puts the weights of the best measurement in place of the last ones, where that is asked for."""
        self.weights_step = self.step
        if self.config.keep_best and self.best_step is not None and self.best_step != self.step:
            best = self.checkpoints.read(self.best_step)
            self.weights.load(best.model())
            self.weights_step, self.metrics = best.state.step, best.state.metrics

    def _save(self) -> None:
        state = State(
            step=self.step,
            elapsed_seconds=self.clock.elapsed(),
            tokens=self.tokens,
            loss=self.loss,
            metrics=self.metrics,
            best_loss=self.best_loss,
            best_step=self.best_step,
            reference_loss=self.patience.reference_loss,
            bad_evaluations=self.patience.bad_evaluations,
            skipped=self.skips.total,
            skipped_in_a_row=self.skips.in_a_row,
            settings=self.settings,
            versions={
                "textmill": textmill.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "threads": str(torch.get_num_threads()),
            },
        )
        if self.placement.is_main:
            # a memory that goes from batch to batch is part of where the run stands
            remembered = self.objective.state() if hasattr(self.objective, "state") else {}
            path = self.checkpoints.save(state, self.weights.stored(), self.optimizers.state(), remembered)
            for hook in self.hooks:
                hook.on_checkpoint(self.step, path)
        self.clock.saved()

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
            "data": {"first_batch": digest(self.batches.batch(0))},
        }

    def _is_over(self) -> bool:
        # asked once a step: the clock must not end the run between its last step and its last measurement
        return self.patience.is_over or self.clock.is_over(self.step)

    def _result(self) -> TrainingResult:
        best = None if self.best_step is None else self.checkpoints.path_of(self.best_step)
        return TrainingResult(
            step=self.step,
            loss=self.loss,
            metrics=self.metrics,
            best_loss=self.best_loss,
            best_step=self.best_step,
            best_checkpoint=best,
            weights_step=self.weights_step,
            stopped_early=self.patience.is_over,
            elapsed_seconds=self.clock.elapsed(),
            tokens=self.tokens,
            skipped=self.skips.total,
            precision=self.precision,
        )
