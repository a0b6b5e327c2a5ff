"""Normalisation as a choice: a table from a setting's name to the class.

LayerNorm: y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias        Ba et al. 2016, arXiv:1607.06450
RMSNorm:   y = x / sqrt(mean(x^2) + eps) * weight                        Zhang and Sennrich 2019, arXiv:1910.07467

Means run over the last axis, in fp32 whatever the type of x.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textmill.ops.rms_norm import rms_norm


class RMSNorm(nn.Module):
    """Root mean square normalisation over the last axis."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "... width"]) -> Float[Tensor, "... width"]:
        """
        >>> norm = RMSNorm(2, eps=0.0)
        >>> norm(torch.tensor([3.0, 4.0])).detach().mul(12.5**0.5)  # the root mean square of 3 and 4
        tensor([3., 4.])
        """
        return rms_norm(x, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


NORMS: dict[str, type[nn.LayerNorm] | type[RMSNorm]] = {"layer": nn.LayerNorm, "rms": RMSNorm}
