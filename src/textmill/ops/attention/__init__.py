"""Causal attention: our own on a CPU that trains, torch's elsewhere."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from textmill.ops.attention import cpu


def causal_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B K T D"],
    v: Float[Tensor, "B K T D"],
    *,
    dropout: float = 0.0,
) -> Float[Tensor, "B H T D"]:
    """softmax(q k' / sqrt(D)) v, where each token sees itself and what came before.

    K may be a divisor of H: each head of keys and values then serves H / K heads of queries.
    """
    if q.device.type == "cpu" and torch.is_grad_enabled() and dropout == 0.0 and q.shape[2] <= cpu.LONGEST:
        groups = q.shape[1] // k.shape[1]
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        return cpu.causal_attention(q, k, v)
    return F.scaled_dot_product_attention(
        q, k, v, is_causal=True, dropout_p=dropout, enable_gqa=q.shape[1] != k.shape[1]
    )
