"""One update of the weights, as a function of the step's number and its batch."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from textmill.objectives import Objective
from textmill.ops.permutation import mixed
from textmill.training.config import TrainingConfig
from textmill.training.groups import roles
from textmill.training.optimizers import Optimizers
from textmill.training.placement import Placement, split_rows
from textmill.training.precision import Weights, chosen_dtype


class Update:
    """The weights of a run in its precision, their optimisers, and the arithmetic of one step.

    Working weights take the model's place when it is made; `weights.restore` gives the model its own back.
    """

    def __init__(self, model: Any, objective: Objective, config: TrainingConfig, placement: Placement) -> None:
        self.model, self.objective, self.config, self.placement = model, objective, config, placement
        self.weights = Weights(model, chosen_dtype(config.precision, placement.device))
        self.optimizers = Optimizers(self.weights.trained, roles(model), config)

    def gradients(self, batch: Any, step: int) -> tuple[float, float]:
        """Leaves the batch's clipped gradients in the masters; its loss in nats, and the norm before clipping.

        Either may be no finite number; then the gradients aren't clipped.
        """
        counts = self.objective.counts(batch)
        losses: dict[str, Tensor] = {}
        # forward and backward, part by part; gradients add up
        for number, part in enumerate(split_rows(self.placement.share(batch), self.config.micro_batch_size)):
            torch.manual_seed(mixed(self.config.seed, step, number))
            sums = self.objective(self.model, part)
            torch.autograd.backward(self._mean(sums, counts))
            self.weights.collect_gradients()
            losses = {key: losses.get(key, 0.0) + loss.detach() for key, loss in sums.items()}
        loss = float(self._mean(self.placement.total(losses), counts))
        return loss, self._clip()

    def _clip(self) -> float:
        """The gradients' norm before clipping. Where it isn't finite they stay, to tell which of them it is."""
        weights = [weight for weight in self.weights.trained.values() if weight.grad is not None]
        total = nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        norm, most = float(total), self.config.clip_norm
        if most is not None and math.isfinite(norm):
            nn.utils.clip_grads_with_norm_(weights, most, total)
        return norm

    def apply(self, multiplier: float) -> float:
        """Updates the weights with `multiplier` times their highest rates; the largest rate used."""
        rate = self.optimizers.step(multiplier)
        self.weights.publish()
        self.weights.drop_gradients()
        return rate

    def not_finite(self) -> tuple[str, ...]:
        """The names of the weights whose gradients hold a number that isn't finite."""
        return tuple(
            name
            for name, weight in self.weights.trained.items()
            if weight.grad is not None and not bool(weight.grad.isfinite().all())
        )

    def _mean(self, sums: Mapping[str, Tensor], counts: Mapping[str, int]) -> Tensor:
        """The weighted sum of the means."""
        weights = self.objective.weights
        return torch.stack([loss * (weights[key] / max(1, counts[key])) for key, loss in sums.items()]).sum()
