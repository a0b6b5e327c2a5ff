"""When a run ends, and when it is time for a checkpoint."""

import math
import time

from textmill.training.config import TrainingConfig


class Clock:
    """The time of a run over all its starts.

    Args:
        first_step: where this start begins.
        elapsed_before: seconds of the starts before it.
    """

    def __init__(self, config: TrainingConfig, first_step: int, elapsed_before: float) -> None:
        self.config, self.first_step, self.elapsed_before = config, first_step, elapsed_before
        self.started = self.saved_at = time.monotonic()

    def elapsed(self) -> float:
        """Seconds of training, over all starts."""
        return self.elapsed_before + time.monotonic() - self.started

    def seconds_left(self, step: int) -> float:
        """At the pace of this start."""
        config, left = self.config, math.inf
        if config.steps is not None:
            pace = (time.monotonic() - self.started) / max(1, step - self.first_step)
            left = pace * (config.steps - step)
        if config.minutes is not None:
            left = min(left, 60 * config.minutes - self.elapsed())
        return max(0.0, left)

    def is_over(self, step: int) -> bool:
        """Whether the steps are done or the minutes have passed."""
        config = self.config
        by_steps = config.steps is not None and step >= config.steps
        return by_steps or (config.minutes is not None and self.elapsed() >= 60 * config.minutes)

    def checkpoint_due(self, step: int) -> bool:
        """Whether a checkpoint is due by the number of steps or by the time since the last one."""
        config = self.config
        by_steps = config.checkpoint_every is not None and step % config.checkpoint_every == 0
        waited = time.monotonic() - self.saved_at
        return by_steps or (config.checkpoint_seconds is not None and waited >= config.checkpoint_seconds)

    def saved(self) -> None:
        """Tells that a checkpoint was written just now."""
        self.saved_at = time.monotonic()
