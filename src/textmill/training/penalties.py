"""L1 and L2 as terms of what is minimised, through the gradient.

    minimise loss(x) + l1 sum |x| + l2 / 2 sum x^2:    G <- G + l1 sign(x) + l2 x

An optimiser that divides gradients by their size (Adam, RMSProp, Adagrad) divides this term too: a weight with large
gradients is then held less. Decoupled decay, x <- (1 - rate * decay) x, holds all alike (Loshchilov and Hutter 2019,
arXiv:1711.05101, section 2). For plain SGD the two are the same with l2 = decay; for one that only takes signs or
singular vectors, l2 has next to no effect until the gradient is as small as it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def add_penalties(weights: Sequence[Tensor], *, l1: float, l2: float) -> None:
    """Adds the penalties' gradients to those of the weights that have one.

    >>> weight = torch.tensor([2.0, -1.0, 0.0])
    >>> weight.grad = torch.zeros(3)
    >>> add_penalties([weight], l1=0.5, l2=0.1)
    >>> weight.grad
    tensor([ 0.7000, -0.6000,  0.0000])
    """
    held = [weight for weight in weights if weight.grad is not None]
    gradients = [weight.grad for weight in held if weight.grad is not None]
    if held and l1:
        torch._foreach_add_(gradients, torch._foreach_sign(held), alpha=l1)
    if held and l2:
        torch._foreach_add_(gradients, held, alpha=l2)
