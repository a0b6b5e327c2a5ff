"""Packed queries, keys and values made ready for attention on CUDA, in one Triton kernel each way.

Normalises queries and keys (or not), turns them by their positions, and parts the three. `reference.py` is the
definition, `rms_norm/cpu.py` has the norm's gradient. What comes out lies token by token, [B T H D], which is how
torch's attention kernels on CUDA read their inputs and write their gradients, so nothing is copied on either side.

Legend: B batch, T time, K key/value heads, S = G + 2 rows of each (G queries, key, value), H = K G, D head width,
R rows of the tables: T, or B T when each sequence has positions of its own, P programs.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from textmill.ops.gpu_kernels import num_programs

TILE = 1024
"""Numbers of each half of the heads that a program holds at once, 8 a thread: with twice as many, the dozen tiles of
the backward pass would no longer fit into a thread's 255 registers."""


@triton.jit
def _places(token, rows, columns, K, S, D):
    """Where a row's numbers lie in qkv, and among the queries, the keys and the values."""
    head, s = rows // S, rows % S
    qkv = (token * (K * S) + rows) * D
    q = (token * (K * (S - 2)) + head * (S - 2) + s) * D
    kv = (token * K + head) * D
    return qkv[:, None] + columns[None, :], q[:, None] + columns[None, :], kv[:, None] + columns[None, :]


@triton.jit
def _kinds(rows, columns, K, S, D):
    """Which places hold numbers, and which of them are queries, keys and values."""
    s = rows % S
    inside = (rows < K * S)[:, None] & (columns < D // 2)[None, :]
    return inside, inside & (s < S - 2)[:, None], inside & (s == S - 2)[:, None], inside & (s == S - 1)[:, None]


@triton.jit
def _forward(
    qkv_BTKSD, cos_RD, sin_RD, weights_2D, q_BTHD, k_BTKD, v_BTKD, R, K, S, D, eps,
    NORMALISED: tl.constexpr, ROWS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0)
    # 64 bits: a large batch has more than 2^31 numbers
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS).to(tl.int64)
    columns = tl.arange(0, HALF)
    qkv, q, kv = _places(token, rows, columns, K, S, D)
    inside, is_q, is_k, is_v = _kinds(rows, columns, K, S, D)
    half = D // 2
    # the second half of a head holds the partners of the first
    raw_a = tl.load(qkv_BTKSD + qkv, mask=inside, other=0.0).to(tl.float32)
    raw_b = tl.load(qkv_BTKSD + qkv + half, mask=inside, other=0.0).to(tl.float32)
    a, b = raw_a, raw_b
    if NORMALISED:
        scale = 1.0 / tl.sqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / D + eps)
        weight = weights_2D + (rows % S == S - 2)[:, None] * D + columns[None, :]
        a *= scale[:, None] * tl.load(weight, mask=inside, other=0.0).to(tl.float32)
        b *= scale[:, None] * tl.load(weight + half, mask=inside, other=0.0).to(tl.float32)
    angle, known = (token % R) * D + columns, columns < half
    cos_a = tl.load(cos_RD + angle, mask=known, other=0.0).to(tl.float32)[None, :]
    cos_b = tl.load(cos_RD + angle + half, mask=known, other=0.0).to(tl.float32)[None, :]
    sin_a = tl.load(sin_RD + angle, mask=known, other=0.0).to(tl.float32)[None, :]
    sin_b = tl.load(sin_RD + angle + half, mask=known, other=0.0).to(tl.float32)[None, :]
    turned_a, turned_b = a * cos_a + b * sin_a, b * cos_b + a * sin_b
    tl.store(q_BTHD + q, turned_a, mask=is_q)
    tl.store(q_BTHD + q + half, turned_b, mask=is_q)
    tl.store(k_BTKD + kv, turned_a, mask=is_k)
    tl.store(k_BTKD + kv + half, turned_b, mask=is_k)
    tl.store(v_BTKD + kv, raw_a, mask=is_v)
    tl.store(v_BTKD + kv + half, raw_b, mask=is_v)


@triton.jit
def _gathered(q_BTHD, k_BTKD, v_BTKD, q, kv, is_q, is_k, is_v):
    """The gradients of a tile, each from its own tensor."""
    from_q = tl.load(q_BTHD + q, mask=is_q, other=0.0).to(tl.float32)
    from_k = tl.load(k_BTKD + kv, mask=is_k, other=0.0).to(tl.float32)
    from_v = tl.load(v_BTKD + kv, mask=is_v, other=0.0).to(tl.float32)
    return from_q + from_k + from_v


