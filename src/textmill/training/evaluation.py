"""The loss on held-out text."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from textmill.errors import DataError
from textmill.metrics.language_model import bits_per_byte
from textmill.objectives import Objective


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
    """Bytes of the text in them, for bits per byte."""

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """`loss` in nats per token, `tokens`, and `bits_per_byte` where the bytes are known.

        Raises:
            DataError: nothing to predict.
        """
        training = model.training
        model.eval()
        try:
            sums, counts = dict.fromkeys(self.objective.weights, 0.0), dict.fromkeys(self.objective.weights, 0)
            for batch in self.batches():
                for key, count in self.objective.counts(batch).items():
                    counts[key] += count
                for key, loss in self.objective(model, batch).items():
                    sums[key] += float(loss)
        finally:
            model.train(training)
        if not any(counts.values()):
            raise DataError("there is no held-out text to measure on", fix="give more text, or hold out more of it")
        means = {key: sums[key] / max(1, counts[key]) for key in sums}
        result = {"loss": math.fsum(weight * means[key] for key, weight in self.objective.weights.items())}
        if len(means) > 1:
            result |= means
        result["tokens"] = sum(counts.values())
        if self.num_bytes is not None:
            result["bits_per_byte"] = bits_per_byte(sum(sums.values()), self.num_bytes)
        return result
