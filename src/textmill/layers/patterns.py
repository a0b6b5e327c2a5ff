"""Which tokens a token sees: the definition of every attention pattern, and its layout in blocks.

Legend: i query's position, j key's position, w window, l stride, c summary, b block.

window, causal       0 <= i - j < w;  otherwise |i - j| <= w // 2                  Beltagy et al. 2020, arXiv:2004.05150
strided, near part   i - j <= l                                                    Child et al. 2019, arXiv:1904.10509,
strided, far part    (i - j) mod l = 0                                             section 4.3, A^(1) and A^(2)
fixed, near part     floor(j / l) = floor(i / l)
fixed, far part      j mod l >= l - c, or i = j
block                |floor(i / b) - floor(j / b)| <= local blocks,                Zaheer et al. 2020, arXiv:2007.14062,
                     or i or j is a global token, or their blocks are linked       section 2

All hold with causal order or without it; distances are absolute without it. Merged, a token sees the union of near
and far (the "merged head" of section 5.1); otherwise even layers see the near part and odd ones the far part (its
"interleaved" form).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from textmill.layers.config import AttentionPattern, TransformerConfig
from textmill.ops.attention.blocked import Blocks, Layout, Strides

Sees = Callable[[Tensor, Tensor], Tensor]
"""(positions of queries, of keys) -> whether they see one another; a position beyond the text sees nothing."""


@dataclass(frozen=True, slots=True)
class LayerPattern:
    """The pattern of one layer; equal for layers that see the same."""

    pattern: AttentionPattern
    layer: int
    """Of layers that see the same, the first."""
    causal: bool
    context_length: int

    @classmethod
    def of(cls, config: TransformerConfig, layer: int) -> Self | None:
        """None: the layer is dense."""
        pattern = config.attention
        if not pattern.is_local(layer):
            return None
        if pattern.kind == "block" and pattern.random_blocks:
            same = layer
        elif pattern.kind in ("strided", "fixed") and not pattern.merged:
            same = layer % 2
        else:
            same = next(first for first in range(layer + 1) if pattern.is_local(first))
        return cls(pattern, same, config.causal, config.context_length)

    @property
    def window(self) -> tuple[int, int] | None:
        """Of a window, how many tokens before and after itself a token sees; None for another pattern."""
        if self.pattern.kind != "window":
            return None
        reach = _reach(self.pattern, self.causal)
        return reach, 0 if self.causal else reach

    def allowed(self, i: Int[Tensor, "*#shape"], j: Int[Tensor, "*#shape"]) -> Bool[Tensor, "*shape"]:
        """See the function `allowed`."""
        return allowed(self.pattern, self.layer, i, j, causal=self.causal, context_length=self.context_length)

    def layout(self, T: int, device: torch.device) -> Layout | None:
        """See the function `layout`."""
        return layout(
            self.pattern, self.layer, T, causal=self.causal, context_length=self.context_length, device=device
        )


def pattern_mask(
    pattern: AttentionPattern, layer: int, T: int, S: int, *, causal: bool = True, context_length: int | None = None
) -> Bool[Tensor, "T S"]:
    """Entry (t, j): the query at position S - T + t sees key j. The definition, and the mask of short texts.

    >>> pattern_mask(AttentionPattern(kind="window", window=2), 0, 3, 3).int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    >>> pattern_mask(AttentionPattern(kind="fixed", stride=2, summary=1), 0, 4, 4).int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]
    """
    i, j = torch.arange(S - T, S)[:, None], torch.arange(S)
    return allowed(pattern, layer, i, j, causal=causal, context_length=context_length or S)


def allowed(
    pattern: AttentionPattern,
    layer: int,
    i: Int[Tensor, "*#shape"],
    j: Int[Tensor, "*#shape"],
    *,
    causal: bool,
    context_length: int,
) -> Bool[Tensor, "*shape"]:
    """Whether the query at position i sees the key at position j."""
    behind = i - j
    if not pattern.is_local(layer):
        sees = torch.ones_like(behind, dtype=torch.bool)
    elif pattern.kind == "window":
        sees = behind.abs() <= _reach(pattern, causal)
    elif pattern.kind == "block":
        sees = _block_allowed(pattern, layer, i, j, causal, context_length)
    else:
        near, far = parts(pattern, layer)
        if pattern.kind == "strided":
            one, other = behind.abs() <= pattern.stride, behind % pattern.stride == 0
        else:
            one = i // pattern.stride == j // pattern.stride
            other = (j % pattern.stride >= pattern.stride - pattern.summary).expand(behind.shape)
        # the far part of a fixed pattern leaves a token out, and the first ones with nothing
        sees = (one & near) | (other & far) | (behind == 0)
    return sees & (behind >= 0) if causal else sees


def parts(pattern: AttentionPattern, layer: int) -> tuple[bool, bool]:
    """Whether a layer of strided or fixed attention sees the near part, and the far one."""
    return pattern.merged or layer % 2 == 0, pattern.merged or layer % 2 == 1


def _reach(pattern: AttentionPattern, causal: bool) -> int:
    """The greatest distance that a window bridges."""
    return pattern.window - 1 if causal else pattern.window // 2


def _block_allowed(
    pattern: AttentionPattern, layer: int, i: Tensor, j: Tensor, causal: bool, context_length: int
) -> Tensor:
    own, its = i // pattern.block, j // pattern.block
    sees = ((own - its).abs() <= pattern.local_blocks) | (i < pattern.global_tokens) | (j < pattern.global_tokens)
    if not pattern.random_blocks:
        return sees
    table = torch.from_numpy(links(pattern, layer, -(-context_length // pattern.block), causal)).to(i.device)
    last = len(table) - 1
    return sees | table[own.clamp(max=last), its.clamp(max=last)]


@lru_cache(maxsize=64)
def links(pattern: AttentionPattern, layer: int, num_blocks: int, causal: bool) -> np.ndarray:
    """Row I, column J says whether block I sees block J by chance: `random_blocks` a row, of those not near it.

    Each pair of blocks has a number that only seed, layer and the pair decide; a row takes the blocks of the smallest
    numbers. A causal model draws from the blocks before the near ones, so that its choice doesn't depend on what
    follows.

    >>> links(AttentionPattern(kind="block", local_blocks=0, random_blocks=1), 0, 3, True).sum(1).tolist()
    [0, 1, 1]
    """
    own, its = np.arange(num_blocks)[:, None], np.arange(num_blocks)
    number = np.zeros((num_blocks, num_blocks), np.uint64)
    for key in (np.uint64(pattern.seed % 2**64), np.uint64(layer), own.astype(np.uint64), its.astype(np.uint64)):
        number = _mixed(number ^ key)
    apart = own - its if causal else abs(own - its)
    number[apart <= pattern.local_blocks] = np.iinfo(np.uint64).max
    chosen = np.zeros(number.shape, bool)
    np.put_along_axis(chosen, number.argsort(1)[:, : pattern.random_blocks], True, 1)
    return chosen & (apart > pattern.local_blocks)


def _mixed(x: np.ndarray) -> np.ndarray:
    """Each number scattered over 64 bits: SplitMix64, Steele et al. 2014, figure 12."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def layout(
    pattern: AttentionPattern, layer: int, T: int, *, causal: bool, context_length: int, device: torch.device
) -> Layout | None:
    """How `layer` attends over T tokens without the scores that the pattern leaves out; None: a mask costs no more."""
    if not pattern.is_local(layer):
        return None

    def sees(i: Tensor, j: Tensor) -> Tensor:
        inside = (j >= 0) & (j < T)
        return inside & allowed(pattern, layer, i, j, causal=causal, context_length=context_length)

    near, far = parts(pattern, layer)
    if pattern.kind == "strided" and far:
        return _strides(pattern.stride, T, near, causal, sees, device)
    size, blocks, columns = _seen_blocks(pattern, layer, T, causal, context_length)
    if not _worth(size * blocks.shape[1] + len(columns), T):
        return None
    num_global = min(pattern.global_tokens, T) if pattern.kind == "block" and not causal else 0
    return _blocks(size, blocks, columns, sees, num_global, device)


