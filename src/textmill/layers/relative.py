"""The trunk of Transformer-XL: attention with relative positions over the segment and what is remembered before it.

    h~ = [states remembered, x]                                      of this layer's input, no gradient into the past
    q = W_q x,   k = W_k,E h~,   v = W_v h~,   r_d = W_k,R R_d       R_d: the sinusoids of distance d
    score_ij = q_i k_j + q_i r_(i-j) + u k_j + v r_(i-j)             `ops.relative` has the attention
    x = norm(x + attention);  x = norm(x + feed_forward(x))          post-norm, as published; pre-norm as a choice

After a segment each layer remembers its last M inputs. Layer by layer the tokens see M further back.

A token that is read by itself would have all M states made into keys and values for it alone. Without gradients a few
tokens are instead asked in the states' own terms: q (W_k h~) = (q W_k) h~, the same numbers in another order.

Legend: B batch, T time, M memory, S = remembered + T, W width, H heads, D head width.
Source: Dai et al. 2019, arXiv:1901.02860, sections 3.2 and 3.3.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from textmill.layers.config import TransformerConfig
from textmill.layers.delta import IDENTITY, Delta
from textmill.layers.feed_forward import FeedForward
from textmill.layers.norm import new_norm
from textmill.ops.relative import relative_attention, relative_shift

TABLE = 256
"""Tables of sinusoids are made for a multiple of so many distances, so that a growing text needs few."""


@dataclass(frozen=True, slots=True)
class SegmentPass:
    """What one segment's pass hands to every block."""

    positions: Float[Tensor, "S W"]
    """The sinusoids of the distances S - 1, ..., 0."""
    content_bias: Float[Tensor, "H D"]
    """The paper's u."""
    position_bias: Float[Tensor, "H D"]
    """The paper's v."""
    unseen: Bool[Tensor, "B S"] | None
    """Places of the memory that a row has not filled yet; None: all rows have filled as many."""


