"""Queries, keys and values out of their packed rows, normalised and turned, as each step is defined.

Legend: B batch, T time, K key/value heads, G query heads of each, H = K G, D head width.
Sources: RoFormer, Su et al. 2021, arXiv:2104.09864, eq. 34; normalised queries and keys: Henry et al. 2020,
arXiv:2010.04245.
"""

import torch
from torch import Tensor

from textmill.ops.rms_norm import reference


def split_heads(
    qkv: Tensor, cos: Tensor, sin: Tensor, q_weight: Tensor | None, k_weight: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """[B H T D], [B K T D] and [B K T D] of [B T K G+2 D].

    Rows of cos and sin, [T D] or [B T D], hold cos(angle) twice, and -sin(angle), then sin(angle).
    """
    q, k, v = qkv[:, :, :, :-2], qkv[:, :, :, -2], qkv[:, :, :, -1]
    q = q.flatten(2, 3)
    if q_weight is not None and k_weight is not None:
        q, k = reference.rms_norm(q, q_weight, eps), reference.rms_norm(k, k_weight, eps)
    q, k = turned(q, cos, sin), turned(k, cos, sin)
    return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """[B T heads D], each pair (x_i, x_{i + D/2}) turned by its angle."""
    first, second = x.chunk(2, -1)
    return x * cos.unsqueeze(-2) + torch.cat((second, first), -1) * sin.unsqueeze(-2)
