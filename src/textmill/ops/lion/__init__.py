"""Lion's step: one kernel on a CPU, torch's operations on all tensors at once elsewhere."""

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def lion_step(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    means: Sequence[Tensor],
    *,
    rate: float,
    decay: float,
    betas: tuple[float, float],
) -> None:
    """Updates all weights and running means in place, as `reference.lion_step` does each."""
    # Numba is loaded by those who train with Lion
    from textmill.ops.lion import cpu

    rest = []
    for triple in zip(weights, gradients, means, strict=True):
        if cpu.serves(*triple):
            cpu.lion_step(*triple, rate=rate, decay=decay, betas=betas)
        else:
            rest.append(triple)
    if rest:
        _with_torch(*map(list, zip(*rest, strict=True)), rate=rate, decay=decay, betas=betas)


def _with_torch(
    weights: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    *,
    rate: float,
    decay: float,
    betas: tuple[float, float],
) -> None:
    directions = torch._foreach_lerp(means, gradients, 1 - betas[0])
    torch._foreach_sign_(directions)
    torch._foreach_mul_(weights, 1 - rate * decay)
    torch._foreach_add_(weights, directions, alpha=-rate)
    torch._foreach_lerp_(means, gradients, 1 - betas[1])
