"""Sparse attention that forms only the scores that a pattern may use: blocks of queries against the blocks they see.

A block of Q queries meets C keys, so T tokens cost T C scores, not T^2.

Legend: B batch, H heads, K key/value heads, T time, D head width, N blocks of Q queries, C keys that a block meets,
A stride, M tokens of one residue modulo A.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from textmill.ops import attention as dense


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Each block of queries meets some blocks of keys, and some single keys that all blocks meet."""

    blocks: Int[Tensor, "N S"]
    """The blocks of keys that a block of queries meets."""
    columns: Int[Tensor, " E"]
    """Further keys that all queries meet."""
    mask: Bool[Tensor, "N Q C"]
    """Which queries see which of the C = S Q + E keys."""
    num_global: int
    """So many queries at the beginning see every key."""

    def met(self, x: Float[Tensor, "B K P D"]) -> Float[Tensor, "B K N C D"]:
        """The keys (or values) that each block of queries meets; P = N Q tokens."""
        B, K, _, D = x.shape
        N, Q, _ = self.mask.shape
        blocks = x.reshape(B, K, N, Q, D).index_select(2, self.blocks.flatten()).view(B, K, N, -1, D)
        if len(self.columns) == 0:
            return blocks
        columns = x.index_select(2, self.columns).unsqueeze(2).expand(-1, -1, N, -1, -1)
        return torch.cat((blocks, columns), 3)


@dataclass(frozen=True, slots=True, eq=False)
class Strides:
    """Each query meets the keys of its own residue modulo the stride, and those of `near`, in one softmax."""

    stride: int
    mask: Bool[Tensor, "A M M"]
    """Which queries of a residue see which of its keys."""
    near: Blocks | None
    """Blocks of `stride` queries, or None: the residue alone."""


Layout = Blocks | Strides


def blocked_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B K T D"],
    v: Float[Tensor, "B K T D"],
    layout: Layout,
    real: Bool[Tensor, "B T"] | None = None,
    *,
    dropout: float = 0.0,
) -> Float[Tensor, "B H T D"]:
    """softmax(q k' / sqrt(D)) v over the keys that the layout lets a query see.

    Args:
        real: keys that are padding are seen by none.
        dropout: the share of probabilities set to zero.
    """
    T = q.shape[2]
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    near = layout if isinstance(layout, Blocks) else layout.near
    size = layout.stride if isinstance(layout, Strides) else layout.mask.shape[1]
    pad = -T % size
    q_BHPD, k_BHPD, v_BHPD = (F.pad(part, (0, 0, 0, pad)) if pad else part for part in (q, k, v))
    keys = None if real is None else F.pad(real, (0, pad))[:, None, :, None]
    if isinstance(layout, Blocks):
        y = _by_blocks(q_BHPD, k_BHPD, v_BHPD, layout, keys, dropout)
    elif near is None:
        y = _by_residues(q_BHPD, k_BHPD, v_BHPD, layout, keys, dropout)
    else:
        y = _by_both(q_BHPD, k_BHPD, v_BHPD, layout, near, keys, dropout)
    y = y[:, :, :T]
    num_global = 0 if near is None else near.num_global
    if num_global:
        mask = None if real is None else real[:, None, None]
        first = dense.attention(q[:, :, :num_global], k, v, mask, dropout=dropout)
        y = torch.cat((first, y[:, :, num_global:]), 2)
    return y


def _by_blocks(q: Tensor, k: Tensor, v: Tensor, layout: Blocks, keys: Tensor | None, dropout: float) -> Tensor:
    B, H, P, D = q.shape
    masks = [layout.mask] if keys is None else [layout.mask, layout.met(keys).mT]
    q_BHNQD = q.reshape(B, H, *layout.mask.shape[:2], D)
    return dense.grouped_attention(q_BHNQD, layout.met(k), layout.met(v), masks, dropout=dropout).reshape(B, H, P, D)


def _by_residues(q: Tensor, k: Tensor, v: Tensor, layout: Strides, keys: Tensor | None, dropout: float) -> Tensor:
    masks = [layout.mask] if keys is None else [layout.mask, _residues(keys, layout.stride).mT]
    q, k, v = (_residues(part, layout.stride) for part in (q, k, v))
    return dense.grouped_attention(q, k, v, masks, dropout=dropout).transpose(2, 3).flatten(2, 3)


def _by_both(
    q: Tensor, k: Tensor, v: Tensor, layout: Strides, near: Blocks, keys: Tensor | None, dropout: float
) -> Tensor:
    """The scores of both arrangements side by side, then one softmax over them."""
    B, H, P, D = q.shape
    N, Q, C = near.mask.shape
    q = q * D**-0.5
    q_BHAMD, k_BHAMD, v_BHAMD = (_residues(part, layout.stride) for part in (q, k, v))
    added = [dense.as_added(mask, q.dtype) for mask in (near.mask, layout.mask)]
    close = q.reshape(B, H, N, Q, D) @ near.met(k).mT + added[0]
    distant = q_BHAMD @ k_BHAMD.mT + added[1]
    if keys is not None:
        close = close + dense.as_added(near.met(keys).mT, q.dtype)
        distant = distant + dense.as_added(_residues(keys, layout.stride).mT, q.dtype)
    # token a + M-th stride is row (M, a) of the blocks and row (a, M) of the residues
    p_BHNQX = torch.cat((close, distant.transpose(2, 3)), -1).softmax(-1)
    if dropout:
        p_BHNQX = F.dropout(p_BHNQX, dropout)
    y = p_BHNQX[..., :C] @ near.met(v)
    y = y + (p_BHNQX[..., C:].transpose(2, 3) @ v_BHAMD).transpose(2, 3)
    return y.reshape(B, H, P, D)


def _residues(x: Float[Tensor, "B H P D"], stride: int) -> Float[Tensor, "B H A M D"]:
    """Tokens a, a + stride, a + 2 stride, ... together, for each a."""
    B, H, P, D = x.shape
    return x.reshape(B, H, P // stride, stride, D).transpose(2, 3)
