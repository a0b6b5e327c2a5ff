"""The loss on held-out text."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from textmill.errors import DataError
from textmill.metrics.language_model import bits_per_byte, bits_per_character, perplexity
from textmill.objectives import Objective
from textmill.objectives.base import measured, token_keys


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Measures a model on the same held-out batches each time; give one to `Trainer(evaluate=...)`.

    ```
    HeldOut(
        objective=NextToken(), batches=lambda: evaluation_batches(shards, 32, 256), num_bytes=shards.text_bytes
    )
    ```
    """

    objective: Objective
    batches: Callable[[], Iterable[Any]]
    """Gives the batches anew."""
    num_bytes: int | None = None
    """Bytes of the text in them, all of whose tokens are targets, for bits per byte."""
    num_characters: int | None = None
    """Characters of that text, for bits per character."""

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """What the objective measures, by these names:

        - `loss`: the weighted sum of the mean losses, in nats; where there are several, each one too, by its key
        - `perplexity`: exp of the mean loss of a token
        - `accuracy`: the share of right predictions, where the objective tells
        - `tokens`: how many were predicted
        - `bits_per_byte`, `bits_per_character`: where the text's size is known and its tokens are predicted once

        Perplexity and accuracy are `<key>_perplexity` and `<key>_accuracy` where there are several losses.

        Raises:
            DataError: nothing to predict.
        """
        training = model.training
        model.eval()
        try:
            sums, counts, right = self._sums(model)
        finally:
            model.train(training)
        if not any(counts.values()):
            raise DataError("there is no held-out text to measure on", fix="give more text, or hold out more of it")
        means = {key: sums[key] / max(1, counts[key]) for key in sums}
        result = {"loss": math.fsum(weight * means[key] for key, weight in self.objective.weights.items())}
        if len(means) > 1:
            result |= means
        texts = [key for key in token_keys(self.objective) if counts.get(key)]
        result |= {_named("perplexity", key): perplexity(sums[key], counts[key]) for key in texts}
        result |= {_named("accuracy", key): right[key] / counts[key] for key in right if counts[key]}
        result["tokens"] = sum(counts[key] for key in texts) if texts else sum(counts.values())
        if len(texts) == 1 and self.num_bytes is not None:
            result["bits_per_byte"] = bits_per_byte(sums[texts[0]], self.num_bytes)
        if len(texts) == 1 and self.num_characters is not None:
            result["bits_per_character"] = bits_per_character(sums[texts[0]], self.num_characters)
        return result

    def _sums(self, model: nn.Module) -> tuple[dict[str, float], dict[str, int], dict[str, int]]:
        """Over all batches and by key: the losses, how many things they sum over, how many of these are right."""
        keys = self.objective.weights
        sums, counts, right = dict.fromkeys(keys, 0.0), dict.fromkeys(keys, 0), dict[str, int]()
        for batch in self.batches():
            for key, count in self.objective.counts(batch).items():
                counts[key] += count
            losses, correct = measured(self.objective, model, batch)
            for key, loss in losses.items():
                sums[key] += float(loss)
            for key, number in correct.items():
                right[key] = right.get(key, 0) + number
        return sums, counts, right


def _named(figure: str, key: str) -> str:
    """
    >>> _named("accuracy", "loss"), _named("accuracy", "pair")
    ('accuracy', 'pair_accuracy')
    """
    return figure if key == "loss" else f"{key}_{figure}"
