"""Five minutes from raw text to a tokenizer, a small language model, its writing, and a report.

Text: the prose of the running Python's own documentation, or your own with `--set corpus=PATH`.
Expected: 1.45 bits per byte on held-out documents of the built-in corpus of Python 3.11, where gzip needs 2.74, a
10-gram of bytes 1.50 and xz after the training text 1.46.
Hardware: two CPU cores, about 1.5 GB of memory. Time: about five minutes.
Command: `textmill run`, or `textmill run quickstart --set corpus=my.txt`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.errors import ConfigError
from textmill.generation.config import GenerationConfig
from textmill.models.configs import GPTConfig, Initialisation, LlamaConfig
from textmill.recipes.pretrain import MODEL, Pretrain, check_machine, pretrain_stage
from textmill.recipes.stages import Facts, Stage, Tell
from textmill.recipes.text import SHARDS, shards_stage, tokenizer_stage
from textmill.tokenizers.spec import TokenizerSpec
from textmill.training.config import TrainingConfig

EVALUATION = "evaluation.json"
SAMPLES = "samples.json"
REPORT = "report"

LEAST_BASELINE_BYTES = 1 << 10

PROMPTS = ("Return a list of", "This module provides", "Raises ValueError if")


@dataclass(frozen=True, kw_only=True)
class Quickstart(Pretrain):
    """Settings of the recipe: those of `Pretrain` with other defaults, and these."""

    tokenizer: TokenizerSpec = dataclasses.field(
        default_factory=lambda: TokenizerSpec(vocab_size=4096, allow_fewer=True)
    )
    model: GPTConfig | LlamaConfig = dataclasses.field(
        default_factory=lambda: LlamaConfig(width=192, num_layers=4, num_heads=3, context_length=256, qk_norm=True)
    )
    initialisation: Initialisation | None = dataclasses.field(
        default_factory=lambda: Initialisation(matrices="fan_in", output_projections="zero", head="zero", std=0.7)
    )
    training: TrainingConfig = dataclasses.field(
        default_factory=lambda: TrainingConfig(
            steps=1200,
            batch_size=8,
            context_length=256,
            matrix_learning_rate=0.02,
            learning_rate=0.004,
            evaluate_every=200,
            schedule="wsd",
            decay_fraction=1.0,
            final_fraction=0.0,
            warmup_steps=20,
        )
    )
    prompts: tuple[str, ...] | None = None
    """What the samples begin with; none: three that suit the built-in corpus, or beginnings of held-out documents."""
    sample_tokens: int = 120
    """Tokens that the model adds to each prompt."""
    temperature: float = 0.7
    top_p: float = 0.95
    baseline_bytes: int = 16 << 20
    """The baselines learn from at most this much of the training text, and are measured on at most an eighth of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.generation()
        if self.baseline_bytes < LEAST_BASELINE_BYTES:
            raise ConfigError(
                f"baseline_bytes must be at least {LEAST_BASELINE_BYTES}, got {self.baseline_bytes}", fix="leave it out"
            )
        if self.shards.validation_fraction == 0:
            raise ConfigError(
                "the quickstart measures on held-out text, and shards.validation_fraction is 0", fix="set it to 0.05"
            )

    def generation(self) -> GenerationConfig:
        return GenerationConfig(max_tokens=self.sample_tokens, temperature=self.temperature, top_p=self.top_p)


def stages(settings: Quickstart, quiet: bool) -> Sequence[Stage]:
    check_machine(settings)
    return [
        tokenizer_stage(settings),
        shards_stage(settings),
        pretrain_stage(settings, quiet=quiet),
        _evaluate_stage(settings),
        _sample_stage(settings),
        _report_stage(settings),
    ]


def _evaluate_stage(settings: Quickstart) -> Stage:
    def run(folder: Path, _: Facts, __: Tell) -> Mapping[str, Any]:
        from textmill.files import write_json
        from textmill.folder import load
        from textmill.tasks.evaluate import baselines, evaluate_shards
        from textmill.training.cpu import tune

        model = load(folder / MODEL)
        tune(settings.machine.threads)
        machine, precision = settings.machine, settings.training.precision
        metrics = evaluate_shards(model, folder / SHARDS, device=machine.device, precision=precision)
        compared = baselines(folder / SHARDS, model.tokenizer, most_bytes=settings.baseline_bytes)
        write_json(folder / EVALUATION, {"model": metrics, "baselines": compared})
        return {
            **metrics,
            "baselines": compared,
            "told": f"{metrics['bits_per_byte']:.3f} bits per byte on held-out text",
        }

    return Stage(
        name="evaluate",
        title="measure it beside gzip, xz and an n-gram model",
        inputs=settings.baseline_bytes,
        outputs=(EVALUATION,),
        run=run,
    )


def _sample_stage(settings: Quickstart) -> Stage:
    def run(folder: Path, _: Facts, __: Tell) -> Mapping[str, Any]:
        from textmill.files import write_json
        from textmill.folder import load
        from textmill.generation import generate_batch
        from textmill.tasks.evaluate import beginnings

        model = load(folder / MODEL)
        builtin = settings.corpus in ("builtin", ("builtin",))
        prompts: Sequence[str] = settings.prompts or ()
        if settings.prompts is None:
            prompts = PROMPTS if builtin else beginnings(folder / SHARDS, model.tokenizer, 3)
        texts = generate_batch(model, list(prompts), settings.generation())
        samples = [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, texts, strict=True)]
        write_json(folder / SAMPLES, samples)
        return {"samples": samples, "told": f"{len(samples)} samples"}

    inputs = [settings.prompts, settings.sample_tokens, settings.temperature, settings.top_p]
    return Stage(name="write", title="let it write", inputs=inputs, outputs=(SAMPLES,), run=run)


def _report_stage(settings: Quickstart) -> Stage:
    def run(folder: Path, facts: Facts, _: Tell) -> Mapping[str, Any]:
        from textmill.recipes.quickstart_report import write_report

        page = write_report(folder, settings, facts)
        return {"page": str(page.relative_to(folder)), "told": f"{page}"}

    return Stage(name="report", title="write the report", inputs=None, outputs=(f"{REPORT}/report.html",), run=run)


def show_result(folder: Path, facts: Facts) -> None:
    """Samples, figures beside the baselines, and what to do next, on stdout."""
    from rich.console import Console
    from rich.text import Text

    from textmill.report.page import DATA, read_report_data
    from textmill.report.terminal import print_summary

    console = Console(highlight=False)
    for sample in json.loads((folder / SAMPLES).read_text(encoding="utf-8")):
        console.print(Text(sample["prompt"], style="bold cyan") + Text(sample["text"]))
        console.rule(style="dim")
    print_summary(read_report_data(folder / REPORT / DATA), console)
    console.print(f"report   {folder / facts['report']['page']}", markup=False)
    console.print(f"model    {folder / MODEL}", markup=False)
    console.print(f'try      textmill generate {folder / MODEL} "Once upon a time"', markup=False)
