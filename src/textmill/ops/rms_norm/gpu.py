"""RMSNorm for training on CUDA, in Triton: a row is read once forward and once backward, in fp32 inside.

The formulas are those of `cpu.py`. Nothing is kept but the input: a row's scale comes from numbers that the backward
pass reads anyway.

Legend: N rows, D width, P programs.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from textmill.ops.gpu_kernels import num_programs

TILE = 2048
"""Numbers that a program holds at once, 16 a thread: with their addresses, twice as many would take all of a thread's
255 registers in the backward pass. Narrow rows are taken several at a time; a wider row is one tile of more threads."""


@triton.jit
def _forward(x_ND, weight_D, y_ND, N, D, eps, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    # 64 bits: a large batch has more than 2^31 numbers
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    places = rows[:, None] * D + columns[None, :]
    inside = (rows < N)[:, None] & (columns < D)[None, :]
    x = tl.load(x_ND + places, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(weight_D + columns, mask=columns < D, other=0.0).to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, 1) / D + eps)
    tl.store(y_ND + places, x * scale[:, None] * weight[None, :], mask=inside)


@triton.jit
def _backward(x_ND, weight_D, grad_ND, grad_x_ND, grad_weight_PD, N, D, eps, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    program = tl.program_id(0)
    columns = tl.arange(0, WIDTH)
    weight = tl.load(weight_D + columns, mask=columns < D, other=0.0).to(tl.float32)
    grad_weight = tl.zeros([WIDTH], tl.float32)
    for tile in range(program, tl.cdiv(N, ROWS), tl.num_programs(0)):
        rows = tile * ROWS + tl.arange(0, ROWS).to(tl.int64)
        places = rows[:, None] * D + columns[None, :]
        inside = (rows < N)[:, None] & (columns < D)[None, :]
        x = tl.load(x_ND + places, mask=inside, other=0.0).to(tl.float32)
        grad = tl.load(grad_ND + places, mask=inside, other=0.0).to(tl.float32)
        scale = 1.0 / tl.sqrt(tl.sum(x * x, 1) / D + eps)
        weighted = grad * weight[None, :]
        pull = scale * scale * tl.sum(x * weighted, 1) / D
        tl.store(grad_x_ND + places, scale[:, None] * (weighted - x * pull[:, None]), mask=inside)
        grad_weight += tl.sum(grad * x * scale[:, None], 0)
    tl.store(grad_weight_PD + program * D + columns, grad_weight, mask=columns < D)


class RMSNorm(torch.autograd.Function):
    """(x [N D], weight [D], eps) -> [N D]; x is fp32 or bf16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        assert weight.shape == x.shape[1:], "rows, and a weight for each column"
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        y = torch.empty_like(x)
        sizes = _sizes(x.shape[1])
        with torch.cuda.device_of(x):
            _forward[(triton.cdiv(len(x), sizes["ROWS"]),)](x, weight, y, *x.shape, eps, **sizes)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        sizes = _sizes(x.shape[1])
        programs = num_programs(x.device, triton.cdiv(len(x), sizes["ROWS"]))
        grad_x = torch.empty_like(x)
        grad_weight_PD = x.new_empty(programs, x.shape[1], dtype=torch.float32)
        with torch.cuda.device_of(x):
            _backward[(programs,)](x, weight, grad.contiguous(), grad_x, grad_weight_PD, *x.shape, ctx.eps, **sizes)
        return grad_x, grad_weight_PD.sum(0).to(weight.dtype), None


def _sizes(width: int) -> dict[str, int]:
    """Rows and columns of a tile, powers of two as Triton needs them, and its warps of 32 threads."""
    columns = triton.next_power_of_2(width)
    return {"ROWS": max(1, TILE // columns), "WIDTH": columns, "num_warps": min(32, max(4, columns // 512))}
