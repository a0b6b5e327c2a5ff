"""The gradient of a weighted SwiGLU in one pass on a CPU: what the mixture needs between its products."""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from textmill.ops.floats import FAST, as_array, exp, in_parts, narrow, widen

ROWS = 64
"""Rows that a thread takes at a time."""


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _backward(gate, up, grad, scale, wide, grad_gate, dots, width, start, stop):
    """`grad` is read, then becomes the gradient of up."""
    one = np.float32(1.0)
    for row in range(start, stop):
        first, last = row * width, (row + 1) * width
        g_row, u_row, d_row = gate[first:last], up[first:last], grad[first:last]
        h_row, gg_row = wide[first:last], grad_gate[first:last]
        weight, dot = scale[row], np.float32(0.0)
        for i in range(width):
            g, u, d = widen(g_row[i]), widen(u_row[i]), widen(d_row[i])
            sigmoid = one / (one + exp(-g))
            silu = g * sigmoid
            dot += silu * u * d
            h_row[i] = narrow(silu * u, h_row[i])
            gg_row[i] = narrow(weight * d * u * (sigmoid + silu * (one - sigmoid)), gg_row[i])
            d_row[i] = narrow(weight * d * silu, d_row[i])
        dots[row] = dot


def swiglu_backward(
    gate: Tensor, up: Tensor, grad_wide: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """wide = silu(gate) * up, the gradients of gate and up under scale * grad_wide, and wide . grad_wide of each row.

    Args:
        gate: [N, F] like `up` and `grad_wide`, all contiguous and of one type, fp32 or bf16.
        grad_wide: its memory becomes the gradient of up.
        scale: [N, 1].
    """
    N, width = gate.shape
    assert up.shape == grad_wide.shape == gate.shape
    assert scale.shape == (N, 1)
    assert gate.dtype == up.dtype == grad_wide.dtype
    assert all(tensor.is_contiguous() for tensor in (gate, up, grad_wide))
    wide, grad_gate, dots = torch.empty_like(gate), torch.empty_like(gate), gate.new_empty(N, dtype=torch.float32)
    arrays = [as_array(tensor) for tensor in (gate, up, grad_wide)]
    scales = as_array(scale.float().contiguous())
    in_parts(_backward, N, ROWS, *arrays, scales, as_array(wide), as_array(grad_gate), as_array(dots), width)
    return wide, grad_gate, grad_wide, dots
