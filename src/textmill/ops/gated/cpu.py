"""SwiGLU for training on a CPU: one pass forward, one backward, and nothing kept but its inputs.

With s the sigmoid of the gate g, u the other input and d the gradient of the output y = g s u:

    d u = d g s          d g = d u s (1 + g (1 - s))

The matrix product that follows needs y for its weight's gradient. It is the widest thing a block computes, so
`SwiGLULinear` makes it again in the backward pass rather than keep it.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from textmill.ops.floats import FAST, as_array, exp, in_parts, narrow, widen

PART = 1 << 16
"""Numbers that a thread takes at a time."""


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _forward(gate, up, wide, start, stop):
    one = np.float32(1.0)
    gate, up, wide = gate[start:stop], up[start:stop], wide[start:stop]
    for i in range(len(gate)):
        g = widen(gate[i])
        wide[i] = narrow(g / (one + exp(-g)) * widen(up[i]), wide[i])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _backward(gate, up, grad_wide, grad_gate, grad_up, start, stop):
    one = np.float32(1.0)
    gate, up, grad_wide = gate[start:stop], up[start:stop], grad_wide[start:stop]
    grad_gate, grad_up = grad_gate[start:stop], grad_up[start:stop]
    for i in range(len(gate)):
        g, grad = widen(gate[i]), widen(grad_wide[i])
        sigmoid = one / (one + exp(-g))
        grad_up[i] = narrow(grad * g * sigmoid, grad_up[i])
        grad_gate[i] = narrow(grad * widen(up[i]) * sigmoid * (one + g * (one - sigmoid)), grad_gate[i])


def forward(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up of contiguous tensors."""
    wide = torch.empty_like(gate)
    in_parts(_forward, gate.numel(), PART, as_array(gate), as_array(up), as_array(wide))
    return wide


def backward(gate: Tensor, up: Tensor, grad_wide: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up."""
    grad_gate, grad_up = torch.empty_like(gate), torch.empty_like(up)
    arrays = [as_array(tensor) for tensor in (gate, up, grad_wide.contiguous(), grad_gate, grad_up)]
    in_parts(_backward, gate.numel(), PART, *arrays)
    return grad_gate, grad_up


class SwiGLU(torch.autograd.Function):
    """Two tensors of one shape -> a third."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        ctx.save_for_backward(gate, up)
        return forward(gate, up)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return backward(gate, up, grad)


class SwiGLULinear(torch.autograd.Function):
    """(gate, up [... wide], weight [width wide], bias [width] or None) -> [... width]."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        ctx.save_for_backward(gate, up, weight)
        return torch.nn.functional.linear(forward(gate, up), weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        grad_weight = rows.T @ forward(gate, up).view(len(rows), weight.shape[1]) if ctx.needs_input_grad[2] else None
        grad_bias = rows.sum(0) if ctx.needs_input_grad[3] else None
        grad_gate, grad_up = backward(gate, up, rows @ weight)
        return grad_gate, grad_up, grad_weight, grad_bias
