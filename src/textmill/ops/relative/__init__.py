"""Attention with relative positions: our own on a CPU, torch's fused kernel with the positions as a mask elsewhere.

Legend: H heads, B batch, T queries, S keys, D head width.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from textmill.ops.relative.cpu import RelativeAttention

__all__ = ["relative_attention", "relative_shift"]


def relative_attention(
    q: Float[Tensor, "H B T D"],
    k: Float[Tensor, "H B S D"],
    v: Float[Tensor, "H B S D"],
    r: Float[Tensor, "H S D"],
    content_bias: Float[Tensor, "H D"],
    position_bias: Float[Tensor, "H D"],
    *,
    unseen: Bool[Tensor, "B S"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "H B T D"]:
    """The attended values of the last T of S places; each sees itself and what came before. `reference.py` defines it.

    Args:
        r: row c is that of distance S - 1 - c, the farthest first.
        unseen: keys that nobody in their row sees, and none of the last T among them.
        dropout: of the probabilities.
    """
    scale = q.shape[-1] ** -0.5
    q_content = (q + content_bias[:, None, None]) * scale
    q_position = (q + position_bias[:, None, None]) * scale
    added = None
    if unseen is not None:
        added = torch.zeros(unseen.shape, dtype=q.dtype, device=q.device).masked_fill_(unseen, float("-inf"))
    if q.device.type == "cpu" and dropout == 0.0:
        out: Tensor = RelativeAttention.apply(q_content, q_position, k, v, r, added)
        return out
    H, B, T, _ = q.shape
    mask = relative_shift(torch.matmul(q_position.reshape(H, B * T, -1), r.mT).view(H, B, T, -1))
    if added is not None:
        mask = mask + added[:, None]
    return F.scaled_dot_product_attention(q_content, k, v, attn_mask=mask, dropout_p=dropout, scale=1.0)


def relative_shift(raw: Float[Tensor, "*rows T S"]) -> Float[Tensor, "*rows T S"]:
    """Row t moved left by T - 1 - t, so that scores with distances come under their keys; -inf where a key comes later.

    By padding and reshaping, which any device differentiates; `ops.relative.cpu.shifted` is the same as a view.

    >>> relative_shift(torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]]))
    tensor([[2., 1., 0., -inf],
            [3., 2., 1., 0.]])
    """
    *rows, T, S = raw.shape
    if T == 1:
        return raw
    moved = F.pad(raw, (1, 0)).view(*rows, S + 1, T)[..., 1:, :].reshape(*rows, T, S)
    later = torch.ones(T, S, dtype=torch.bool, device=raw.device).triu_(S - T + 1)
    return moved.masked_fill(later, float("-inf"))
