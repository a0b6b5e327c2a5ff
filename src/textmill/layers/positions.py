"""Positions: learned vectors added to the input, or rotations of queries and keys.

Legend: T time, K key/value heads, D head width.
Source of the rotation: RoFormer, Su et al. 2021, arXiv:2104.09864, eq. 34, in the convention of Llama's published
weights: number i of a head is paired with number i + D/2, not with its neighbour.
"""

import math
from collections.abc import Callable
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from textmill.layers.config import RotaryConfig


def rotary_frequencies(head_dim: int, config: RotaryConfig) -> Float[Tensor, " half"]:
    """Radians per token of each pair: theta^(-2i/D), then stretched as `config.scaling` says.

    >>> rotary_frequencies(4, RotaryConfig(theta=100.0)).tolist()  # 1, and 1 / sqrt(100)
    [1.0, 0.10000000149011612]
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64, device="cpu").float() / head_dim
    frequencies = 1.0 / config.theta**exponents
    if config.scaling == "linear":
        return frequencies / config.factor
    if config.scaling == "llama3":
        # turns within the original context: few turns are long wavelengths
        turns = config.original_context_length * frequencies / (2 * math.pi)
        kept = (turns - config.low_frequency_factor) / (config.high_frequency_factor - config.low_frequency_factor)
        kept = kept.clamp(0, 1)
        return kept * frequencies + (1 - kept) * frequencies / config.factor
    return frequencies


class Rotary(nn.Module):
    """Tables of cosines and signed sines, [context_length, head_dim] each, ready for `rotate`."""

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, context_length: int, config: RotaryConfig) -> None:
        super().__init__()
        self.head_dim, self.context_length, self.config = head_dim, context_length, config
        self.fill_tables()

    def fill_tables(self, device: torch.device | str | None = None) -> None:
        """Computes the tables anew, in fp32; they are never saved."""
        frequencies = rotary_frequencies(self.head_dim, self.config)
        angles = torch.outer(torch.arange(self.context_length, device="cpu").float(), frequencies)
        sin = angles.sin()
        self.register_buffer("cos", torch.cat((angles.cos(), angles.cos()), -1).to(device), persistent=False)
        self.register_buffer("sin", torch.cat((-sin, sin), -1).to(device), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.cos.dtype != torch.float32:
            # a model in another precision keeps its angles exact, so that it can come back
            self.fill_tables(self.cos.device)
        return self

    def at(self, positions: slice | Int[Tensor, "batch time"], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines for those positions, [time, 1, 1, D] or [batch, time, 1, 1, D]."""
        cos, sin = self.cos[positions].to(dtype), self.sin[positions].to(dtype)
        return cos.unsqueeze(-2).unsqueeze(-2), sin.unsqueeze(-2).unsqueeze(-2)


def rotate(x: Float[Tensor, "*rows D"], cos: Float[Tensor, "*#rows D"], sin: Float[Tensor, "*#rows D"]) -> Tensor:
    """Each pair (x_i, x_{i + D/2}) turned by its angle.

    A quarter turn of the pair (1, 0) is (0, 1):

    >>> rotate(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0]), torch.tensor([-1.0, 1.0]))
    tensor([0., 1.])
    """
    # rolling by half a head puts each number's partner in its place; the first half's sines carry the minus
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)
