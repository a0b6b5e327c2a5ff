"""SwiGLU for training on CUDA, in Triton: one pass forward, one backward, and nothing kept but its inputs.

The formulas are those of `cpu.py`. The wide product, which the weight of the matrix product after it needs for its
gradient, is made again by the pass that makes the gradients: it has both inputs in its registers, and writes the
product over the gradient that it has just read.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
"""Numbers that a program takes: 8 for each of its 128 threads, which is 16 bytes of bf16, the widest load there is."""


@triton.jit
def _forward(gate, up, wide, size, BLOCK: tl.constexpr):
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < size
    g = tl.load(gate + places, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(up + places, mask=inside, other=0.0).to(tl.float32)
    tl.store(wide + places, g * tl.sigmoid(g) * u, mask=inside)


@triton.jit
def _backward(gate, up, grad_wide, grad_gate, grad_up, size, WITH_WIDE: tl.constexpr, BLOCK: tl.constexpr):
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < size
    g = tl.load(gate + places, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(up + places, mask=inside, other=0.0).to(tl.float32)
    grad = tl.load(grad_wide + places, mask=inside, other=0.0).to(tl.float32)
    sigmoid = tl.sigmoid(g)
    tl.store(grad_up + places, grad * g * sigmoid, mask=inside)
    tl.store(grad_gate + places, grad * u * sigmoid * (1.0 + g * (1.0 - sigmoid)), mask=inside)
    if WITH_WIDE:
        tl.store(grad_wide + places, g * sigmoid * u, mask=inside)


def forward(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up of contiguous tensors."""
    assert gate.shape == up.shape
    assert gate.is_contiguous()
    assert up.is_contiguous()
    wide = torch.empty_like(gate)
    with torch.cuda.device_of(gate):
        _forward[(triton.cdiv(gate.numel(), BLOCK),)](gate, up, wide, gate.numel(), BLOCK=BLOCK)
    return wide


def backward(gate: Tensor, up: Tensor, grad_wide: Tensor, *, with_wide: bool) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up; `with_wide` overwrites `grad_wide` with silu(gate) * up."""
    assert grad_wide.shape == gate.shape
    assert grad_wide.is_contiguous()
    grad_gate, grad_up = torch.empty_like(gate), torch.empty_like(up)
    with torch.cuda.device_of(gate):
        _backward[(triton.cdiv(gate.numel(), BLOCK),)](
            gate, up, grad_wide, grad_gate, grad_up, gate.numel(), WITH_WIDE=with_wide, BLOCK=BLOCK
        )
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
        return backward(gate, up, grad.contiguous(), with_wide=False)


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
        grad_rows = grad.reshape(-1, grad.shape[-1])
        # holds the gradient of the wide product, then the product itself
        wide = grad_rows @ weight
        with_wide = ctx.needs_input_grad[2]
        grad_gate, grad_up = backward(gate, up, wide.view(gate.shape), with_wide=with_wide)
        grad_weight = grad_rows.T @ wide if with_wide else None
        grad_bias = grad_rows.sum(0) if ctx.needs_input_grad[3] else None
        return grad_gate, grad_up, grad_weight, grad_bias
