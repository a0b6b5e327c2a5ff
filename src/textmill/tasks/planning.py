"""The plan of a pre-training run, from its settings alone: what `textmill pretrain ... --dry-run` shows."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from textmill.data.batches import Batch
from textmill.data.ragged import RaggedBatch
from textmill.data.streams import StreamBatch
from textmill.models.carrying import CarryingModel
from textmill.objectives import MaskedToken, NextToken, Objective, ReplacedToken, SentencePair, Weighted
from textmill.objectives.carried import CarriedNextToken
from textmill.objectives.router import with_router_losses
from textmill.tasks.pretrain import Job, new_model
from textmill.training import cpu
from textmill.training.placement import chosen_device
from textmill.training.planning import Plan, Plans, plan, random_ids


def plan_of(
    job: Job, *, vocab_size: int, num_tokens: int | None = None, evaluates: bool = True, whole_seconds: float = 8.0
) -> Plan:
    """What the job will take; needs neither text nor tokenizer, and writes nothing.

    Rows are taken to be full, which pairs of sentences hardly are.

    Args:
        vocab_size: of the tokenizer that there is or will be.
        num_tokens: of the text, where it is known.
        evaluates: whether text is held out.
        whole_seconds: a plan may take about so long before it is made from parts of the model.

    Raises:
        ConfigError: settings that contradict one another, or a model too large for this machine to rehearse a part of.
    """
    cpu.tune(job.machine.threads)
    settings = dataclasses.replace(job.model, vocab_size=vocab_size)

    def make_model(num_layers: int | None) -> Any:
        # `num_layers` is there where `layers` below says so
        changes: dict[str, Any] = {} if num_layers is None else {"num_layers": num_layers}
        return new_model(dataclasses.replace(settings, **changes), job.training.seed, job.initialisation)

    with torch.device("meta"):
        model = make_model(None)
    name = "carried" if isinstance(model, CarryingModel) else job.learning.chosen(settings)
    objective, shaped = _SHAPES[name]
    masked = job.learning.masking.fraction

    def make_batch(rows: int) -> Any:
        return shaped(random_ids(vocab_size, rows, job.training.context_length), masked)

    parts = Plans(
        make_model=make_model,
        make_batch=make_batch,
        objective=with_router_losses(objective(), model),
        num_layers=getattr(settings, "num_layers", None),
        evaluates=evaluates,
        num_tokens=num_tokens,
        whole_seconds=whole_seconds,
    )
    return plan(parts, job.training, chosen_device(job.machine.device))


def _rows(ids: np.ndarray, _: float) -> Batch:
    return Batch(tokens=ids, targets=ids)


def _streams(ids: np.ndarray, _: float) -> Batch:
    # of a model that remembers nothing yet, so that each batch can be the first
    return StreamBatch(tokens=ids, targets=ids, continues=False)


def _masked(ids: np.ndarray, fraction: float, *, pairs: bool = False) -> RaggedBatch:
    rows, time = ids.shape
    count = max(1, round(fraction * time))
    places = (np.arange(rows)[:, None] * time + np.linspace(0, time - 1, count).astype(np.int64)).ravel()
    flat = ids.ravel()
    return RaggedBatch(
        tokens=flat,
        starts=np.arange(rows + 1) * time,
        places=places,
        targets=flat[places],
        types=np.tile(np.arange(time) >= time // 2, rows).astype(np.int64) if pairs else None,
        labels=np.arange(rows) % 2 if pairs else None,
    )


def _pairs(ids: np.ndarray, fraction: float) -> RaggedBatch:
    return _masked(ids, fraction, pairs=True)


def _pair_objective() -> Objective:
    return Weighted({"masked": (MaskedToken(), 1.0), "pair": (SentencePair(), 1.0)})


_SHAPES: dict[str, tuple[Callable[[], Objective], Callable[[np.ndarray, float], Any]]] = {
    "next-token": (NextToken, _rows),
    "carried": (CarriedNextToken, _streams),
    "masked-token": (MaskedToken, _masked),
    "replaced-token": (ReplacedToken, _masked),
    "sentence-pairs": (_pair_objective, _pairs),
}
"""By what is learned: the objective, and how ids become a batch for it."""
