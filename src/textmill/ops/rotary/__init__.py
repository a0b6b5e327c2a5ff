"""Queries, keys and values out of their packed rows: normalised, turned by their positions, laid out by heads."""

import torch
from jaxtyping import Float
from torch import Tensor

from textmill.ops import gpu_kernels, training_kernels


def serves(qkv: Tensor) -> bool:
    """Whether `split_heads` takes this tensor; see `training_kernels` and `gpu_kernels`."""
    return gpu_kernels.serve(qkv) or training_kernels.serve(qkv)


def split_heads(
    qkv: Float[Tensor, "B T K S D"],
    cos: Float[Tensor, "*rows D"],
    sin: Float[Tensor, "*rows D"],
    norm_weights: tuple[Tensor, Tensor] | None,
    eps: float,
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B K T D"], Float[Tensor, "B K T D"]]:
    """Queries, keys and values of packed rows: each key/value head's queries, its key, its value.

    Args:
        qkv: of one fp32 or bf16 type, on a CPU or on CUDA (`serves`).
        cos: a row for each time step, or for each sequence and time step.
        sin: the same; the first half of a row is negated.
        norm_weights: of the RMSNorm of queries and of keys, or None for no norm.
        eps: the norm's.
    """
    weights = None if norm_weights is None else torch.stack(norm_weights)
    # Triton and Numba are loaded by those who train
    if gpu_kernels.serve(qkv):
        from textmill.ops.rotary import gpu

        q, k, v = gpu.SplitHeads.apply(qkv, cos, sin, weights, eps)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    from textmill.ops.rotary import cpu

    q, k, v = cpu.SplitHeads.apply(qkv, cos, sin, weights, eps)
    return q, k, v
