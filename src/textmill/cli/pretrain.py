"""`textmill pretrain ARCH`: what all architectures share, and the Transformers that predict the next token."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import tyro

from textmill.cli.options import Inputs, Machine, OutputOrDefault, Reading, Saying


@dataclass(frozen=True, kw_only=True)
class Pretraining(Reading, Machine, Saying):
    """What every architecture shares."""

    ARCHITECTURE: ClassVar[str]
    """Its name on the command line."""

    inputs: Inputs = ("builtin",)
    """Files, folders, globs or builtin."""
    output: OutputOrDefault = None
    """The run's folder; none means runs/ARCH. The model comes to DIR/model. The same command continues a cut run."""
    tokenizer: Path | None = None
    """The folder or file of a tokenizer; none trains one on the text."""
    vocab_size: int = 8192
    """Tokens of the tokenizer to train."""
    validation: float = 0.05
    """The share of the documents that is held out."""
    width: int = 384
    """Numbers that stand for a token."""
    context: int = 256
    """Tokens of one sequence."""
    batch_size: int = 16
    """Sequences of one update."""
    steps: int | None = None
    """Updates of the weights; 1000 where neither tokens nor minutes are given."""
    tokens: int | None = None
    """Learn from so many tokens, instead of a number of steps."""
    minutes: float | None = None
    """Stop by the clock; the schedule follows it."""
    optimizer: Literal["muon", "adamw", "adam", "lion", "sgd", "rmsprop", "adagrad"] | None = None
    """None takes what suits the architecture."""
    learning_rate: float | None = None
    """The optimiser's highest rate; with muon, AdamW's. None takes what suits the optimiser and architecture."""
    seed: int = 0
    """Of the weights and of the order of the text. Same seed, same result."""
    dry_run: bool = False
    """Show what the run would take: parameters, arithmetic, memory, time, disk. Nothing is written."""
    watch: bool = False
    """Draw the loss in the terminal while it trains."""
    tensorboard: bool = False
    """Write figures for TensorBoard as well."""
    wandb: str | None = None
    """Send figures to this project at Weights & Biases as well."""
    set: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Any other setting, as training.learning_rate=0.002 or model.tied=true; may be given again."""
    fresh: bool = False
    """Start over, also what is finished."""
    force: bool = False
    """Write into a folder that holds something else."""

    def model(self) -> Any:
        """The model's settings."""
        raise NotImplementedError

    def adjusted(self, settings: Any) -> Any:
        """The recipe's settings with what the architecture needs; options come on top."""
        return settings

    def run(self) -> int:
        from textmill import config
        from textmill.cli.terminal import StageReporter, stderr
        from textmill.recipes import RECIPES, run_resolved

        recipe = RECIPES["pretrain"]
        output = self.output or Path("runs") / self.ARCHITECTURE
        settings = config.override(self._settings(self.adjusted(recipe.settings())), self.set)
        if self.dry_run:
            return self._show_plan(settings, output)
        facts = run_resolved(
            recipe,
            settings,
            output,
            fresh=self.fresh,
            force=self.force,
            quiet=self.quiet,
            reporter=StageReporter(quiet=self.quiet),
        )
        if self.json:
            print(json.dumps({"folder": str(output / "model"), **facts["pretrain"]}))
        elif not self.quiet:
            stderr().print(f"the model is in {output / 'model'}")
        return 0

    def _show_plan(self, settings: Any, output: Path) -> int:
        from textmill import config
        from textmill.cli.terminal import stdout
        from textmill.recipes.pretrain import plan_run
        from textmill.report.plan import print_plan

        plan = plan_run(settings, output)
        if self.json:
            print(json.dumps(config.to_json(plan)))
        else:
            print_plan(plan, stdout())
        return 0

    def _settings(self, base: Any) -> Any:
        training = dataclasses.replace(
            base.training,
            steps=self._steps(),
            minutes=self.minutes,
            batch_size=self.batch_size,
            context_length=self.context,
            seed=self.seed,
            precision=self.precision,
        )
        chosen = {"optimizer": self.optimizer, "learning_rate": self.learning_rate}
        training = dataclasses.replace(training, **{name: value for name, value in chosen.items() if value is not None})
        return dataclasses.replace(
            base,
            corpus=self.inputs,
            field=self.field,
            errors=self.errors,
            documents=self.documents,
            tokenizer=dataclasses.replace(base.tokenizer, vocab_size=self.vocab_size),
            tokenizer_from=None if self.tokenizer is None else str(self.tokenizer),
            shards=dataclasses.replace(base.shards, validation_fraction=self.validation),
            model=self.model(),
            training=training,
            machine=dataclasses.replace(base.machine, device=self.device, threads=self.threads),
            watch=self.watch,
            tensorboard=self.tensorboard,
            wandb=self.wandb,
        )

    def _steps(self) -> int | None:
        from textmill.errors import ConfigError

        if self.tokens is None:
            return 1000 if self.steps is None and self.minutes is None else self.steps
        if self.steps is not None:
            raise ConfigError("--steps and --tokens both say how long to train", fix="leave one of them out")
        if self.tokens < 1:
            raise ConfigError(f"--tokens must be at least 1, got {self.tokens}", fix="give a positive number")
        # rounded up to whole steps
        return -(-self.tokens // (self.batch_size * self.context))


@dataclass(frozen=True, kw_only=True)
class Transformer(Pretraining):
    """What Transformers share."""

    layers: int = 6
    """Blocks of attention and feed-forward layer."""
    heads: int = 6
    """Attention heads; they divide the width."""

    def sizes(self) -> dict[str, Any]:
        """The settings that every Transformer has."""
        return {
            "context_length": self.context,
            "width": self.width,
            "num_layers": self.layers,
            "num_heads": self.heads,
        }


@dataclass(frozen=True, kw_only=True)
class Gpt(Transformer):
    """Train a GPT from text: GPT-2 (learned positions, LayerNorm, GELU), or GPT-1 with its norms after the sub-layers.

    Examples:
      textmill pretrain gpt my.txt -o runs/gpt
      textmill pretrain gpt my.txt --form gpt1 --set training.optimizer=adamw -o runs/gpt1
    """

    ARCHITECTURE: ClassVar = "gpt"

    form: Literal["gpt2", "gpt1"] = "gpt2"
    """gpt2 puts the norms before the sub-layers, gpt1 after them."""

    def model(self) -> Any:
        from textmill.models.configs import GPTConfig

        return GPTConfig(form=self.form, **self.sizes())


@dataclass(frozen=True, kw_only=True)
class Llama(Transformer):
    """Train a Llama-style model from text: RMSNorm, rotary positions, SwiGLU, grouped-query attention.

    Examples:
      textmill pretrain llama my.txt -o runs/llama
      textmill pretrain llama 'news/*.jsonl.gz' --field body --tokenizer tok --minutes 60 -o runs/news
    """

    ARCHITECTURE: ClassVar = "llama"

    kv_heads: int | None = None
    """Heads of keys and values; none: as many as heads."""
    qk_norm: bool = True
    """RMSNorm of queries and keys, as in Qwen3; trains more steadily at high rates."""

    def model(self) -> Any:
        from textmill.models.configs import LlamaConfig

        return LlamaConfig(**self.sizes(), num_kv_heads=self.kv_heads, qk_norm=self.qk_norm)


@dataclass(frozen=True, kw_only=True)
class TransformerXl(Transformer):
    """Train a Transformer-XL from text: a memory of states from sequence to sequence, and relative positions.

    Examples:
      textmill pretrain transformer-xl my.txt -o runs/xl
      textmill pretrain transformer-xl my.txt --context 128 --memory 512 --norm pre -o runs/far
    """

    ARCHITECTURE: ClassVar = "transformer-xl"

    memory: int | None = None
    """States that each layer remembers from the sequences before; none: as many as --context."""
    norm: Literal["post", "pre"] = "post"
    """post, as published, puts the norms after the sub-layers, pre before them."""

    def model(self) -> Any:
        from textmill.models.configs import TransformerXlConfig

        sizes = self.sizes()
        context = sizes.pop("context_length")
        memory = context if self.memory is None else self.memory
        return TransformerXlConfig(**sizes, memory_length=memory, segment_length=context, norm_position=self.norm)


@dataclass(frozen=True, kw_only=True)
class Mixtral(Llama):
    """Train a mixture of experts from text: Llama, with a router that sends each token to some of many small layers.

    Examples:
      textmill pretrain mixtral my.txt --experts 8 --active 2 -o runs/mixtral
      textmill pretrain mixtral my.txt --set model.experts.capacity_factor=1.25 -o runs/switch
    """

    ARCHITECTURE: ClassVar = "mixtral"

    qk_norm: bool = False
    """RMSNorm of queries and keys; transformers' Mixtral has none."""
    experts: int = 8
    """Experts of each layer."""
    active: int = 2
    """Experts that a token goes to."""

    def model(self) -> Any:
        from textmill.layers.experts_config import ExpertsConfig
        from textmill.models.configs import MixtralConfig

        experts = ExpertsConfig(num_experts=self.experts, top_k=self.active)
        return MixtralConfig(**self.sizes(), num_kv_heads=self.kv_heads, qk_norm=self.qk_norm, experts=experts)