@triton.jit
def _backward(
    qkv_BTKSD, cos_RD, sin_RD, weights_2D, q_BTHD, k_BTKD, v_BTKD, grad_BTKSD, grad_weights_P2D, tokens, R, K, S, D,
    eps, NORMALISED: tl.constexpr, ROWS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    """q, k and v are gradients here; those of `qkv` and of the weights are written."""
    columns = tl.arange(0, HALF)
    half = D // 2
    known = columns < half
    # of the queries' weight and of the keys', first and second halves
    grad_q_a, grad_q_b = tl.zeros([HALF], tl.float32), tl.zeros([HALF], tl.float32)
    grad_k_a, grad_k_b = tl.zeros([HALF], tl.float32), tl.zeros([HALF], tl.float32)
    for token in range(tl.program_id(0), tokens, tl.num_programs(0)):
        angle = (token % R) * D + columns
        cos_a = tl.load(cos_RD + angle, mask=known, other=0.0).to(tl.float32)[None, :]
        cos_b = tl.load(cos_RD + angle + half, mask=known, other=0.0).to(tl.float32)[None, :]
        sin_a = tl.load(sin_RD + angle, mask=known, other=0.0).to(tl.float32)[None, :]
        sin_b = tl.load(sin_RD + angle + half, mask=known, other=0.0).to(tl.float32)[None, :]
        for first in range(0, K * S, ROWS):
            rows = first + tl.arange(0, ROWS).to(tl.int64)
            qkv, q, kv = _places(token, rows, columns, K, S, D)
            inside, is_q, is_k, is_v = _kinds(rows, columns, K, S, D)
            given_a = _gathered(q_BTHD, k_BTKD, v_BTKD, q, kv, is_q, is_k, is_v)
            given_b = _gathered(q_BTHD + half, k_BTKD + half, v_BTKD + half, q, kv, is_q, is_k, is_v)
            # turned back: the transposed matrix of the pair's rotation
            a, b = given_a * cos_a + given_b * sin_b, given_b * cos_b + given_a * sin_a
            if NORMALISED:
                x_a = tl.load(qkv_BTKSD + qkv, mask=inside, other=0.0).to(tl.float32)
                x_b = tl.load(qkv_BTKSD + qkv + half, mask=inside, other=0.0).to(tl.float32)
                scale = 1.0 / tl.sqrt((tl.sum(x_a * x_a, 1) + tl.sum(x_b * x_b, 1)) / D + eps)
                shared_a, shared_b = a * x_a * scale[:, None], b * x_b * scale[:, None]
                grad_q_a += tl.sum(tl.where(is_q, shared_a, 0.0), 0)
                grad_q_b += tl.sum(tl.where(is_q, shared_b, 0.0), 0)
                grad_k_a += tl.sum(tl.where(is_k, shared_a, 0.0), 0)
                grad_k_b += tl.sum(tl.where(is_k, shared_b, 0.0), 0)
                weight = weights_2D + (rows % S == S - 2)[:, None] * D + columns[None, :]
                a *= tl.load(weight, mask=inside, other=0.0).to(tl.float32)
                b *= tl.load(weight + half, mask=inside, other=0.0).to(tl.float32)
                pull = scale * scale * (tl.sum(x_a * a, 1) + tl.sum(x_b * b, 1)) / D
                a = scale[:, None] * (a - x_a * pull[:, None])
                b = scale[:, None] * (b - x_b * pull[:, None])
            tl.store(grad_BTKSD + qkv, tl.where(is_v, given_a, a), mask=inside)
            tl.store(grad_BTKSD + qkv + half, tl.where(is_v, given_b, b), mask=inside)
    if NORMALISED:
        out = grad_weights_P2D + tl.program_id(0) * 2 * D + columns
        tl.store(out, grad_q_a, mask=known)
        tl.store(out + half, grad_q_b, mask=known)
        tl.store(out + D, grad_k_a, mask=known)
        tl.store(out + D + half, grad_k_b, mask=known)


class SplitHeads(torch.autograd.Function):
    """(qkv [B T K S D], cos, sin, weights [2 D] or None, eps) -> q [B T H D], k and v [B T K D]."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, weights: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        qkv = qkv.contiguous()
        B, T, K, S, D = ctx.shape = qkv.shape
        cos, sin = (table.contiguous().view(-1, D) for table in (cos, sin))
        assert D % 2 == 0, "pairs"
        assert len(cos) == len(sin)
        assert len(cos) in (T, B * T), "a row for each time step, or for each token"
        assert weights is None or weights.shape == (2, D)
        weights = None if weights is None else weights.contiguous()
        ctx.eps = eps
        # without a norm the gradient needs no input
        ctx.save_for_backward(cos, sin, weights, None if weights is None else qkv)
        q, k, v = (qkv.new_empty(B, T, heads, D) for heads in (K * (S - 2), K, K))
        sizes = _sizes(K * S, D)
        grid = (B * T, triton.cdiv(K * S, sizes["ROWS"]))
        with torch.cuda.device_of(qkv):
            # a kernel that doesn't normalise doesn't read the weights
            _forward[grid](
                qkv, cos, sin, cos if weights is None else weights, q, k, v, max(1, len(cos)), K, S, D, eps,
                NORMALISED=weights is not None, **sizes,
            )  # fmt: skip
        return q, k, v

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin, weights, qkv = ctx.saved_tensors
        B, T, K, S, D = ctx.shape
        q, k, v = (grad.contiguous() for grad in grads)
        grad_qkv = q.new_empty(ctx.shape)
        programs = num_programs(q.device, B * T)
        grad_weights_P2D = q.new_empty(programs, 2, D, dtype=torch.float32)
        with torch.cuda.device_of(q):
            # nor does it read its input
            _backward[(programs,)](
                grad_qkv if qkv is None else qkv, cos, sin, cos if weights is None else weights, q, k, v, grad_qkv,
                grad_weights_P2D, B * T, max(1, len(cos)), K, S, D, ctx.eps,
                NORMALISED=weights is not None, **_sizes(K * S, D),
            )  # fmt: skip
        grad_weights = None if weights is None else grad_weights_P2D.sum(0).to(weights.dtype)
        return grad_qkv, None, None, grad_weights, None


def _sizes(rows: int, width: int) -> dict[str, int]:
    """Rows of a tile and columns of half a head, powers of two as Triton needs them."""
    half = triton.next_power_of_2(width // 2)
    return {"ROWS": min(triton.next_power_of_2(rows), max(1, TILE // half)), "HALF": half}
