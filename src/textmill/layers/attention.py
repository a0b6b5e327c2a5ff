"""Multi-head attention with grouped keys and values, and what one forward pass carries beside the stream.

Legend: B batch, T time, S tokens seen (cached ones too), W width, H query heads, K key/value heads,
G = H / K query heads that share a key/value head, D head width.

attention(q, k, v) = softmax(q k^T / sqrt(D)) v       Vaswani et al. 2017, arXiv:1706.03762, eq. 1
grouped keys and values                                Ainslie et al. 2023, arXiv:2305.13245
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from textmill.layers.cache import KVCache
from textmill.layers.config import TransformerConfig
from textmill.layers.delta import Delta
from textmill.layers.norm import RMSNorm
from textmill.layers.positions import rotate
from textmill.ops import rotary
from textmill.ops.attention import causal_attention


@dataclass(slots=True)
class Pass:
    """What one forward pass hands to every block, made once by the trunk."""

    delta: Delta
    cache: KVCache | None
    rotation: tuple[Tensor, Tensor] | None
    """Cosines and signed sines of the positions, for rotary positions."""
    mask: Bool[Tensor, "B 1 T S"] | None
    """Entry (i, j): token i sees token j. None: `causal` alone decides."""
    causal: bool
    """With no mask: each token sees itself and what came before (True), or every token (False)."""

    def mask_with_extra(self, num_extra: int, num_queries: int, num_keys: int, device: torch.device) -> Tensor | None:
        """The mask when `num_extra` keys, which every token sees, come before the others."""
        if self.mask is not None:
            return F.pad(self.mask, (num_extra, 0), value=True)
        if not self.causal:
            return None
        ones = torch.ones(num_queries, num_extra + num_keys, dtype=torch.bool, device=device)
        return ones.tril(num_extra)


class Attention(nn.Module):
    """One matrix product makes queries, keys and values; one more mixes the heads.

    The rows of `qkv` are grouped as Megatron-LM does: for each key/value head its G query heads, then its key, then its
    value. A split of the rows into equal parts is then a split by heads, which is what tensor parallelism needs.
    """

    def __init__(self, config: TransformerConfig, site: str, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.group = config.num_heads // config.num_kv_heads
        heads_width = config.num_heads * config.head_dim
        self.qkv = nn.Linear(config.width, heads_width + 2 * config.num_kv_heads * config.head_dim, bias=config.bias)
        self.out = nn.Linear(heads_width, config.width, bias=config.bias)
        self.q_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else None
        self.dropout = config.attention_dropout
        self.qkv_site, self.out_site = f"{site}.qkv", f"{site}.out"

    def forward(self, x: Float[Tensor, "B T W"], carried: Pass) -> Float[Tensor, "B T W"]:
        B, T, _ = x.shape
        # -1: under tensor parallelism this process holds only some of the K heads
        qkv = carried.delta.linear(self.qkv_site, self.qkv, x).view(B, T, -1, self.group + 2, self.head_dim)
        q, k, v = self._heads(qkv, carried.rotation)
        if carried.cache is not None:
            k, v = carried.cache.extend(self.layer, k, v)
        mask, causal = carried.mask, carried.causal
        extra = carried.delta.kv(self.layer)
        if extra is not None:
            mask = carried.mask_with_extra(extra[0].shape[-2], T, k.shape[2], x.device)
            causal = False
            k, v = (torch.cat((e.expand(B, -1, -1, -1), t), 2) for e, t in zip(extra, (k, v), strict=True))
        y = self._attend(q, k, v, mask, causal)
        return carried.delta.linear(self.out_site, self.out, y)

    def _heads(
        self, qkv: Float[Tensor, "B T K G2 D"], rotation: tuple[Tensor, Tensor] | None
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B K T D"], Float[Tensor, "B K T D"]]:
        """Queries, keys and values; queries and keys normalised and turned by their positions, where the model does."""
        norms = None if self.q_norm is None or self.k_norm is None else (self.q_norm, self.k_norm)
        if rotation is not None and rotary.serves(qkv):
            weights = None if norms is None else (norms[0].weight, norms[1].weight)
            return rotary.split_heads(qkv, *rotation, weights, 0.0 if norms is None else norms[0].eps)
        qk, v = qkv[:, :, :, :-1], qkv[:, :, :, -1]
        if norms is not None:
            weights_G1D = torch.cat((norms[0].weight.expand(self.group, -1), norms[1].weight.unsqueeze(0)))
            qk = F.rms_norm(qk, qk.shape[-1:], None, norms[0].eps) * weights_G1D.to(qk.dtype)
        if rotation is not None:
            cos, sin = rotation
            # under autocast the matrix product's type is not the stream's
            qk = rotate(qk, cos.to(qk.dtype), sin.to(qk.dtype))
        q = qk[:, :, :, :-1].flatten(2, 3)
        return q.transpose(1, 2), qk[:, :, :, -1].transpose(1, 2), v.transpose(1, 2)

    def _attend(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B K S D"],
        v: Float[Tensor, "B K S D"],
        mask: Bool[Tensor, "B 1 T S"] | None,
        causal: bool,
    ) -> Float[Tensor, "B T HD"]:
        B, H, T, D = q.shape
        K = k.shape[1]
        dropout = self.dropout if self.training else 0.0
        if T == 1:
            # the queries that share a key/value head are that head's time steps: no copy of keys, no causal order
            q_BKGD = q.reshape(B, K, H // K, D)
            return F.scaled_dot_product_attention(q_BKGD, k, v, attn_mask=mask, dropout_p=dropout).reshape(B, 1, -1)
        if mask is None and causal:
            return causal_attention(q, k, v, dropout=dropout).transpose(1, 2).reshape(B, T, -1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, enable_gqa=H > K)
        return y.transpose(1, 2).reshape(B, T, -1)


def pack_qkv(q: Tensor, k: Tensor, v: Tensor, num_kv_heads: int) -> Tensor:
    """Rows of separate matrices (or biases) in the order of `Attention.qkv`.

    >>> q, k, v = (torch.tensor(rows) for rows in ([1, 2, 3, 4], [5, 6], [7, 8]))  # 2 key/value heads of width 1
    >>> pack_qkv(q, k, v, num_kv_heads=2).tolist()
    [1, 2, 5, 7, 3, 4, 6, 8]
    """
    rest = q.shape[1:]
    return torch.cat([part.reshape(num_kv_heads, -1, *rest) for part in (q, k, v)], 1).reshape(-1, *rest)


def unpack_qkv(qkv: Tensor, num_heads: int, num_kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """The queries', keys' and values' rows of `Attention.qkv`; the reverse of `pack_qkv`."""
    rest = qkv.shape[1:]
    group = num_heads // num_kv_heads
    rows = qkv.reshape(num_kv_heads, group + 2, -1, *rest)
    q, k, v = rows[:, :group], rows[:, group], rows[:, group + 1]
    return q.reshape(-1, *rest), k.reshape(-1, *rest), v.reshape(-1, *rest)
