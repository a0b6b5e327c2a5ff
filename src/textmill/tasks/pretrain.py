"""Token shards and a tokenizer in, a trained model folder out."""

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import textmill
from textmill import config
from textmill.errors import ConfigError
from textmill.folder import KINDS, save_folder
from textmill.models.base import LanguageModel
from textmill.models.configs import Initialisation, ModelConfig
from textmill.report.live import LiveProgress
from textmill.tasks.learning import lesson
from textmill.tasks.learning_spec import Learning
from textmill.tokenizers import Tokenizer
from textmill.training import cpu
from textmill.training.config import Machine, TrainingConfig
from textmill.training.faults import FaultWatch
from textmill.training.hooks import Hook, JsonLines, Progress, TensorBoard
from textmill.training.placement import OneDevice, chosen_device
from textmill.training.trainer import Trainer, TrainingResult
from textmill.training.weights_and_biases import WeightsAndBiases

METRICS = "metrics.jsonl"
FAULTS = "faults.jsonl"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train, where, and how it is watched."""

    model: ModelConfig
    """Its vocab_size is set to the tokenizer's."""
    learning: Learning = field(default_factory=Learning)
    initialisation: Initialisation | None
    training: TrainingConfig
    machine: Machine
    tensorboard: bool = False
    wandb: str | None = None
    """The project at Weights & Biases that the run is sent to."""
    watch: bool = False
    """Draw the loss while it trains, on a terminal."""
    quiet: bool = False

    def __post_init__(self) -> None:
        self.training.check_context(self.model.context_length)
        self.learning.chosen(self.model)

    def hooks(self, work: Path, model: LanguageModel, batches: Any, tokenizer: Tokenizer) -> list[Hook]:
        """What watches the run; its files go to `work`."""
        metrics = work / METRICS
        hooks: list[Hook] = [
            JsonLines(metrics),
            FaultWatch(work / FAULTS, batches, model=model, tokenizer=tokenizer, history=metrics),
        ]
        if self.tensorboard:
            hooks.append(TensorBoard(work / "tensorboard"))
        if self.wandb is not None:
            hooks.append(WeightsAndBiases(work, project=self.wandb, settings=config.to_json(self.training)))
        if not self.quiet:
            hooks.append(LiveProgress(history=metrics) if self.watch else Progress())
        return hooks


def pretrain(job: Job, *, shards: Path, tokenizer: Path, work: Path, out: Path) -> Mapping[str, Any]:
    """Trains a new model, or goes on from the newest checkpoint in `work`, and writes it to `out`.

    Returns the run's figures: losses in nats per token, seconds, tokens, parameters.

    Raises:
        ConfigError: the sequences are longer than the model's context, the model's vocabulary is not the tokenizer's,
            or there is no such device.
        DataError: the shards were made with another tokenizer, or are shorter than one sequence.
    """
    training = job.training
    cpu.tune(job.machine.threads)
    loaded = Tokenizer.load(tokenizer)
    _check_vocabulary(job.model, loaded)
    model = new_model(dataclasses.replace(job.model, vocab_size=loaded.vocab_size), training.seed, job.initialisation)
    learned = lesson(job.learning, model, shards, loaded, training)
    if learned.note and not job.quiet:
        print(f"training: {learned.note}", file=sys.stderr)
    result = Trainer(
        model,
        learned.objective,
        learned.batches,
        training,
        out=work,
        evaluate=learned.held_out,
        hooks=job.hooks(work, model, learned.batches, loaded),
        placement=OneDevice(chosen_device(job.machine.device)),
    ).run()
    facts = _facts(model, result)
    how = {
        "textmill": textmill.__version__,
        "task": "pretrain",
        "training": config.to_json(training),
        "learning": config.to_json(job.learning),
        "tokenizer": loaded.fingerprint(),
        "metrics": facts,
    }
    if learned.note:
        how["note"] = learned.note
    save_folder(out, model=model, tokenizer=loaded, run=how)
    return facts


def new_model(model_config: ModelConfig, seed: int, initialisation: Initialisation | None = None) -> LanguageModel:
    """A model with fresh weights, of the architecture that the configuration belongs to."""
    model: LanguageModel = KINDS[model_config.model_type].model_class()(model_config, seed=seed, init=initialisation)
    return model


def _check_vocabulary(model_config: ModelConfig, tokenizer: Tokenizer) -> None:
    """A vocab_size that somebody has set, and that isn't the tokenizer's, would be passed over in silence."""
    if model_config.vocab_size not in (type(model_config).vocab_size, tokenizer.vocab_size):
        raise ConfigError(
            f"model.vocab_size is {model_config.vocab_size}, the tokenizer has {tokenizer.vocab_size} tokens",
            fix="leave it out: it is taken from the tokenizer, whose size is tokenizer.vocab_size",
        )


def _facts(model: LanguageModel, result: TrainingResult) -> dict[str, Any]:
    held_out = f", held-out loss {result.metrics['loss']:.3f}" if result.metrics else ""
    rate = result.tokens / max(result.elapsed_seconds, 1e-9)
    return {
        "parameters": model.num_parameters(),
        "steps": result.step,
        "tokens": result.tokens,
        "loss": result.loss,
        "held_out": dict(result.metrics),
        "best_step": result.best_step,
        "training_seconds": round(result.elapsed_seconds, 3),
        "tokens_per_second": round(rate, 1),
        "precision": result.precision,
        "told": f"{model.num_parameters() / 1e6:.2f} M parameters, {result.tokens:,} tokens at {rate:,.0f} a second"
        + held_out,
    }
