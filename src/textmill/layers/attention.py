"""Multi-head attention with grouped keys and values, and what one forward pass carries beside the stream.

Legend: B batch, T time, S tokens seen (cached ones too), W width, H query heads, K key/value heads,
G = H / K query heads that share a key/value head, D head width.

attention(q, k, v) = softmax(q k^T / sqrt(D)) v       Vaswani et al. 2017, arXiv:1706.03762, eq. 1
grouped keys and values                                Ainslie et al. 2023, arXiv:2305.13245
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from textmill.layers.cache import KVCache
from textmill.layers.config import TransformerConfig
from textmill.layers.delta import Delta
from textmill.layers.norm import RMSNorm
from textmill.layers.patterns import LayerPattern
from textmill.layers.positions import rotate
from textmill.layers.routing import Routed
from textmill.layers.segments import Segments
from textmill.ops import rotary
from textmill.ops.attention import attention, causal_attention, varlen
from textmill.ops.attention.blocked import Layout, blocked_attention

Rotation = tuple[Tensor, Tensor]
"""Cosines and signed sines of the positions."""


class Sight(NamedTuple):
    """What the tokens of a batch of rows see."""

    mask: Bool[Tensor, "B 1 T S"] | None
    """Entry (i, j): token i sees token j. None: `causal` alone decides."""
    causal: bool
    """With no mask: each token sees itself and what came before (True), or every token (False)."""
    real: Bool[Tensor, "B T"] | None = None
    """False for padding; `mask` says so too."""

    def with_extra(self, num_extra: int, num_queries: int, num_keys: int, device: torch.device) -> "Sight":
        """The same when `num_extra` keys, which every token sees, come before the others."""
        if self.mask is not None:
            return Sight(F.pad(self.mask, (num_extra, 0), value=True), False)
        if not self.causal:
            return self
        ones = torch.ones(num_queries, num_extra + num_keys, dtype=torch.bool, device=device)
        return Sight(ones.tril(num_extra), False)


@dataclass(slots=True)
class Pass:
    """What one forward pass hands to every block, made once by the trunk."""

    delta: Delta
    cache: KVCache | None
    rotation: Rotation | None
    """For rotary positions."""
    sight: Sight
    local_rotation: Rotation | None = None
    """The same for local layers."""
    real: Bool[Tensor, "B T"] | None = None
    """False where the batch is padded."""
    segments: Segments | None = None
    """Where the sequences of an unpadded pass are; `sight` then holds within each, and has no mask."""
    positions: Int[Tensor, "B T"] | None = None
    """Of the queries, where they aren't the last T of S."""
    second: bool = False
    """Whether activations are being computed for the second time, in the backward pass."""
    made: dict[tuple[object, ...], Any] = field(default_factory=dict)
    """Masks and layouts of patterns, made by the first layer that needs them."""

    def layout(self, pattern: LayerPattern, T: int, device: torch.device) -> Layout | None:
        """How the pattern's attention over T tokens goes by blocks, or None if it goes by a mask."""
        key = ("layout", pattern, T)
        if key not in self.made:
            self.made[key] = pattern.layout(T, device)
        layout: Layout | None = self.made[key]
        return layout

    def narrowed(self, sight: Sight, pattern: LayerPattern, T: int, S: int, device: torch.device) -> Sight:
        """What the last T of S tokens see of what the pattern lets them."""
        key = ("mask", pattern, T, S)
        if key not in self.made:
            last = torch.arange(S - T, S, device=device)[None]
            i = last if self.positions is None else self.positions
            j = i if self.real is not None else torch.arange(S, device=device)[None]
            mask = pattern.allowed(i[:, :, None], j[:, None, :])[:, None]
            if sight.mask is not None:
                mask = mask & sight.mask
            if T == S:
                # padding far from every real token sees itself, so that no row of the softmax is empty
                mask = mask | torch.eye(T, dtype=torch.bool, device=device)
            self.made[key] = mask
        return Sight(self.made[key], False)

    routed: list[Routed] = field(default_factory=list)
    """What the routers of layers with experts did; each adds its part."""