def sinusoids(num: int, width: int, like: Tensor) -> Float[Tensor, "num width"]:
    """Row c: sines, then cosines, of distance num - 1 - c times width / 2 frequencies, from 1 to nearly 1 / 10000.

    >>> sinusoids(2, 4, torch.zeros(1))  # distance 1: sin 1, sin 0.01, cos 1, cos 0.01
    tensor([[0.8415, 0.0100, 0.5403, 0.9999],
            [0.0000, 0.0000, 1.0000, 1.0000]])

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; its sines and cosines alternate, which W_k,R undoes.
    """
    most = -(-num // TABLE) * TABLE
    return _table(most, width, like.dtype, like.device)[most - num :]


@lru_cache(maxsize=8)
def _table(num: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # a table that is made while generating serves in training too
    with torch.inference_mode(False), torch.no_grad():
        distances = torch.arange(num - 1, -1, -1, dtype=torch.float64, device="cpu")
        frequencies = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width)
        angles = torch.outer(distances, frequencies)
        return torch.cat((angles.sin(), angles.cos()), 1)[:, :width].to(device, dtype)


class RelativeAttention(nn.Module):
    """Queries from the segment, keys and values from the memory as well; no biases but u and v."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.num_heads, self.head_dim = config.num_heads, config.head_dim
        width, heads_width = config.width, config.num_heads * config.head_dim
        self.queries = nn.Linear(width, heads_width, bias=False)
        self.keys_values = nn.Linear(width, 2 * heads_width, bias=False)
        self.positions = nn.Linear(width, heads_width, bias=False)
        self.out = nn.Linear(heads_width, width, bias=False)
        self.dropout = config.attention_dropout

    def forward(
        self, x: Float[Tensor, "B T W"], seen: Float[Tensor, "B S W"], carried: SegmentPass
    ) -> Float[Tensor, "B T W"]:
        """
        Args:
            seen: the states remembered, then x.
        """
        B, T, _ = x.shape
        q_HBTD = self.queries(x).view(B, T, self.num_heads, self.head_dim).permute(2, 0, 1, 3).contiguous()
        few = self.head_dim > T and not torch.is_grad_enabled()
        attended = self._few(q_HBTD, seen, carried) if few else self._many(q_HBTD, seen, carried)
        y: Tensor = self.out(attended.permute(1, 2, 0, 3).reshape(B, T, -1))
        return y

    def _many(
        self, q: Float[Tensor, "H B T D"], seen: Float[Tensor, "B S W"], carried: SegmentPass
    ) -> Float[Tensor, "H B T D"]:
        B, S, _ = seen.shape
        kv = self.keys_values(seen).view(B, S, 2, self.num_heads, self.head_dim)
        # one copy forward and one backward
        k, v = kv.permute(2, 3, 0, 1, 4).contiguous().unbind(0)
        return relative_attention(
            q,
            k,
            v,
            self._distances(carried.positions),
            carried.content_bias,
            carried.position_bias,
            unseen=carried.unseen,
            dropout=self.dropout if self.training else 0.0,
        )

    def _few(
        self, q: Float[Tensor, "H B T D"], seen: Float[Tensor, "B S W"], carried: SegmentPass
    ) -> Float[Tensor, "H B T D"]:
        H, B, T, D = q.shape
        k_weight, v_weight = self.keys_values.weight.view(2, H, D, -1)
        scale = D**-0.5
        # [H BT D]
        q_content = ((q + carried.content_bias[:, None, None]) * scale).flatten(1, 2)
        q_position = ((q + carried.position_bias[:, None, None]) * scale).flatten(1, 2)
        if B * T < D:
            raw = q_position @ self.positions.weight.view(H, D, -1) @ carried.positions.mT
        else:
            raw = q_position @ self._distances(carried.positions).mT
        asked = (q_content @ k_weight).view(H, B, T, -1).transpose(0, 1).reshape(B, H * T, -1)
        scores = (asked @ seen.mT).view(B, H, T, -1)
        scores = scores + relative_shift(raw.view(H, B, T, -1)).transpose(0, 1)
        if carried.unseen is not None:
            scores = scores.masked_fill(carried.unseen[:, None, None], float("-inf"))
        mixed = (scores.softmax(-1).view(B, H * T, -1) @ seen).view(B, H, T, -1)
        return (mixed.transpose(0, 1).reshape(H, B * T, -1) @ v_weight.mT).view(H, B, T, D)

    def _distances(self, positions: Float[Tensor, "S W"]) -> Float[Tensor, "H S D"]:
        """W_k,R R, by heads."""
        return self.positions(positions).view(-1, self.num_heads, self.head_dim).transpose(0, 1).contiguous()


class DroppingFeedForward(FeedForward):
    """With dropout between its two matrices too, as published."""

    def __init__(self, config: TransformerConfig, site: str) -> None:
        super().__init__(config, site)
        self.dropout = config.dropout

    def forward(self, x: Float[Tensor, "batch time width"], delta: Delta) -> Float[Tensor, "batch time width"]:
        if not self.training or not self.dropout:
            return super().forward(x, delta)
        y: Tensor = self.down(F.dropout(self.activation(self.up(x)), self.dropout))
        return y


class RelativeBlock(nn.Module):
    """Attention over memory and segment, then a feed-forward layer on each token, both added to the stream."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = new_norm(config), new_norm(config)
        self.attention = RelativeAttention(config)
        self.feed_forward = DroppingFeedForward(config, f"blocks.{layer}.feed_forward")
        self.pre, self.dropout = config.norm_position == "pre", config.dropout

    def forward(
        self, x: Float[Tensor, "B T W"], remembered: Float[Tensor, "B before W"], carried: SegmentPass
    ) -> Float[Tensor, "B T W"]:
        seen = torch.cat((remembered, x), 1) if remembered.shape[1] else x
        if self.pre:
            seen = self.attention_norm(seen)
            x = x + self._dropped(self.attention(seen[:, remembered.shape[1] :], seen, carried))
            return x + self._dropped(self.feed_forward(self.feed_forward_norm(x), IDENTITY))
        x = self.attention_norm(x + self._dropped(self.attention(x, seen, carried)))
        y: Tensor = self.feed_forward_norm(x + self._dropped(self.feed_forward(x, IDENTITY)))
        return y

    def _dropped(self, y: Tensor) -> Tensor:
        return F.dropout(y, self.dropout) if self.training and self.dropout else y


class RelativeTransformer(nn.Module):
    """Token vectors and a memory in, hidden states and the memory after them out.

    A memory is {"known": int64 [B], "states": a matrix [B, M, W] for each layer}. The newest state stands last, and
    `known` says how many of a row's are states of its text; the others are not seen.
    """

    def __init__(self, config: TransformerConfig, *, memory_length: int, segment_length: int) -> None:
        super().__init__()
        self.config, self.memory_length, self.segment_length = config, memory_length, segment_length
        self.content_bias = nn.Parameter(torch.zeros(config.num_heads, config.head_dim))
        self.position_bias = nn.Parameter(torch.zeros(config.num_heads, config.head_dim))
        self.blocks: Any = nn.ModuleList(RelativeBlock(config, layer) for layer in range(config.num_layers))
        self.norm = new_norm(config) if config.norm_position == "pre" else None

    def new_memory(self, num_rows: int) -> dict[str, Any]:
        """Nothing known."""
        states = (self.content_bias.new_zeros(num_rows, self.memory_length, self.config.width) for _ in self.blocks)
        # counted on the CPU, so that a GPU needn't be waited for
        known = torch.zeros(num_rows, dtype=torch.int64, device="cpu")
        return {"known": known, "states": tuple(state.detach() for state in states)}

    def forward(
        self, x: Float[Tensor, "B T W"], memory: dict[str, Any]
    ) -> tuple[Float[Tensor, "B T W"], dict[str, Any]]:
        """The hidden state of each token, and what is remembered after the last.

        A text longer than `segment_length` is read in segments, each with the memory that the one before left.
        """
        outputs = []
        for segment in torch.split(x, self.segment_length, 1):
            y, memory = self._read(segment, memory)
            outputs.append(y)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1), memory

    def _read(self, x: Float[Tensor, "B T W"], memory: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        known: Int[Tensor, " B"] = memory["known"]
        fewest, most = (int(bound) for bound in known.aminmax())
        positions = sinusoids(most + x.shape[1], self.config.width, x)
        carried = SegmentPass(
            positions=self._dropped(positions),
            content_bias=self.content_bias,
            position_bias=self.position_bias,
            unseen=None if fewest == most else _unseen(known, most, x),
        )
        x, after = self._dropped(x), []
        for block, states in zip(self.blocks, memory["states"], strict=True):
            after.append(self._newest(states, x))
            x = block(x, states[:, self.memory_length - most :].to(x.dtype), carried)
        if self.norm is not None:
            x = self.norm(x)
        read = {"known": (known + x.shape[1]).clamp(max=self.memory_length), "states": tuple(after)}
        return self._dropped(x), read

    def _newest(self, states: Float[Tensor, "B M W"], x: Float[Tensor, "B T W"]) -> Float[Tensor, "B M W"]:
        """The last M of what was remembered and what is read now; no gradient flows through it."""
        T, M = x.shape[1], self.memory_length
        newest = x[:, T - M :] if T >= M else torch.cat((states[:, T:].to(x.dtype), x), 1)
        return newest.detach()

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout) if self.training and self.config.dropout else x


def _unseen(known: Int[Tensor, " B"], most: int, x: Float[Tensor, "B T W"]) -> Bool[Tensor, "B S"]:
    """True in the places before a row's first known state."""
    places = torch.arange(most + x.shape[1])
    return (places < (most - known)[:, None]).to(x.device)
