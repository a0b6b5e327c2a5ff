"""From the settings of what is learned to an objective, numbered batches and a measurement on held-out text."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.data.batches import PackedBatches, evaluation_batches
from textmill.data.masked import MaskedBatches, MaskingVocabulary
from textmill.data.packing import PackedDocuments
from textmill.data.pairs import PairBatches
from textmill.data.shards import TokenShards
from textmill.data.streams import StreamBatches, evaluation_stream
from textmill.errors import ConfigError, DataError
from textmill.models.carrying import CarryingModel
from textmill.objectives import MaskedToken, NextToken, Objective, ReplacedToken, SentencePair, Weighted
from textmill.objectives.carried import CarriedNextToken
from textmill.objectives.router import with_router_losses
from textmill.tasks.learning_spec import Learning
from textmill.tokenizers import Tokenizer
from textmill.training.config import TrainingConfig
from textmill.training.evaluation import HeldOut

DOCUMENTS_FOR_PAIRS = 2
"""A sentence that doesn't follow comes from another document."""
HELD_OUT_TOKENS = 1 << 18
"""At most so many held-out tokens are scored each time while training; the final figure takes all."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """All that a trainer needs beside the model."""

    objective: Objective
    batches: Any
    """Gives `batch(step)`."""
    held_out: HeldOut | None
    """None where no text was held out."""
    note: str | None = None
    """What whoever runs it should know."""


@dataclass(frozen=True, kw_only=True)
class _Material:
    """What a lesson is made from."""

    learning: Learning
    training: TrainingConfig
    tokenizer: Tokenizer
    train: TokenShards
    validation: TokenShards


def lesson(learning: Learning, model: Any, shards: Path, tokenizer: Tokenizer, training: TrainingConfig) -> Lesson:
    """What `learning` asks for, over both splits of the shards.

    Raises:
        ConfigError: settings that contradict one another, the model or the tokenizer.
        DataError: the shards were made with another tokenizer, or lack what the objective needs.
    """
    train, validation = (TokenShards.open(shards, split) for split in ("train", "validation"))
    train.check_tokenizer(tokenizer.fingerprint())
    material = _Material(learning=learning, training=training, tokenizer=tokenizer, train=train, validation=validation)
    name = learning.chosen(model.config)
    if isinstance(model, CarryingModel):
        return _streams(material)
    made = _LESSONS[name](material)
    objective = with_router_losses(made.objective, model)
    return Lesson(objective=objective, batches=made.batches, held_out=made.held_out)


def _next_token(material: _Material) -> Lesson:
    learning, training, validation = material.learning, material.training, material.validation
    if learning.activation or learning.temporal_activation:
        raise ConfigError(
            "activation and temporal_activation hold the outputs of recurrent models small, got another model",
            fix="leave them out",
        )
    size, separate = _size(training), learning.documents != "joined"
    objective = NextToken(label_smoothing=learning.label_smoothing, z_loss=learning.z_loss)
    batches: Any
    if learning.documents == "packed":
        batches = PackedDocuments(material.train, **size, seed=training.seed)
    else:
        batches = PackedBatches(material.train, **size, seed=training.seed, separate=separate)
    return Lesson(
        objective=objective,
        batches=batches,
        held_out=_held_out(
            validation,
            objective,
            lambda: evaluation_batches(validation, **size, max_tokens=HELD_OUT_TOKENS, separate=separate),
            # a document's first id is predicted from the mark before it, where there are marks
            every_token=not separate or validation.end_of_text_id is not None,
        ),
    )


def _streams(material: _Material) -> Lesson:
    learning, training, validation = material.learning, material.training, material.validation
    if learning.documents != "joined":
        raise ConfigError(
            f"a model that carries a memory reads documents one after the other, got documents={learning.documents}",
            fix="use joined",
        )
    if training.compile:
        raise ConfigError(
            "compile is there for models without a memory, got one that carries it along", fix="leave compile out"
        )
    settings = {name: getattr(learning, name) for name in ("label_smoothing", "z_loss")}
    objective = CarriedNextToken(
        **settings, activation=learning.activation, temporal_activation=learning.temporal_activation
    )
    size = _size(training)
    rows = {"batch_size": max(1, min(training.batch_size, validation.num_tokens // training.context_length))}
    return Lesson(
        objective=objective,
        batches=StreamBatches(material.train, **size, seed=training.seed),
        held_out=_held_out(
            validation,
            CarriedNextToken(),
            lambda: evaluation_stream(validation, **(size | rows), max_tokens=HELD_OUT_TOKENS),
            every_token=True,
        ),
    )


def _masked_token(material: _Material) -> Lesson:
    objective = MaskedToken(label_smoothing=material.learning.label_smoothing)
    return _over_masked(material, objective, MaskedBatches)


def _replaced_token(material: _Material) -> Lesson:
    if material.learning.masking.unit != "replaced":
        raise ConfigError(
            f"replaced-token needs masking.unit=replaced, got {material.learning.masking.unit}",
            fix="set masking.unit=replaced",
        )
    return _over_masked(material, ReplacedToken(), MaskedBatches)


def _sentence_pairs(material: _Material) -> Lesson:
    sentences = material.train.sentences.counts
    if material.learning.pairs.kind == "next_sentence" and len(sentences) and sentences.max() < 2:
        raise DataError(
            f"next-sentence pairs need documents of several sentences, each of these {len(sentences)} has one: no "
            "sentence follows another",
            fix="put a blank line between documents alone and set documents=paragraph, or learn by masked-token",
        )
    masked = MaskedToken(label_smoothing=material.learning.label_smoothing)
    objective = Weighted({"masked": (masked, 1.0), "pair": (SentencePair(), 1.0)})
    pairs = material.learning.pairs
    if pairs.kind == "next_sentence" and 0 < material.validation.num_documents < DOCUMENTS_FOR_PAIRS:
        batches = PairBatches(material.train, **_masks(material), spec=pairs, seed=material.training.seed)
        measured = _over_masked(material, Weighted({"masked": (masked, 1.0)}), MaskedBatches)
        note = "the held-out text is one document, which has no random next sentences: its masked tokens are measured"
        return Lesson(objective=objective, batches=batches, held_out=measured.held_out, note=note)
    return _over_masked(material, objective, PairBatches, spec=pairs)


def _over_masked(material: _Material, objective: Objective, batches_class: Any, **settings: Any) -> Lesson:
    """Over sequences with masks; held-out text is masked the same way every time."""
    validation = material.validation
    settings |= _masks(material)
    batches = batches_class(material.train, **settings, seed=material.training.seed)
    measured: Any = None if validation.num_tokens == 0 else batches_class(validation, **settings)
    return Lesson(
        objective=objective,
        batches=batches,
        held_out=_held_out(
            validation, objective, lambda: measured.in_order(max_tokens=HELD_OUT_TOKENS), every_token=False
        ),
    )


_LESSONS: dict[str, Callable[[_Material], Lesson]] = {
    "next-token": _next_token,
    "masked-token": _masked_token,
    "replaced-token": _replaced_token,
    "sentence-pairs": _sentence_pairs,
}


def _masks(material: _Material) -> dict[str, Any]:
    """What batches with masks are made by."""
    return _size(material.training) | {
        "masking": material.learning.masking,
        "vocabulary": MaskingVocabulary.of(material.tokenizer),
    }


def _size(training: TrainingConfig) -> dict[str, Any]:
    return {"batch_size": training.batch_size, "context_length": training.context_length}


def _held_out(
    validation: TokenShards, objective: Objective, batches: Callable[[], Iterable[Any]], *, every_token: bool
) -> HeldOut | None:
    """every_token: all tokens of the split are targets, so its bytes can be set against the loss."""
    if validation.num_tokens == 0:
        return None
    known = every_token and validation.num_tokens <= HELD_OUT_TOKENS
    return HeldOut(objective=objective, batches=batches, num_bytes=validation.text_bytes if known else None)
