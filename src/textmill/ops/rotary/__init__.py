"""Queries, keys and values out of their packed rows: normalised, turned by their positions, laid out by heads."""

import torch
from jaxtyping import Float
from torch import Tensor

from textmill.ops import training_kernels


def serves(qkv: Tensor) -> bool:
    """Whether `split_heads` takes this tensor; see `training_kernels`."""
    return training_kernels.serve(qkv)


def split_heads(
    qkv: Float[Tensor, "B T K S D"],
    cos: Float[Tensor, "*rows D"],
    sin: Float[Tensor, "*rows D"],
    norm_weights: tuple[Tensor, Tensor] | None,
    eps: float,
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B K T D"], Float[Tensor, "B K T D"]]:
    """Queries, keys and values of packed rows: each key/value head's queries, its key, its value.

    Args:
        qkv: of one fp32 or bf16 type, on a CPU (`serves`).
        cos: a row for each time step, or for each sequence and time step.
        sin: the same; the first half of a row is negated.
        norm_weights: of the RMSNorm of queries and of keys, or None for no norm.
        eps: the norm's.
    """
    from textmill.ops.rotary.cpu import SplitHeads

    weights = None if norm_weights is None else torch.stack(norm_weights)
    q, k, v = SplitHeads.apply(qkv, cos, sin, weights, eps)
    return q, k, v
