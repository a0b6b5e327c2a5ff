"""Normalisation as a choice: a table from a setting's name to the class.

LayerNorm: y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias        Ba et al. 2016, arXiv:1607.06450
RMSNorm:   y = x / sqrt(mean(x^2) + eps) * weight                        Zhang and Sennrich 2019, arXiv:1910.07467

Means run over the last axis, in fp32 whatever the type of x.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class _RMSNorm(torch.autograd.Function):
    """RMSNorm with its gradient written out: twice as fast on a CPU as what autograd makes of the formula.

    Legend: N rows, R norms side by side (the axis before the last), D width.
    """

    @staticmethod
    def forward(ctx: Any, x_NRD: Tensor, weight_RD: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x_NRD, weight_RD)
        ctx.eps = eps
        return F.rms_norm(x_NRD, x_NRD.shape[-1:], None, eps).mul_(weight_RD)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        g = gradients[0]
        # one number a row, in at least fp32: the sum of squares, then 1 / root mean square
        fp32 = torch.promote_types(x.dtype, torch.float32)
        squares_NR = torch.linalg.vector_norm(x, dim=-1, dtype=fp32).square_()
        scale_NR = squares_NR.div_(x.shape[-1]).add_(ctx.eps).rsqrt_()
        g_x = g * x
        # d weight = sum over rows of g * x * scale
        weight_gradient = torch.einsum("nrd,nr->rd", g_x, scale_NR.to(x.dtype))
        # d x = scale * g * weight - x * scale^3 * mean(g * weight * x)
        projection_NR = torch.einsum("nrd,rd->nr", g_x, weight) * scale_NR.pow(3) / -x.shape[-1]
        x_gradient = (g * weight).mul_(scale_NR.to(x.dtype).unsqueeze(-1))
        return x_gradient.addcmul_(x, projection_NR.to(x.dtype).unsqueeze(-1)), weight_gradient, None


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


def rms_norm(x: Float[Tensor, "... D"], weight: Float[Tensor, "*R D"], eps: float) -> Float[Tensor, "... D"]:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis; a weight of two axes is a norm for each of its rows."""
    weight = weight.to(x.dtype)
    # a compiler fuses the plain formula and its gradient by itself
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        if weight.dim() == 1:
            return F.rms_norm(x, weight.shape, weight, eps)
        return F.rms_norm(x, x.shape[-1:], None, eps) * weight
    weight_RD = weight if weight.dim() == 2 else weight.unsqueeze(0)
    y: Tensor = _RMSNorm.apply(x.reshape(-1, *weight_RD.shape), weight_RD, eps)  # type: ignore[no-untyped-call]
    return y.view(x.shape)


NORMS: dict[str, type[nn.LayerNorm] | type[RMSNorm]] = {"layer": nn.LayerNorm, "rms": RMSNorm}
