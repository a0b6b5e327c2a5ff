"""Lion's step as it is defined.

    c = beta1 m + (1 - beta1) g
    x = (1 - rate decay) x - rate sign(c)
    m = beta2 m + (1 - beta2) g

Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
"""

import torch
from torch import Tensor


@torch.no_grad()
def lion_step(
    weight: Tensor, gradient: Tensor, mean: Tensor, *, rate: float, decay: float, betas: tuple[float, float]
) -> None:
    """Writes the new x over `weight` and the new m over `mean`."""
    direction = (betas[0] * mean + (1 - betas[0]) * gradient).sign()
    weight.copy_((1 - rate * decay) * weight - rate * direction)
    mean.copy_(betas[1] * mean + (1 - betas[1]) * gradient)
