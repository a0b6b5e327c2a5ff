"""Llama and, with normalised queries and keys, Qwen3: RMSNorm, rotary positions, a gated feed-forward layer, no biases.

Sources: Touvron et al. 2023, arXiv:2302.13971; Qwen3 technical report 2025, arXiv:2505.09388.
"""

from typing import ClassVar

from textmill.layers.config import TransformerConfig
from textmill.models.base import LanguageModel
from textmill.models.configs import LlamaConfig
from textmill.models.foreign import SEPARATE_QKV, Row, own_names

QKV = tuple(f"model.layers.{{i}}.self_attn.{part}_proj.weight" for part in "qkv")

ROWS = (
    Row("embedding.weight", "model.embed_tokens.weight"),
    Row("trunk.blocks.{i}.attention_norm.weight", "model.layers.{i}.input_layernorm.weight"),
    Row("trunk.blocks.{i}.attention.qkv.weight", QKV, SEPARATE_QKV),
    Row("trunk.blocks.{i}.attention.q_norm.weight", "model.layers.{i}.self_attn.q_norm.weight"),
    Row("trunk.blocks.{i}.attention.k_norm.weight", "model.layers.{i}.self_attn.k_norm.weight"),
    Row("trunk.blocks.{i}.attention.out.weight", "model.layers.{i}.self_attn.o_proj.weight"),
    Row("trunk.blocks.{i}.feed_forward_norm.weight", "model.layers.{i}.post_attention_layernorm.weight"),
    Row("trunk.blocks.{i}.feed_forward.gate.weight", "model.layers.{i}.mlp.gate_proj.weight"),
    Row("trunk.blocks.{i}.feed_forward.up.weight", "model.layers.{i}.mlp.up_proj.weight"),
    Row("trunk.blocks.{i}.feed_forward.down.weight", "model.layers.{i}.mlp.down_proj.weight"),
    Row("trunk.norm.weight", "model.norm.weight"),
    Row("head.weight", "lm_head.weight"),
)


class Llama(LanguageModel):
    """`LlamaConfig.qk_norm` makes it Qwen3."""

    NAMES: ClassVar = {"llama": ROWS, "qwen3": ROWS, "textmill-llama": own_names(ROWS)}
    PREFIX: ClassVar = "model."

    @staticmethod
    def trunk_settings(config: LlamaConfig) -> TransformerConfig:
        return TransformerConfig(
            num_layers=config.num_layers,
            width=config.width,
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads or config.num_heads,
            head_dim=config.resolved_head_dim,
            feed_forward_width=config.resolved_feed_forward_width,
            context_length=config.context_length,
            norm="rms",
            norm_position="pre",
            norm_eps=config.norm_eps,
            positions="rotary",
            rotary=config.rotary,
            attention=config.attention,
            feed_forward=config.feed_forward,
            qk_norm=config.qk_norm,
            bias=False,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )
