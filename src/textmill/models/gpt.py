"""GPT-2 and GPT-1: learned positions, LayerNorm, GELU.

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; Radford et al. 2018, "Improving
Language Understanding by Generative Pre-Training", which puts the norms after the sub-layers.
"""

from typing import ClassVar

from textmill.layers.config import TransformerConfig
from textmill.models.base import LanguageModel
from textmill.models.configs import GPTConfig
from textmill.models.foreign import CONV1D_QKV, TRANSPOSED, Row, own_names

BLOCK = (
    Row("trunk.blocks.{i}.attention_norm.weight", "transformer.h.{i}.ln_1.weight"),
    Row("trunk.blocks.{i}.attention_norm.bias", "transformer.h.{i}.ln_1.bias"),
    Row("trunk.blocks.{i}.attention.qkv.weight", "transformer.h.{i}.attn.c_attn.weight", CONV1D_QKV),
    Row("trunk.blocks.{i}.attention.qkv.bias", "transformer.h.{i}.attn.c_attn.bias", CONV1D_QKV),
    Row("trunk.blocks.{i}.attention.out.weight", "transformer.h.{i}.attn.c_proj.weight", TRANSPOSED),
    Row("trunk.blocks.{i}.attention.out.bias", "transformer.h.{i}.attn.c_proj.bias"),
    Row("trunk.blocks.{i}.feed_forward_norm.weight", "transformer.h.{i}.ln_2.weight"),
    Row("trunk.blocks.{i}.feed_forward_norm.bias", "transformer.h.{i}.ln_2.bias"),
    Row("trunk.blocks.{i}.feed_forward.up.weight", "transformer.h.{i}.mlp.c_fc.weight", TRANSPOSED),
    Row("trunk.blocks.{i}.feed_forward.up.bias", "transformer.h.{i}.mlp.c_fc.bias"),
    Row("trunk.blocks.{i}.feed_forward.down.weight", "transformer.h.{i}.mlp.c_proj.weight", TRANSPOSED),
    Row("trunk.blocks.{i}.feed_forward.down.bias", "transformer.h.{i}.mlp.c_proj.bias"),
)
GPT2 = (
    Row("embedding.weight", "transformer.wte.weight"),
    Row("trunk.positions.weight", "transformer.wpe.weight"),
    *BLOCK,
    Row("trunk.norm.weight", "transformer.ln_f.weight"),
    Row("trunk.norm.bias", "transformer.ln_f.bias"),
    Row("head.weight", "lm_head.weight"),
)
EXPERTS = tuple(
    Row(f"trunk.blocks.{{i}}.feed_forward.{part}", "no name elsewhere")
    for part in ("router.weight", "shared.up.weight", "shared.up.bias", "shared.down.weight", "shared.down.bias")
)


class GPT(LanguageModel):
    """`GPTConfig` says which of the two."""

    NAMES: ClassVar = {
        "gpt2": GPT2,
        "textmill-gpt": own_names((*GPT2, *EXPERTS)),
        "openai-gpt": (
            Row("embedding.weight", "transformer.tokens_embed.weight"),
            Row("trunk.positions.weight", "transformer.positions_embed.weight"),
            *BLOCK,
        ),
    }
    PREFIX: ClassVar = "transformer."
    BUFFERS: ClassVar = r"\.attn\.(masked_)?bias|\.position_ids"

    @staticmethod
    def trunk_settings(config: GPTConfig) -> TransformerConfig:
        return TransformerConfig(
            num_layers=config.num_layers,
            width=config.width,
            num_heads=config.num_heads,
            num_kv_heads=config.num_heads,
            head_dim=config.width // config.num_heads,
            feed_forward_width=config.feed_forward_width or 4 * config.width,
            context_length=config.context_length,
            norm="layer",
            norm_position="pre" if config.form == "gpt2" else "post",
            norm_eps=config.norm_eps,
            positions="learned",
            feed_forward=config.feed_forward,
            experts=config.experts,
            bias=True,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )
