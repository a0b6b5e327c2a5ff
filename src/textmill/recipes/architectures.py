"""One recipe an architecture: language models and encoders of nearly one size, on the same text and budget.

Each reads 409,600 tokens (200 updates of 2,048), three quarters of the built-in corpus, through a tokenizer of 4,096
tokens, and has about 3.4 million weights. Rates were chosen by short runs. What all of them reached,
beside one another, is in `docs/methods/architectures.md`; numbers below are of the built-in corpus of Python 3.11.
Hardware: two CPU cores, about 1.5 GB of memory. Command: `textmill run lstm`, and so on by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textmill.data.masking_spec import MaskingSpec
from textmill.data.spec import ShardSpec
from textmill.errors import ConfigError
from textmill.layers.config import AttentionPattern
from textmill.layers.experts_config import ExpertsConfig
from textmill.models.configs import (
    BertConfig,
    GPTConfig,
    GruConfig,
    Initialisation,
    LlamaConfig,
    LstmConfig,
    MixtralConfig,
    ModernBertConfig,
    NnlmConfig,
    RnnConfig,
    TransformerXlConfig,
)
from textmill.recipes.pretrain import MODEL, Pretrain, check_machine, pretrain_stage
from textmill.recipes.stages import Facts, Stage, Tell
from textmill.recipes.text import SHARDS, shards_stage, tokenizer_stage
from textmill.tasks.learning_spec import Learning
from textmill.tokenizers.spec import TokenizerSpec
from textmill.training.config import TrainingConfig

EVALUATION = "evaluation.json"

STEPS, TOKENS_PER_STEP, VOCABULARY = 200, 2048, 4096

MUON: Mapping[str, Any] = {"optimizer": "muon", "matrix_learning_rate": 0.02, "learning_rate": 0.004}
"""Of the quickstart."""
EVEN = Initialisation(matrices="fan_in", output_projections="zero", head="zero", std=0.7)
"""Of the quickstart: blocks begin as the identity, all tokens as equally likely; for models whose head is untied."""

QUIET = Initialisation(matrices="fan_in", output_projections="zero")
"""The same for models whose head is the embedding, which then begins small."""

LOUD = Initialisation(matrices="fan_in", std=0.4)
"""For gated recurrent networks: with small token vectors their states stay near zero, and learning begins late."""


def _budget(context_length: int, **settings: Any) -> TrainingConfig:
    """The training that all have in common, and what is an architecture's own."""
    common: dict[str, Any] = {
        "steps": STEPS,
        "batch_size": TOKENS_PER_STEP // context_length,
        "context_length": context_length,
        "evaluate_every": STEPS // 8,
        "schedule": "linear",
        "final_fraction": 0.0,
        "warmup_steps": 20,
    }
    return TrainingConfig(**{**common, **settings})


@dataclass(frozen=True, kw_only=True)
class LanguageModel(Pretrain):
    """What the recipes of language models share: they are measured on all held-out text at the end."""

    tokenizer: TokenizerSpec = field(default_factory=lambda: TokenizerSpec(vocab_size=VOCABULARY, allow_fewer=True))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shards.validation_fraction == 0:
            raise ConfigError(
                "the recipe measures on held-out text, and shards.validation_fraction is 0", fix="set it to 0.05"
            )


@dataclass(frozen=True, kw_only=True)
class Encoder(Pretrain):
    """What the recipes of encoders share."""

    tokenizer: TokenizerSpec = field(
        default_factory=lambda: TokenizerSpec(algorithm="wordpiece", vocab_size=VOCABULARY, allow_fewer=True)
    )


@dataclass(frozen=True, kw_only=True)
class Nnlm(LanguageModel):
    """Bengio's neural probabilistic language model: the next token from the last five.

    Paper: Bengio et al. 2003, JMLR 3:1137-1155.
    Expected: 2.36 bits per byte.
    """

    model: NnlmConfig = field(default_factory=lambda: NnlmConfig(width=64, hidden_width=400, order=6))
    training: TrainingConfig = field(
        default_factory=lambda: _budget(64, optimizer="adamw", learning_rate=0.003, weight_decay=0.0)
    )


@dataclass(frozen=True, kw_only=True)
class Rnn(LanguageModel):
    """Elman's recurrent network, two layers, by backpropagation through 64 tokens.

    Paper: Elman 1990, "Finding structure in time".
    Expected: 2.28 bits per byte.
    """

    model: RnnConfig = field(default_factory=lambda: RnnConfig(width=512, num_layers=2))
    training: TrainingConfig = field(default_factory=lambda: _budget(64, **MUON, weight_decay=0.0))


@dataclass(frozen=True, kw_only=True)
class Lstm(LanguageModel):
    """Long short-term memory, two layers, embedding and output matrix in one.

    Paper: Hochreiter and Schmidhuber 1997; Merity et al. 2017, arXiv:1708.02182.
    Expected: 2.27 bits per byte.
    """

    model: LstmConfig = field(default_factory=lambda: LstmConfig(width=352, num_layers=2))
    initialisation: Initialisation | None = LOUD
    training: TrainingConfig = field(default_factory=lambda: _budget(64, **MUON, weight_decay=0.0))


@dataclass(frozen=True, kw_only=True)
class Gru(LanguageModel):
    """Gated recurrent units, two layers, embedding and output matrix in one.

    Paper: Cho et al. 2014, arXiv:1406.1078.
    Expected: 2.14 bits per byte.
    """

    model: GruConfig = field(default_factory=lambda: GruConfig(width=384, num_layers=2))
    initialisation: Initialisation | None = LOUD
    training: TrainingConfig = field(default_factory=lambda: _budget(64, **MUON, weight_decay=0.0))


@dataclass(frozen=True, kw_only=True)
class TransformerXl(LanguageModel):
    """Transformer-XL: a Transformer that remembers the segment before, with relative positions.

    Paper: Dai et al. 2019, arXiv:1901.02860.
    Expected: 1.94 bits per byte.
    """

    model: TransformerXlConfig = field(
        default_factory=lambda: TransformerXlConfig(
            width=224, num_layers=4, num_heads=4, segment_length=128, memory_length=128
        )
    )
    training: TrainingConfig = field(default_factory=lambda: _budget(128, **MUON))


@dataclass(frozen=True, kw_only=True)
class Gpt(LanguageModel):
    """GPT-2: learned positions, LayerNorm before the sub-layers, GELU, embedding and output matrix in one.

    Paper: Radford et al. 2019.
    Expected: 2.11 bits per byte.
    """

    model: GPTConfig = field(
        default_factory=lambda: GPTConfig(width=224, num_layers=4, num_heads=4, context_length=256)
    )
    initialisation: Initialisation | None = QUIET
    training: TrainingConfig = field(default_factory=lambda: _budget(256, **MUON))


@dataclass(frozen=True, kw_only=True)
class Llama(LanguageModel):
    """Llama with normalised queries and keys, as in Qwen3: RMSNorm, rotary positions, SwiGLU; the quickstart's model.

    Paper: Touvron et al. 2023, arXiv:2302.13971.
    Expected: 1.91 bits per byte.
    """

    model: LlamaConfig = field(
        default_factory=lambda: LlamaConfig(width=192, num_layers=4, num_heads=3, context_length=256, qk_norm=True)
    )
    initialisation: Initialisation | None = EVEN
    training: TrainingConfig = field(default_factory=lambda: _budget(256, **MUON))


@dataclass(frozen=True, kw_only=True)
class SparseLlama(Llama):
    """The same with the Sparse Transformer's fixed pattern: a token sees its block of 32 and each block's last 8.

    Paper: Child et al. 2019, arXiv:1904.10509.
    Expected: 1.89 bits per byte.
    """

    model: LlamaConfig = field(
        default_factory=lambda: LlamaConfig(
            width=192,
            num_layers=4,
            num_heads=3,
            context_length=256,
            qk_norm=True,
            attention=AttentionPattern(kind="fixed", stride=32, summary=8),
        )
    )


