"""Packed queries, keys and values made ready for attention on a CPU that trains, in one pass.

Normalises queries and keys (or not), turns them by their positions, and lays all three out by heads, which would be
some ten passes over the memory one by one. `reference.py` is the definition, `rms_norm/cpu.py` has the norm's gradient.

Legend: B batch, T time, K key/value heads, S = G + 2 rows of each (G queries, key, value), H = K G, D head width,
R rows of the tables: T, or B T when each sequence has positions of its own, P parts.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from textmill.ops.floats import FAST, as_array, in_parts, narrow, widen

TOKENS = 64
"""Tokens that a thread takes at a time; the weights' gradients are summed within a part, then over parts."""


@njit(inline="always")
def _scale(x, eps):
    """1 / root mean square."""
    squares = np.float32(0.0)
    for i in range(len(x)):
        squares += widen(x[i]) * widen(x[i])
    return np.float32(1.0) / np.sqrt(squares / np.float32(len(x)) + eps)


@njit(inline="always")
def _turn(x, weight, scale, cos, sin, y):
    """y = x * scale * weight, turned; the second half of a head holds the partners of the first."""
    half = len(y) // 2
    cos_2, sin_2, weight_2, x_2, y_2 = cos[half:], sin[half:], weight[half:], x[half:], y[half:]
    for i in range(half):
        a, b = widen(x[i]) * scale * weight[i], widen(x_2[i]) * scale * weight_2[i]
        y[i] = narrow(a * cos[i] + b * sin[i], y[i])
        y_2[i] = narrow(b * cos_2[i] + a * sin_2[i], y_2[i])


@njit(inline="always")
def _turn_back(grad, cos, sin, out):
    """The gradient before the turn, in fp32."""
    half = len(out) // 2
    cos_2, sin_2, grad_2, out_2 = cos[half:], sin[half:], grad[half:], out[half:]
    for i in range(half):
        a, b = widen(grad[i]), widen(grad_2[i])
        out[i] = a * cos[i] + b * sin_2[i]
        out_2[i] = b * cos_2[i] + a * sin[i]


@njit(inline="always")
def _norm_back(x, weight, eps, grad, grad_weight, out):
    scale, product = _scale(x, eps), np.float32(0.0)
    for i in range(len(x)):
        product += widen(x[i]) * grad[i] * weight[i]
    pull = scale * scale * product / np.float32(len(x))
    for i in range(len(x)):
        grad_weight[i] += grad[i] * widen(x[i]) * scale
    for i in range(len(x)):
        out[i] = narrow(scale * (grad[i] * weight[i] - widen(x[i]) * pull), out[i])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _forward(qkv_BTKSD, cos_RD, sin_RD, weight_2D, eps, normalised, q_BHTD, k_BKTD, v_BKTD, start, stop):
    T, K, S, D = qkv_BTKSD.shape[1:]
    scale = np.float32(1.0)
    for token in range(start, stop):
        b, t, row = token // T, token % T, token % len(cos_RD)
        for h in range(K):
            for s in range(S - 1):
                x = qkv_BTKSD[b, t, h, s]
                if normalised:
                    scale = _scale(x, eps)
                y = k_BKTD[b, h, t] if s == S - 2 else q_BHTD[b, h * (S - 2) + s, t]
                _turn(x, weight_2D[1 if s == S - 2 else 0], scale, cos_RD[row], sin_RD[row], y)
            for i in range(D):
                v_BKTD[b, h, t, i] = qkv_BTKSD[b, t, h, S - 1, i]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _backward(
    qkv_BTKSD, cos_RD, sin_RD, weight_2D, eps, normalised, q_BHTD, k_BKTD, v_BKTD, grad_BTKSD, grads_P2D, start, stop
):
    """q, k and v are gradients here; those of `qkv` and of the weights are written."""
    T, K, S, D = grad_BTKSD.shape[1:]
    before = np.empty(D, np.float32)
    for token in range(start, stop):
        b, t, row = token // T, token % T, token % len(cos_RD)
        for h in range(K):
            for s in range(S - 1):
                which = 1 if s == S - 2 else 0
                grad = k_BKTD[b, h, t] if s == S - 2 else q_BHTD[b, h * (S - 2) + s, t]
                out = grad_BTKSD[b, t, h, s]
                _turn_back(grad, cos_RD[row], sin_RD[row], before)
                if normalised:
                    x = qkv_BTKSD[b, t, h, s]
                    _norm_back(x, weight_2D[which], eps, before, grads_P2D[start // TOKENS, which], out)
                else:
                    for i in range(D):
                        out[i] = narrow(before[i], out[i])
            for i in range(D):
                grad_BTKSD[b, t, h, S - 1, i] = v_BKTD[b, h, t, i]


class SplitHeads(torch.autograd.Function):
    """(qkv [B T K S D], cos, sin, weights [2 D] or None, eps) -> q [B H T D], k and v [B K T D]."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, weights: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        qkv = qkv.contiguous()
        B, T, K, S, D = ctx.shape = qkv.shape
        ctx.eps = eps
        # without a norm the gradient needs no input
        ctx.save_for_backward(cos, sin, weights, None if weights is None else qkv)
        q = qkv.new_empty(B, K * (S - 2), T, D)
        k, v = qkv.new_empty(B, K, T, D), qkv.new_empty(B, K, T, D)
        settings = _settings(cos, sin, weights, eps)
        in_parts(_forward, B * T, TOKENS, _array(qkv), *settings, _array(q), _array(k), _array(v))
        return q, k, v

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin, weights, qkv = ctx.saved_tensors
        B, T, _, _, D = ctx.shape
        grad_qkv = grads[0].new_empty(ctx.shape)
        grads_P2D = torch.zeros(-(-B * T // TOKENS), 2, D)
        # a kernel that doesn't normalise doesn't read its input
        x = _array(grad_qkv if qkv is None else qkv)
        settings = _settings(cos, sin, weights, ctx.eps)
        arrays = [_array(grad.contiguous()) for grad in grads]
        in_parts(_backward, B * T, TOKENS, x, *settings, *arrays, _array(grad_qkv), grads_P2D.numpy())
        grad_weights = None if weights is None else grads_P2D.sum(0).to(weights.dtype)
        return grad_qkv, None, None, grad_weights, None


def _settings(cos: Tensor, sin: Tensor, weights: Tensor | None, eps: float) -> tuple[Any, ...]:
    """What both kernels take after their input."""
    D = cos.shape[-1]
    tables = [as_array(table.float().contiguous()).reshape(-1, D) for table in (cos, sin)]
    used = torch.ones(2, D) if weights is None else weights.float().contiguous()
    return *tables, _array(used), np.float32(eps), weights is not None


def _array(tensor: Tensor) -> np.ndarray:
    return as_array(tensor).reshape(tensor.shape)