class Attention(nn.Module):
    """One matrix product makes queries, keys and values; one more mixes the heads.

    The rows of `qkv` are grouped as Megatron-LM does: for each key/value head its G query heads, then its key, then its
    value. A split of the rows into equal parts is then a split by heads, which is what tensor parallelism needs.
    """

    def __init__(self, config: TransformerConfig, site: str, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.pattern = LayerPattern.of(config, layer)
        self.head_dim = config.head_dim
        self.group = config.num_heads // config.num_kv_heads
        heads_width = config.num_heads * config.head_dim
        self.qkv = nn.Linear(config.width, heads_width + 2 * config.num_kv_heads * config.head_dim, bias=config.bias)
        self.out = nn.Linear(heads_width, config.width, bias=config.bias)
        self.q_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else None
        self.causal = config.causal
        self.dropout = config.attention_dropout
        self.qkv_site, self.out_site = f"{site}.qkv", f"{site}.out"

    def forward(self, x: Float[Tensor, "B T W"], carried: Pass) -> Float[Tensor, "B T W"]:
        qkv = carried.delta.linear(self.qkv_site, self.qkv, x)
        extra = carried.delta.kv(self.layer)
        rotation = carried.rotation if self.pattern is None else carried.local_rotation
        if carried.segments is not None:
            y = self._in_buckets(qkv, carried.segments, carried, rotation, extra)
        else:
            y = self._in_rows(qkv, carried, carried.sight, rotation, extra)
        return carried.delta.linear(self.out_site, self.out, y)

    def _in_buckets(
        self,
        qkv: Float[Tensor, "1 N C"],
        segments: Segments,
        carried: Pass,
        rotation: Rotation | None,
        extra: tuple[Tensor, Tensor] | None,
    ) -> Float[Tensor, "1 N HD"]:
        """Each sequence by itself, those of nearly one length together."""
        dropout = self.dropout if self.training else 0.0
        window = (-1, 0 if self.causal else -1) if self.pattern is None else self.pattern.window
        if extra is None and window is not None and varlen.serves(qkv, dropout):
            turned = None if rotation is None else (rotation[0][segments.positions], rotation[1][segments.positions])
            q, k, v = self._heads(qkv.view(1, qkv.shape[1], -1, self.group + 2, self.head_dim), turned)
            q, k, v = (part[0].transpose(0, 1) for part in (q, k, v))
            y = varlen.varlen_attention(q, k, v, segments.starts, segments.longest, window)
            return y.reshape(1, len(y), -1)
        places = segments.gather(qkv[0])
        outputs = [qkv.new_zeros(0, self.out.in_features)] if not segments.buckets else []
        for bucket in segments.buckets:
            R, L, causal = len(bucket.rows), bucket.length, self.causal
            # what stands behind a row's end is seen by no real token, if causal order doesn't let it
            real = None if causal else bucket.real
            sight = Sight(None if real is None else real[:, None, None], causal and L > 1, real)
            turned = None if rotation is None else (rotation[0][:L], rotation[1][:L])
            own = extra
            if extra is not None and extra[0].ndim == 4 and len(extra[0]) > 1:
                own = (extra[0][bucket.rows], extra[1][bucket.rows])
            rows = places[bucket.begin : bucket.end].view(R, L, -1)
            outputs.append(self._in_rows(rows, carried, sight, turned, own).view(R * L, -1))
        return segments.scatter(outputs[0] if len(outputs) == 1 else torch.cat(outputs)).unsqueeze(0)

    def _in_rows(
        self,
        qkv: Float[Tensor, "B T C"],
        carried: Pass,
        sight: Sight,
        rotation: Rotation | None,
        extra: tuple[Tensor, Tensor] | None,
    ) -> Float[Tensor, "B T HD"]:
        B, T, _ = qkv.shape
        # -1: under tensor parallelism this process holds only some of the K heads
        q, k, v = self._heads(qkv.view(B, T, -1, self.group + 2, self.head_dim), rotation)
        if carried.cache is not None:
            k, v = carried.cache.extend(self.layer, k, v)
        if self.pattern is not None:
            window = self.pattern.window
            if T == 1 and window is not None and extra is None and carried.cache is not None and sight.mask is None:
                # a token read by itself: what the window hides is not read
                newest = -1 - window[0]
                return self._attend(q, k[:, :, newest:], v[:, :, newest:], None, False)
            if carried.cache is None and carried.real is None and extra is None:
                layout = carried.layout(self.pattern, T, q.device)
                if layout is not None:
                    dropout = self.dropout if self.training else 0.0
                    y = blocked_attention(q, k, v, layout, sight.real, dropout=dropout)
                    return y.transpose(1, 2).reshape(B, T, -1)
            sight = carried.narrowed(sight, self.pattern, T, k.shape[2], q.device)
        if extra is not None:
            sight = sight.with_extra(extra[0].shape[-2], T, k.shape[2], k.device)
            k, v = (torch.cat((e.expand(B, -1, -1, -1), t), 2) for e, t in zip(extra, (k, v), strict=True))
        return self._attend(q, k, v, sight.mask, sight.causal)

    def _heads(
        self, qkv: Float[Tensor, "B T K G2 D"], rotation: Rotation | None
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B K T D"], Float[Tensor, "B K T D"]]:
        """Queries, keys and values; queries and keys normalised and turned by their positions, where the model does."""
        norms = None if self.q_norm is None or self.k_norm is None else (self.q_norm, self.k_norm)
        if rotation is not None and rotary.serves(qkv):
            weights = None if norms is None else (norms[0].weight, norms[1].weight)
            return rotary.split_heads(qkv, *rotation, weights, 0.0 if norms is None else norms[0].eps)
        if norms is None and rotation is None and self.group == 1:
            # one copy forward and one backward
            q, k, v = qkv.permute(3, 0, 2, 1, 4).contiguous().unbind(0)
            return q, k, v
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
        return attention(q, k, v, mask, dropout=dropout).transpose(1, 2).reshape(B, T, -1)


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
