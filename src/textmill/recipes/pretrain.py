"""Text to a pre-trained model: tokenizer, shards, training. What `textmill pretrain` runs.

Expected: depends on the text; on the built-in corpus the quickstart recipe states its numbers.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.errors import ConfigError
from textmill.models.configs import Initialisation, LlamaConfig, ModelConfig
from textmill.recipes.stages import Facts, Stage, Tell
from textmill.recipes.text import SHARDS, TOKENIZER, Text, shards_stage, tokenizer_stage
from textmill.tasks.learning_spec import Learning
from textmill.training.config import Machine, TrainingConfig

if TYPE_CHECKING:
    from textmill.tasks.pretrain import Job
    from textmill.training.planning import Plan

TRAINING = "training"
MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Pretrain(Text):
    """Settings of the recipe: those of the text, and these."""

    model: ModelConfig = dataclasses.field(default_factory=lambda: LlamaConfig(qk_norm=True))
    """Its vocab_size is set to the tokenizer's."""
    learning: Learning = dataclasses.field(default_factory=Learning)
    """What is learned, and how text becomes batches for it."""
    initialisation: Initialisation | None = None
    """How the weights are drawn; none: as the architecture's paper does."""
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    machine: Machine = dataclasses.field(default_factory=Machine)
    tensorboard: bool = False
    """Write training/tensorboard as well; needs the tensorboard package."""
    wandb: str | None = None
    """Send the run to this project at Weights & Biases as well; needs the wandb package."""
    watch: bool = False
    """Draw the loss in the terminal while it trains."""

    def __post_init__(self) -> None:
        # what a late stage refuses is refused before the first one
        self.training.check_context(self.model.context_length)
        objective = self.learning.chosen(self.model)
        if objective == "sentence-pairs" and self.shards.sentences == "none":
            raise ConfigError(
                "sentence pairs need to know where sentences begin, got shards.sentences=none",
                fix="set shards.sentences=text, or lines where each stands on its own",
            )


def stages(settings: Pretrain, quiet: bool) -> Sequence[Stage]:
    check_machine(settings)
    return [
        tokenizer_stage(settings),
        shards_stage(settings),
        pretrain_stage(settings, quiet=quiet),
    ]


def check_machine(settings: Pretrain) -> None:
    """Refuses what this machine lacks before the first stage, not at the third.

    Raises:
        ConfigError: CUDA, bf16 or TensorBoard is asked for and not there.
    """
    if settings.machine.device == "cuda" or settings.training.precision == "bf16":
        from textmill.training.placement import chosen_device
        from textmill.training.precision import chosen_dtype

        chosen_dtype(settings.training.precision, chosen_device(settings.machine.device))
    if settings.tensorboard:
        from textmill.training.hooks import TensorBoard

        TensorBoard(Path())


def plan_run(settings: Pretrain, folder: Path) -> "Plan":
    """What the run would take; nothing is written.

    Args:
        folder: the run's. Where it has shards already, the plan knows how much text there is.

    Raises:
        ConfigError: settings that contradict one another, or something that this machine lacks.
    """
    from textmill.data.shards import TokenShards
    from textmill.tasks.planning import plan_of
    from textmill.tokenizers import Tokenizer

    check_machine(settings)
    vocab_size, num_tokens = settings.tokenizer.vocab_size, None
    if settings.tokenizer_from is not None:
        vocab_size = Tokenizer.load(settings.tokenizer_from).vocab_size
    if (folder / SHARDS).exists():
        shards = TokenShards.open(folder / SHARDS, "train", verify=False)
        vocab_size, num_tokens = shards.vocab_size, shards.num_tokens
    return plan_of(
        _job(settings, quiet=True),
        vocab_size=vocab_size,
        num_tokens=num_tokens,
        evaluates=settings.shards.validation_fraction > 0,
    )


def _job(settings: Pretrain, *, quiet: bool) -> "Job":
    from textmill.tasks.pretrain import Job

    return Job(
        model=settings.model,
        learning=settings.learning,
        initialisation=settings.initialisation,
        training=settings.training,
        machine=settings.machine,
        tensorboard=settings.tensorboard,
        wandb=settings.wandb,
        watch=settings.watch,
        quiet=quiet,
    )


def pretrain_stage(settings: Pretrain, *, quiet: bool) -> Stage:
    """Trains on the shards; a cut run goes on from its last checkpoint."""
    model = settings.model
    kind = type(model).__name__.removesuffix("Config")
    layers = f"{model.num_layers} layers x " if hasattr(model, "num_layers") else ""

    def run(folder: Path, _: Facts, __: Tell) -> Mapping[str, Any]:
        from textmill.tasks.pretrain import pretrain

        return pretrain(
            _job(settings, quiet=quiet),
            shards=folder / SHARDS,
            tokenizer=folder / TOKENIZER,
            work=folder / TRAINING,
            out=folder / MODEL,
        )

    return Stage(
        name="pretrain",
        title=f"train {kind}, {layers}{model.width}, by {settings.learning.chosen(model)}",
        inputs=[
            *(kind, model, settings.learning, settings.initialisation, dict(settings.training.deciding())),
            # these may change while a run goes on, but what it ends with follows from them
            [settings.training.keep_best, settings.training.patience, settings.training.min_delta],
        ],
        outputs=tuple(f"{MODEL}/{name}" for name in ("model.safetensors", "config.json", "tokenizer.json")),
        run=run,
        progress=(TRAINING,),
    )
