"""The protocol of objectives, and weighted sums of them.

An objective turns a model and a batch into losses that are sums, and says by counts, which it reads off the batch
alone, what each sum has to be divided by. So a trainer may cut a batch into pieces or spread it over machines, add up
sums and counts, and divide once: the result is the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from textmill.errors import ConfigError

B = TypeVar("B")
Figures = tuple[Mapping[str, Tensor], Mapping[str, int]]
"""The losses as they are reported, and how many predictions are right, by the same keys."""


class Objective(Protocol):
    """Losses over batches of one kind. `counts`, `weights` and the losses have the same keys.

    Two things are optional, and read by `measured` and `token_keys`: a method `measure(model, batch)`, which gives what
    is reported on held-out text where it differs from what is learnt from, and `token_keys`, the keys of the losses
    that are nats of a token of the text, of which perplexities are taken (default: "loss").
    """

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


class OverStates(ABC, Generic[B]):
    """An objective whose losses are heads over hidden states. Two that read the same states can share one pass."""

    @staticmethod
    @abstractmethod
    def states(model: Any, batch: B) -> Tensor:
        """One pass of the trunk. Objectives with the very same function share it in `Weighted`."""

    @abstractmethod
    def losses(self, model: Any, states: Tensor, batch: B) -> Mapping[str, Tensor]:
        """The losses, sums in nats, from the states."""

    @abstractmethod
    def figures(self, model: Any, states: Tensor, batch: B) -> Figures:
        """What is reported on held-out text, from the states."""

    def __call__(self, model: Any, batch: B) -> Mapping[str, Tensor]:
        """The losses: sums in nats."""
        return self.losses(model, self.states(model, batch), batch)

    def measure(self, model: Any, batch: B) -> Figures:
        """The losses as they are reported, and how many predictions are right."""
        return self.figures(model, self.states(model, batch), batch)


def measured(objective: Objective, model: Any, batch: Any) -> Figures:
    """What the objective reports on a held-out batch: its own `measure`, or its losses."""
    if hasattr(objective, "measure"):
        figures: Figures = objective.measure(model, batch)
        return figures
    return objective(model, batch), {}


def token_keys(objective: Objective) -> tuple[str, ...]:
    """The keys of the losses that are nats of a token of the text."""
    keys: tuple[str, ...] = getattr(objective, "token_keys", ("loss",))
    return keys


class Weighted:
    """A weighted sum of objectives over the same batches; those over the same hidden states share one pass.

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

    @property
    def token_keys(self) -> tuple[str, ...]:
        return tuple(_joined(name, key) for name, (part, _) in self.parts.items() for key in token_keys(part))

    def __call__(self, model: Any, batch: Any) -> Mapping[str, Tensor]:
        shared = _SharedStates(model, batch)
        losses: dict[str, Tensor] = {}
        for name, (part, _) in self.parts.items():
            own = part.losses(model, shared.of(part), batch) if isinstance(part, OverStates) else part(model, batch)
            losses |= {_joined(name, key): loss for key, loss in own.items()}
        return losses

    def measure(self, model: Any, batch: Any) -> Figures:
        """The parts' figures, under the names of the parts."""
        shared = _SharedStates(model, batch)
        losses: dict[str, Tensor] = {}
        right: dict[str, int] = {}
        for name, (part, _) in self.parts.items():
            own, correct = (
                part.figures(model, shared.of(part), batch)
                if isinstance(part, OverStates)
                else measured(part, model, batch)
            )
            losses |= {_joined(name, key): loss for key, loss in own.items()}
            right |= {_joined(name, key): count for key, count in correct.items()}
        return losses, right

    def state(self) -> Mapping[str, Tensor]:
        """What the parts remember from batch to batch, for a checkpoint; nothing, for most."""
        return {
            f"{name}/{key}": tensor
            for name, (part, _) in self.parts.items()
            if hasattr(part, "state")
            for key, tensor in part.state().items()
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Gives each part what `state` gave of it."""
        for name, (part, _) in self.parts.items():
            if hasattr(part, "load_state"):
                mark = f"{name}/"
                part.load_state({key[len(mark) :]: tensors[key] for key in tensors if key.startswith(mark)})

    def __repr__(self) -> str:
        return f"Weighted({self.parts!r})"


class _SharedStates:
    """The hidden states of one batch, each kind computed when it is first asked for."""

    def __init__(self, model: Any, batch: Any) -> None:
        self.model, self.batch = model, batch
        self.known: dict[Any, Tensor] = {}

    def of(self, part: OverStates[Any]) -> Tensor:
        kind = part.states
        if kind not in self.known:
            self.known[kind] = kind(self.model, self.batch)
        return self.known[kind]


def as_tensor(array: np.ndarray, model: nn.Module) -> Tensor:
    """The array on the model's device; on a CPU it is the same memory."""
    return torch.as_tensor(array, device=next(model.parameters()).device)


def _joined(name: str, key: str) -> str:
    """
    >>> _joined("lm", "loss"), _joined("pairs", "order")
    ('lm', 'pairs.order')
    """
    return name if key == "loss" else f"{name}.{key}"
