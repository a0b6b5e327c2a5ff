"""Muon: momentum whose matrices are made orthogonal before they are taken as a step.

A gradient's running mean is dominated by few directions. Muon moves along the semi-orthogonal matrix nearest to it: by
the same amount in all directions.

    M <- momentum M + G
    X <- (1 - rate * decay) X - rate * sqrt(max(1, rows / columns)) newton_schulz(G + momentum M)

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from textmill.training.precision import has_fast_bf16

QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of x -> a x + b x^3 + c x^5, chosen by Jordan for a steep rise at 0. Five turns bring singular values from
0.01 to 1 into about [0.7, 1.2]; nearer to 1 isn't needed."""
ITERATIONS = 5


def newton_schulz(matrices: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch rows columns"]:
    """Matrices with the same singular vectors and all singular values near 1 (0 stays 0): near U V^T of U S V^T.

    Runs in bf16 where the hardware has it, whose error is small beside that of the iteration.
    """
    a, b, c = QUINTIC
    wide = matrices.shape[-2] <= matrices.shape[-1]
    X = matrices if wide else matrices.mT
    # the spectral norm is at most the Frobenius norm, so all singular values begin in [0, 1]
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    X = X.bfloat16() if has_fast_bf16(X.device) else X.float()
    for _ in range(ITERATIONS):
        A = X @ X.mT
        # X <- a X + (b A + c A^2) X
        X = torch.baddbmm(X, torch.baddbmm(A, A, A, beta=b, alpha=c), X, beta=a)
    return X if wide else X.mT


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised. For matrices only, or stacks of them in the last two axes: experts [E, out, in]."""

    def __init__(self, params: Any, *, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        assert closure is None, "the trainer computes gradients before it steps"
        for group in self.param_groups:
            matrices = [weight for weight in group["params"] if weight.grad is not None]
            for same in _by_shape(matrices):
                self._update(same, group)

    def _update(self, weights: list[Tensor], group: Mapping[str, float]) -> None:
        """Matrices of one shape at once: their products run as one batch."""
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        means = [self._running_mean(weight) for weight in weights]
        torch._foreach_mul_(means, group["momentum"])
        torch._foreach_add_(means, gradients)
        ahead = torch.stack(torch._foreach_add(gradients, means, alpha=group["momentum"]))
        rows, columns = weights[0].shape[-2:]
        directions = newton_schulz(ahead.view(-1, rows, columns)).view_as(ahead)
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, list(directions.to(weights[0].dtype).unbind()), alpha=-rate)

    def _running_mean(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        return state["momentum"]


def _by_shape(weights: Iterable[Tensor]) -> list[list[Tensor]]:
    shapes: dict[torch.Size, list[Tensor]] = {}
    for weight in weights:
        shapes.setdefault(weight.shape, []).append(weight)
    return list(shapes.values())
