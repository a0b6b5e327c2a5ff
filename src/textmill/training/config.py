"""What a training run is told. Free of torch, so that commands can show it without loading it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from textmill.config import to_json
from textmill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class GroupRule:
    """Settings of their own for all parameters whose names match; what is None stays as it is for the rest.

    ```
    GroupRule(pattern=r"^trunk\\.blocks\\.0\\.", learning_rate=1e-4)
    ```

    Raises:
        ConfigError: no regular expression, nothing to change, or a value out of its range.
    """

    pattern: str
    """A regular expression, searched in the parameter's name."""
    learning_rate: float | None = None
    """The highest rate."""
    weight_decay: float | None = None
    """The decoupled decay."""
    role: Literal["matrix", "embedding", "head", "vector"] | None = None
    """What the parameter is to be treated as: with Muon, all but a matrix goes to AdamW; a vector isn't decayed."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(
                f"pattern must be a regular expression, got {self.pattern!r}: {error}", fix=r"for example bias$"
            ) from None
        if self.learning_rate is None and self.weight_decay is None and self.role is None:
            raise ConfigError(
                f"the group {self.pattern!r} changes nothing", fix="give it a learning_rate, a weight_decay or a role"
            )
        _positive(self, "learning_rate")
        _at_least(self, "weight_decay", 0)


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

    optimizer: Literal["muon", "adamw", "adam", "lion", "sgd", "rmsprop", "adagrad"] = "muon"
    """muon: Muon for the trunk's matrices and AdamW for the rest. All others: that one for all weights."""
    learning_rate: float = 3e-3
    """The optimiser's highest rate; with Muon, AdamW's. Each optimiser has its own scale: Lion's is a third to a tenth
    of AdamW's, SGD's many times as high."""
    matrix_learning_rate: float = 0.02
    """Muon's highest rate."""
    embedding_learning_rate: float | None = None
    """For embedding tables, and a head that is tied to one; None: `learning_rate`."""
    head_learning_rate: float | None = None
    """For an output matrix of its own; None: `learning_rate`."""
    layer_decay: float = 1.0
    """Each block's rate is so many times that of the block above it; the embeddings' is below the first block's. 0.65
    to 0.95 is usual in fine-tuning; 1: all alike."""
    groups: tuple[GroupRule, ...] = ()
    """Rules by name, in order; where two match, the later one counts. They give final rates: `layer_decay` leaves what
    they set alone."""
    betas: tuple[float, ...] = (0.9, 0.95)
    """Decay of the mean and of the mean square of gradients in Adam and AdamW; RMSProp uses the second. Lion's two, of
    which its paper has 0.95 and 0.98 for language models."""
    epsilon: float = 1e-8
    """Added to the root of the mean square in Adam, AdamW, RMSProp and Adagrad."""
    momentum: float = 0.95
    """Muon's and SGD's momentum."""
    nesterov: bool = True
    """SGD looks one step of its momentum ahead; Muon always does."""
    weight_decay: float | None = None
    """Each step multiplies the trunk's matrices by 1 - rate * decay, beside the gradient (decoupled). Norms, biases and
    embeddings are left alone. None: 0.1; with adam 0, which has no such decay."""
    decay_embeddings: bool = False
    """Decay embedding tables and the head too."""
    l1: float = 0.0
    """Adds l1 times the sum of |weight| to what is minimised: to the gradients of matrices, embeddings and the head."""
    l2: float = 0.0
    """Adds l2 / 2 times the sum of weight^2, for the same weights."""
    clip_norm: float | None = 1.0
    """Gradients longer than this are scaled down to it; None: never."""

    warmup_steps: int = 50
    """Steps over which the rates rise from 0 to their highest."""
    schedule: Literal["cosine", "linear", "wsd", "inverse_sqrt", "constant"] = "cosine"
    """What follows: half a cosine; a straight line down; stable, then a straight line down; 1 / sqrt(step), which needs
    no end; or nothing."""
    final_fraction: float = 0.1
    """The last rate as a part of the highest, with cosine, linear and wsd."""
    decay_fraction: float = 0.4
    """wsd: the part of the run that its last phase takes."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of activations and working weights; the weights that are trained and saved are fp32. auto: bf16 where the
    hardware multiplies it faster."""
    compile: bool = False
    """Compile the model with torch.compile; falls back with a warning."""
    recompute: Literal["none", "attention", "feed_forward", "block"] = "none"
    """What of each block is computed again in the backward pass instead of being kept. block: all; least memory, and a
    third more time. feed_forward: its wide activations, which are most of them."""
    seed: int = 0
    """Of dropout and all other chance in training."""

    on_nonfinite: Literal["stop", "skip"] = "stop"
    """A batch whose loss or gradient is no finite number ends the run, or is left out."""
    most_skips: int = 10
    """So many batches left out one after the other end the run after all."""

    evaluate_every: int | None = 100
    """Steps between measurements on held-out text; None: at the end only."""
    patience: int | None = None
    """End the run after so many measurements in a row that are no better; None: never."""
    min_delta: float = 0.0
    """A loss must be lower by more than this to count as better, for `patience`."""
    keep_best: bool = False
    """Give the model the weights of the best measurement at the end, not the last ones."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; None: by `checkpoint_seconds` alone."""
    checkpoint_seconds: float | None = 60.0
    """The longest time between checkpoints; None: by `checkpoint_every` alone."""
    keep: int = 1
    """How many of the newest checkpoints stay. The best one always does."""

    def __post_init__(self) -> None:
        _check_end(self)
        for name in ("batch_size", "context_length", "keep", "most_skips"):
            _at_least(self, name, 1)
        for name in ("steps", "micro_batch_size", "evaluate_every", "checkpoint_every", "patience"):
            _at_least(self, name, 1)
        _at_least(self, "warmup_steps", 0)
        for name in ("learning_rate", "matrix_learning_rate", "embedding_learning_rate", "head_learning_rate"):
            _positive(self, name)
        for name in ("minutes", "clip_norm", "checkpoint_seconds", "epsilon", "layer_decay"):
            _positive(self, name)
        for name in ("weight_decay", "l1", "l2", "min_delta"):
            _at_least(self, name, 0)
        for name in ("final_fraction", "decay_fraction", "layer_decay"):
            _between(name, getattr(self, name), 0, 1)
        if len(self.betas) != 2:
            raise ConfigError(f"betas must be two numbers, got {list(self.betas)}", fix="[0.9, 0.95]")
        for name, value in (("betas", self.betas[0]), ("betas", self.betas[1]), ("momentum", self.momentum)):
            if not 0 <= value < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {value}", fix="0.9 to 0.99 is usual")
        _check_decay(self)
        if self.patience is not None and self.evaluate_every is None:
            raise ConfigError(
                f"patience counts measurements, got patience={self.patience} and evaluate_every=None",
                fix="set evaluate_every, or leave patience out",
            )

    @property
    def decay(self) -> float:
        """The decoupled decay that `weight_decay` stands for."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.0 if self.optimizer == "adam" else 0.1

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


_WATCHING = (
    *("evaluate_every", "checkpoint_every", "checkpoint_seconds", "keep", "recompute"),
    *("patience", "min_delta", "keep_best"),
    *("on_nonfinite", "most_skips"),
)
"""Settings that may change when a run goes on: they touch no update, only what is measured and kept, and how soon a run
that gets no better, or can't go on, ends."""


def _check_end(config: TrainingConfig) -> None:
    if config.steps is None and config.minutes is None:
        raise ConfigError("a run needs an end, got neither steps nor minutes", fix="set steps, minutes or both")


def _check_decay(config: TrainingConfig) -> None:
    decays = [config.weight_decay, *(rule.weight_decay for rule in config.groups)]
    if config.optimizer == "adam" and any(decays):
        raise ConfigError(
            f"adam has no decay beside the gradient, got weight_decay={next(filter(None, decays))}",
            fix="use optimizer=adamw, or l2, which acts through the gradient",
        )


def _at_least(config: TrainingConfig | GroupRule, name: str, least: int) -> None:
    value = getattr(config, name)
    if value is not None and not value >= least:
        raise ConfigError(f"{name} must be at least {least}, got {value}", fix=f"set {name} to {max(least, 1)} or more")


def _positive(config: TrainingConfig | GroupRule, name: str) -> None:
    value = getattr(config, name)
    if value is not None and not value > 0:
        raise ConfigError(f"{name} must be > 0, got {value}", fix="give a positive number, or leave it out")


def _between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} must be from {least} to {most}, got {value}", fix="it is a part of the whole")
