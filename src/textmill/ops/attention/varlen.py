"""Attention over sequences that lie one after the other, by torch's own kernel on CUDA: nothing is gathered.

Legend: N tokens, R sequences, H query heads, K key/value heads, D head width.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


@cache
def kernel() -> Callable[..., Any] | None:
    """torch's function, or None where torch is older than the one with windows and shared heads."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    names = inspect.signature(varlen_attn).parameters
    return varlen_attn if {"window_size", "enable_gqa"} <= set(names) else None


def serves(q: Tensor, dropout: float) -> bool:
    """Whether `varlen_attention` takes queries like these."""
    return q.is_cuda and q.dtype in (torch.float16, torch.bfloat16) and dropout == 0.0 and kernel() is not None


def varlen_attention(
    q: Float[Tensor, "N H D"],
    k: Float[Tensor, "N K D"],
    v: Float[Tensor, "N K D"],
    starts: Int[Tensor, " R1"],
    longest: int,
    window: tuple[int, int],
) -> Float[Tensor, "N H D"]:
    """softmax(q k' / sqrt(D)) v within each sequence.

    Args:
        starts: where each sequence begins, and N.
        longest: the tokens of the longest sequence.
        window: so many tokens before and after its own does a token see; -1: all.
    """
    attend = kernel()
    assert attend is not None, "ask `serves` first"
    starts = starts.int()
    shared = q.shape[1] != k.shape[1]
    y: Tensor = attend(q, k, v, starts, starts, longest, longest, window_size=window, enable_gqa=shared)
    return y
