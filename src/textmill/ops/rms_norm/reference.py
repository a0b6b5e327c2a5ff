"""RMSNorm as it is defined: y = x / sqrt(mean(x^2) + eps) * weight over the last axis.

Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4.
"""

from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The same shape as `x`; `weight` is [D]."""
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight
