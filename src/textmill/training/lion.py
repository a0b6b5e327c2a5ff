"""Lion: the sign of a running mean as the step, with one number of state a weight where Adam has two.

    C <- beta1 M + (1 - beta1) G
    X <- (1 - rate * decay) X - rate sign(C)
    M <- beta2 M + (1 - beta2) G

Every weight moves by the rate, whatever the size of its gradient: so rates are a third to a tenth of AdamW's, and
decays three to ten times as large.

Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from textmill.ops.lion import lion_step


class Lion(torch.optim.Optimizer):
    """Evolved sign momentum, with decoupled decay."""

    def __init__(
        self, params: Any, *, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        assert closure is None, "the trainer computes gradients before it steps"
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            gradients = [weight.grad for weight in weights]
            means = [self._running_mean(weight) for weight in weights]
            lion_step(weights, gradients, means, rate=group["lr"], decay=group["weight_decay"], betas=group["betas"])

    def _running_mean(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        return state["momentum"]
