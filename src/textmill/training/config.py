"""What a training run is told. Free of torch, so that commands can show it without loading it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from textmill.config import to_json
from textmill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that decides a run's result, beside the model and the data, and how it is watched and kept.

    Raises:
        ConfigError: a value out of its range, or no end to the run.
    """

    steps: int | None = 1000
    """Updates of the weights; None to stop by the clock alone."""
    minutes: float | None = None
    """Stop after so many minutes, measurements and checkpoints included. The schedule then follows whichever of steps
    and clock is further on."""

    batch_size: int = 32
    """Sequences of one update."""
    context_length: int = 256
    """Tokens of one sequence."""
    micro_batch_size: int | None = None
    """Sequences held in memory at once; gradients of a batch's parts add up. None: the whole batch."""

    optimizer: Literal["muon", "adamw"] = "muon"
    """muon: Muon for the trunk's matrices and AdamW for the rest. adamw: AdamW for all."""
    learning_rate: float = 3e-3
    """AdamW's highest rate."""
    matrix_learning_rate: float = 0.02
    """Muon's highest rate."""
    embedding_learning_rate: float | None = None
    """For embedding tables, and a head that is tied to one; None: `learning_rate`."""
    head_learning_rate: float | None = None
    """For an output matrix of its own; None: `learning_rate`."""
    betas: tuple[float, ...] = (0.9, 0.95)
    """AdamW's decay of the mean and of the mean square of gradients."""
    momentum: float = 0.95
    """Muon's momentum (Nesterov's)."""
    weight_decay: float = 0.1
    """Each step multiplies the trunk's matrices by 1 - rate * decay. Norms, biases and embeddings are left alone."""
    decay_embeddings: bool = False
    """Decay embedding tables and the head too."""
    clip_norm: float | None = 1.0
    """Gradients longer than this are scaled down to it; None: never."""

    warmup_steps: int = 50
    """Steps over which the rates rise from 0 to their highest."""
    schedule: Literal["cosine", "wsd", "constant"] = "cosine"
    """What follows: half a cosine; stable, then a straight line down; or nothing."""
    final_fraction: float = 0.1
    """The last rate as a part of the highest."""
    decay_fraction: float = 0.4
    """wsd: the part of the run that its last phase takes."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of activations and working weights; the weights that are trained and saved are fp32. auto: bf16 where the
    hardware multiplies it faster."""
    compile: bool = False
    """Compile the model with torch.compile; falls back with a warning."""
    recompute: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more time."""
    seed: int = 0
    """Of dropout and all other chance in training."""

    evaluate_every: int | None = 100
    """Steps between measurements on held-out text; None: at the end only."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; None: by `checkpoint_seconds` alone."""
    checkpoint_seconds: float | None = 60.0
    """The longest time between checkpoints; None: by `checkpoint_every` alone."""
    keep: int = 1
    """How many of the newest checkpoints stay. The best one always does."""

    def __post_init__(self) -> None:
        _check_end(self)
        for name in ("batch_size", "context_length", "keep"):
            _at_least(self, name, 1)
        for name in ("steps", "micro_batch_size", "evaluate_every", "checkpoint_every"):
            _at_least(self, name, 1)
        _at_least(self, "warmup_steps", 0)
        for name in ("learning_rate", "matrix_learning_rate", "embedding_learning_rate", "head_learning_rate"):
            _positive(self, name)
        for name in ("minutes", "clip_norm", "checkpoint_seconds"):
            _positive(self, name)
        _at_least(self, "weight_decay", 0)
        for name in ("final_fraction", "decay_fraction"):
            _between(name, getattr(self, name), 0, 1)
        if len(self.betas) != 2:
            raise ConfigError(f"betas must be two numbers, got {list(self.betas)}", fix="[0.9, 0.95]")
        for name, value in (("betas", self.betas[0]), ("betas", self.betas[1]), ("momentum", self.momentum)):
            if not 0 <= value < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {value}", fix="0.9 to 0.99 is usual")

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one update."""
        return self.batch_size * self.context_length

    def check_context(self, model_context_length: int) -> None:
        """Refuses sequences longer than a model's context.

        Raises:
            ConfigError: they are.
        """
        if self.context_length > model_context_length:
            raise ConfigError(
                f"training.context_length is {self.context_length}, the model's context only "
                f"{model_context_length} tokens",
                fix="raise model.context_length or lower training.context_length",
            )

    def deciding(self) -> Mapping[str, Any]:
        """The settings that decide the trained weights: those that a run must not change when it goes on."""
        return {key: value for key, value in to_json(self).items() if key not in _WATCHING}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the arithmetic runs."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA where there is one."""
    threads: int | None = None
    """CPU threads; None: one a core. Results are the same to the bit for the same number of threads."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, got {self.threads}", fix="leave it out for all cores")


_WATCHING = ("evaluate_every", "checkpoint_every", "checkpoint_seconds", "keep", "recompute")
"""Settings that may change when a run goes on: they don't touch the weights."""


def _check_end(config: TrainingConfig) -> None:
    if config.steps is None and config.minutes is None:
        raise ConfigError("a run needs an end, got neither steps nor minutes", fix="set steps, minutes or both")


def _at_least(config: TrainingConfig, name: str, least: int) -> None:
    value = getattr(config, name)
    if value is not None and not value >= least:
        raise ConfigError(f"{name} must be at least {least}, got {value}", fix=f"set {name} to {max(least, 1)} or more")


def _positive(config: TrainingConfig, name: str) -> None:
    value = getattr(config, name)
    if value is not None and not value > 0:
        raise ConfigError(f"{name} must be > 0, got {value}", fix="give a positive number, or leave it out")


def _between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} must be from {least} to {most}, got {value}", fix="it is a part of the whole")