def _worth(num_keys: int, T: int) -> bool:
    """Whether meeting `num_keys` keys a query is less work than meeting all T, the moving of keys counted."""
    return 4 * num_keys <= 3 * T


def _strides(stride: int, T: int, near: bool, causal: bool, sees: Sees, device: torch.device) -> Strides | None:
    rows, neighbours = -(-T // stride), 2 if causal else 3
    if not _worth(rows + near * neighbours * stride, T):
        return None
    # [stride, rows, rows]: the tokens a, a + stride, a + 2 stride, ...; what is near is left to the other part
    own = (torch.arange(stride)[:, None] + torch.arange(rows) * stride).to(device)
    i, j = own[:, :, None], own[:, None, :]
    if not near:
        return Strides(stride, sees(i, j), None)
    blocks = _neighbours(rows, 1, causal)
    near_blocks = _blocks(stride, blocks, np.empty(0, np.int64), sees, 0, device)
    return Strides(stride, sees(i, j) & ((i - j).abs() > stride), near_blocks)


def _seen_blocks(
    pattern: AttentionPattern, layer: int, T: int, causal: bool, context_length: int
) -> tuple[int, np.ndarray, np.ndarray]:
    """(tokens of a block, the key blocks that each query block sees with -1 for none, keys that all see besides)."""
    columns = np.empty(0, np.int64)
    if pattern.kind == "window":
        reach = _reach(pattern, causal)
        size = max(32, -(-(reach // 2 if causal else reach) // 16) * 16)
    elif pattern.kind == "block":
        size, reach = pattern.block, pattern.local_blocks * pattern.block
        columns = np.arange(min(pattern.global_tokens, T))
    else:
        # strided with its near part alone is a window
        size, reach = pattern.stride, pattern.stride if pattern.kind == "strided" else 0
        if pattern.kind == "fixed" and parts(pattern, layer)[1]:
            columns = np.flatnonzero(np.arange(T) % size >= size - pattern.summary)
    number = -(-T // size)
    blocks = _neighbours(number, -(-reach // size), causal)
    if pattern.kind == "block" and pattern.random_blocks:
        table = links(pattern, layer, -(-context_length // size), causal)[:number, :number]
        drawn = np.full((number, pattern.random_blocks), -1)
        for row, linked in enumerate(table):
            chosen = np.flatnonzero(linked)
            drawn[row, : len(chosen)] = chosen
        blocks = np.concatenate((blocks, drawn), 1)
    return size, blocks, columns


def _neighbours(number: int, distance: int, causal: bool) -> np.ndarray:
    """Row I: the blocks at most `distance` from block I, -1 where there is none."""
    blocks = np.arange(number)[:, None] + np.arange(-distance, 1 if causal else distance + 1)
    return np.where((blocks >= 0) & (blocks < number), blocks, -1)


def _blocks(
    size: int, blocks: np.ndarray, columns: np.ndarray, sees: Sees, num_global: int, device: torch.device
) -> Blocks:
    number, inside = len(blocks), np.arange(size)
    # [number, keys]: the position of each key that a block of queries meets, -1 for none
    met = np.where(blocks[:, :, None] < 0, -1, blocks[:, :, None] * size + inside).reshape(number, -1)
    # a column that all meet is met once
    met[np.isin(met, columns)] = -1
    met = np.concatenate((met, np.broadcast_to(columns, (number, len(columns)))), 1)
    i = torch.from_numpy(np.arange(number)[:, None] * size + inside).to(device)
    mask = sees(i[:, :, None], torch.from_numpy(met).to(device)[:, None, :])
    where = torch.from_numpy(np.maximum(blocks, 0)).to(device)
    return Blocks(where, torch.from_numpy(columns).to(device), mask, num_global)
