"""RMSNorm for training on a CPU: a row is read once forward and once backward, in fp32 inside.

With s = 1 / sqrt(mean(x^2) + eps) of a row and g the gradient of the output:

    d weight = sum over rows of g x s          d x = s (g w - x s^2 mean(g w x))

Legend: N rows, D width.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from textmill.ops.floats import FAST, as_array, in_parts, narrow, widen

ROWS = 256
"""Rows that a thread takes at a time; the weight's gradient is summed within a part, then over parts."""


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _forward(x_ND, weight_D, eps, y_ND, start, stop):
    for n in range(start, stop):
        x, y = x_ND[n], y_ND[n]
        squares = np.float32(0.0)
        for i in range(len(weight_D)):
            squares += widen(x[i]) * widen(x[i])
        scale = np.float32(1.0) / np.sqrt(squares / np.float32(len(weight_D)) + eps)
        for i in range(len(weight_D)):
            y[i] = narrow(widen(x[i]) * scale * weight_D[i], y[i])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _backward(x_ND, weight_D, eps, grad_ND, grad_x_ND, grad_weight_PD, start, stop):
    grad_weight = grad_weight_PD[start // ROWS]
    for n in range(start, stop):
        x, grad, grad_x = x_ND[n], grad_ND[n], grad_x_ND[n]
        squares, product = np.float32(0.0), np.float32(0.0)
        for i in range(len(weight_D)):
            squares += widen(x[i]) * widen(x[i])
            product += widen(x[i]) * widen(grad[i]) * weight_D[i]
        width = np.float32(len(weight_D))
        scale = np.float32(1.0) / np.sqrt(squares / width + eps)
        pull = scale * scale * product / width
        for i in range(len(weight_D)):
            grad_weight[i] += widen(grad[i]) * widen(x[i]) * scale
        for i in range(len(weight_D)):
            grad_x[i] = narrow(scale * (widen(grad[i]) * weight_D[i] - widen(x[i]) * pull), grad_x[i])


class RMSNorm(torch.autograd.Function):
    """(x [N D], weight [D], eps) -> [N D]; x is fp32 or bf16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        y = torch.empty_like(x)
        in_parts(_forward, len(x), ROWS, _rows(x), as_array(weight.float()), np.float32(eps), _rows(y))
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        grad_weight_PD = torch.zeros(-(-len(x) // ROWS), len(weight))
        arrays = _rows(x), as_array(weight.float()), np.float32(ctx.eps), _rows(grad.contiguous()), _rows(grad_x)
        in_parts(_backward, len(x), ROWS, *arrays, grad_weight_PD.numpy())
        return grad_x, grad_weight_PD.sum(0).to(weight.dtype), None


def _rows(x_ND: Tensor) -> np.ndarray:
    return as_array(x_ND).reshape(x_ND.shape)
