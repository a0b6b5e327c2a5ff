"""Causal attention as it is defined.

    out_t = sum over s <= t of p_ts v_s,   p_t = softmax over s <= t of (q_t . k_s / sqrt(D))

Legend: B batch, H heads, T time, D head width. Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
"""

import torch
from torch import Tensor


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The attended values, [B H T D]; q, k and v are [B H T D]."""
    rows = []
    for t in range(q.shape[2]):
        # row t sees columns 0..t
        scores = torch.einsum("bhd,bhsd->bhs", q[:, :, t], k[:, :, : t + 1]) / q.shape[-1] ** 0.5
        rows.append(torch.einsum("bhs,bhsd->bhd", scores.softmax(-1), v[:, :, : t + 1]))
    return torch.stack(rows, 2) if rows else torch.empty_like(q)