@dataclass(frozen=True, kw_only=True)
class Mixtral(LanguageModel):
    """Mixtral: eight experts in each layer, of which a token uses two; it computes as much as the Llama.

    Paper: Jiang et al. 2024, arXiv:2401.04088.
    Expected: 1.90 bits per byte.
    """

    model: MixtralConfig = field(
        default_factory=lambda: MixtralConfig(
            width=192,
            num_layers=4,
            num_heads=3,
            context_length=256,
            feed_forward_width=256,
            experts=ExpertsConfig(num_experts=8, top_k=2),
        )
    )
    initialisation: Initialisation | None = EVEN
    training: TrainingConfig = field(default_factory=lambda: _budget(256, **MUON))


@dataclass(frozen=True, kw_only=True)
class Bert(Encoder):
    """BERT: 15 % of the tokens hidden, and pairs of sentences to tell apart.

    Paper: Devlin et al. 2018, arXiv:1810.04805.
    Expected: 13 % of the masked tokens right, masked loss 5.8 nats.
    """

    shards: ShardSpec = field(default_factory=lambda: ShardSpec(sentences="text"))
    model: BertConfig = field(
        default_factory=lambda: BertConfig(
            width=224, num_layers=4, num_heads=4, context_length=256, dropout=0.0, attention_dropout=0.0
        )
    )
    # a pair has 74 tokens on average, and none of them is padding: 28 are about 2,048
    training: TrainingConfig = field(default_factory=lambda: _budget(256, **MUON, batch_size=28))


@dataclass(frozen=True, kw_only=True)
class ModernBert(Encoder):
    """ModernBERT: 30 % of the tokens hidden, local and global attention in turn.

    Paper: Warner et al. 2024, arXiv:2412.13663.
    Expected: 26 % of the masked tokens right, masked loss 4.8 nats.
    """

    model: ModernBertConfig = field(
        default_factory=lambda: ModernBertConfig(
            width=224, num_layers=4, num_heads=4, context_length=256, feed_forward_width=608, window=64
        )
    )
    learning: Learning = field(default_factory=lambda: Learning(masking=MaskingSpec(fraction=0.3, sequences="full")))
    initialisation: Initialisation | None = QUIET
    training: TrainingConfig = field(default_factory=lambda: _budget(256, **MUON))


ARCHITECTURES: dict[str, type[Pretrain]] = {
    "nnlm": Nnlm,
    "rnn": Rnn,
    "lstm": Lstm,
    "gru": Gru,
    "transformer-xl": TransformerXl,
    "gpt": Gpt,
    "llama": Llama,
    "sparse-llama": SparseLlama,
    "mixtral": Mixtral,
    "bert": Bert,
    "modern-bert": ModernBert,
}
"""The settings of each recipe, in the order of the table."""


def stages(settings: Pretrain, quiet: bool) -> Sequence[Stage]:
    check_machine(settings)
    common = [tokenizer_stage(settings), shards_stage(settings), pretrain_stage(settings, quiet=quiet)]
    return [*common, _evaluate_stage(settings)] if isinstance(settings, LanguageModel) else common


def _evaluate_stage(settings: Pretrain) -> Stage:
    """Every held-out token, from at least 192 tokens before it where a text has as many."""

    def run(folder: Path, _: Facts, __: Tell) -> Mapping[str, Any]:
        from textmill.files import write_json
        from textmill.folder import load
        from textmill.tasks.evaluate import evaluate_shards
        from textmill.training.cpu import tune

        tune(settings.machine.threads)
        machine, precision = settings.machine, settings.training.precision
        metrics = evaluate_shards(load(folder / MODEL), folder / SHARDS, device=machine.device, precision=precision)
        write_json(folder / EVALUATION, {"model": metrics})
        return {**metrics, "told": f"{metrics['bits_per_byte']:.3f} bits per byte on held-out text"}

    return Stage(name="evaluate", title="measure it on held-out text", inputs=None, outputs=(EVALUATION,), run=run)


def show_result(folder: Path, facts: Facts) -> None:
    """What was reached, and what to do next, on stdout."""
    if "evaluate" in facts:
        print(facts["evaluate"]["told"])
        print(f'textmill generate {folder / MODEL} "Return a list of"')
        return
    for name, value in facts["pretrain"]["held_out"].items():
        print(f"{name:<20}{value:,.3f}" if isinstance(value, float) else f"{name:<20}{value:,}")
    print(f"textmill show {folder / MODEL}")
