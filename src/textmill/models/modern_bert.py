"""ModernBERT: an encoder of rotary positions, GeGLU, norms before the sub-layers, and mostly local attention.

Legend: W width, V vocabulary, F feed-forward width.
Source: Warner et al. 2024, arXiv:2412.13663, section 2.1.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from textmill.errors import FormatError
from textmill.layers.config import AttentionPattern, RotaryConfig, TransformerConfig
from textmill.models.base import LanguageModel
from textmill.models.configs import ModernBertConfig
from textmill.models.foreign import FUSED_QKV, Row, State
from textmill.models.heads import MaskedHead

LAYER = "model.layers.{i}."
FUSED = ".mlp.Wi.weight"
"""Theirs: the activated half's rows, then the other's."""
HALVES = (".mlp.Wi.gate.weight", ".mlp.Wi.up.weight")
"""The names between theirs and ours."""


class ModernBert(LanguageModel):
    """`ModernBertConfig` has its sizes. The output matrix is the embedding's."""

    NAMES: ClassVar = {
        "modernbert": (
            Row("embedding.weight", "model.embeddings.tok_embeddings.weight"),
            Row("trunk.embedding_norm.weight", "model.embeddings.norm.weight"),
            Row("trunk.blocks.{i}.attention_norm.weight", f"{LAYER}attn_norm.weight"),
            Row("trunk.blocks.{i}.attention.qkv.weight", f"{LAYER}attn.Wqkv.weight", FUSED_QKV),
            Row("trunk.blocks.{i}.attention.out.weight", f"{LAYER}attn.Wo.weight"),
            Row("trunk.blocks.{i}.feed_forward_norm.weight", f"{LAYER}mlp_norm.weight"),
            Row("trunk.blocks.{i}.feed_forward.gate.weight", f"model.layers.{{i}}{HALVES[0]}"),
            Row("trunk.blocks.{i}.feed_forward.up.weight", f"model.layers.{{i}}{HALVES[1]}"),
            Row("trunk.blocks.{i}.feed_forward.down.weight", f"{LAYER}mlp.Wo.weight"),
            Row("trunk.norm.weight", "model.final_norm.weight"),
            Row("masked_head.dense.weight", "head.dense.weight"),
            Row("masked_head.norm.weight", "head.norm.weight"),
            Row("masked_head.bias", "decoder.bias"),
        )
    }
    PREFIX: ClassVar = "model."
    # also the second copy that some files keep of the tied matrix
    BUFFERS: ClassVar = r"\.rotary_emb\.\w*inv_freq|^decoder\.weight"

    def add_parts(self) -> None:
        config: ModernBertConfig = self.config
        self.masked_head = MaskedHead(config.width, config.vocab_size, "gelu", config.norm_eps, inner_bias=False)

    @staticmethod
    def trunk_settings(config: ModernBertConfig) -> TransformerConfig:
        return TransformerConfig(
            num_layers=config.num_layers,
            width=config.width,
            num_heads=config.num_heads,
            num_kv_heads=config.num_heads,
            head_dim=config.width // config.num_heads,
            feed_forward_width=config.feed_forward_width,
            context_length=config.context_length,
            norm="layer",
            norm_position="pre",
            norm_eps=config.norm_eps,
            norm_bias=False,
            embedding_norm=True,
            first_norm=False,
            positions="rotary",
            rotary=RotaryConfig(theta=config.global_theta),
            local_rotary=RotaryConfig(theta=config.local_theta),
            attention=AttentionPattern(kind="window", window=config.window, global_every=config.global_every),
            feed_forward=config.feed_forward,
            bias=False,
            causal=False,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )

    @property
    def output_bias(self) -> Float[Tensor, " V"]:
        return self.masked_head.bias

    def head_states(self, hidden: Float[Tensor, "*rows W"]) -> Float[Tensor, "*rows W"]:
        """norm(gelu(dense(hidden))), what the output matrix multiplies."""
        states: Tensor = self.masked_head(hidden)
        return states

    def to_foreign(self, state: Mapping[str, Tensor] | None = None) -> State:
        foreign = super().to_foreign(state)
        for name in [name for name in foreign if name.endswith(HALVES[0])]:
            layer = name.removesuffix(HALVES[0])
            # [2 F, W]
            foreign[layer + FUSED] = torch.cat([foreign.pop(layer + half) for half in HALVES])
        return foreign

    def from_foreign(self, foreign: Mapping[str, Tensor]) -> State:
        split: State = {}
        for name, weight in foreign.items():
            if not name.endswith(FUSED):
                split[name] = weight
                continue
            if len(weight) % 2:
                raise FormatError(
                    f"the weights {name} {list(weight.shape)} don't fit config.json", fix="fetch both again"
                )
            split |= zip((name.removesuffix(FUSED) + half for half in HALVES), weight.chunk(2), strict=True)
        return super().from_foreign(split)
