"""The protocol of objectives, and weighted sums of them.

An objective turns a model and a batch into losses that are sums, and says by counts, which it reads off the batch
alone, what each sum has to be divided by. So a trainer may cut a batch into pieces or spread it over machines, add up
sums and counts, and divide once: the result is the same.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from textmill.errors import ConfigError


class Objective(Protocol):
    """Losses over batches of one kind. `counts`, `weights` and the losses have the same keys."""

    @property
    def weights(self) -> Mapping[str, float]:
        """How much each mean loss counts in the total: total = sum of weights[k] * losses[k] / counts[k]."""
        ...

    def counts(self, batch: Any) -> Mapping[str, int]:
        """How many things each loss sums over."""
        ...

    def __call__(self, model: Any, batch: Any) -> Mapping[str, Tensor]:
        """The losses: sums in nats."""
        ...


class Weighted:
    """A weighted sum of objectives over the same batches.

    `Weighted({"task": (Classification(), 1.0), "lm": (NextToken(), 0.5)})` is GPT-1's objective for fine-tuning,
    L2 + 0.5 L1 (Radford et al. 2018, eq. 5).

    Raises:
        ConfigError: no parts, or a negative weight.
    """

    def __init__(self, parts: Mapping[str, tuple[Objective, float]]) -> None:
        if not parts:
            raise ConfigError("a weighted objective needs at least one part, got none", fix="name an objective")
        for name, (_, weight) in parts.items():
            if weight < 0:
                raise ConfigError(f"the weight of {name!r} must be >= 0, got {weight}", fix="use 1.0 or so")
        self.parts = dict(parts)

    @property
    def weights(self) -> Mapping[str, float]:
        return {
            _joined(name, key): weight * inner
            for name, (part, weight) in self.parts.items()
            for key, inner in part.weights.items()
        }

    def counts(self, batch: Any) -> Mapping[str, int]:
        return {
            _joined(name, key): count
            for name, (part, _) in self.parts.items()
            for key, count in part.counts(batch).items()
        }

    def __call__(self, model: Any, batch: Any) -> Mapping[str, Tensor]:
        return {
            _joined(name, key): loss
            for name, (part, _) in self.parts.items()
            for key, loss in part(model, batch).items()
        }

    def __repr__(self) -> str:
        return f"Weighted({self.parts!r})"


def as_tensor(array: np.ndarray, model: nn.Module) -> Tensor:
    """The array on the model's device; on a CPU it is the same memory."""
    return torch.as_tensor(array, device=next(model.parameters()).device)


def _joined(name: str, key: str) -> str:
    """
    >>> _joined("lm", "loss"), _joined("pairs", "order")
    ('lm', 'pairs.order')
    """
    return name if key == "loss" else f"{name}.{key}"
