"""Transformer-XL: a Transformer that remembers its hidden states from segment to segment, with relative positions.

    x = sqrt(W) E[token]        h = trunk(x, memory)        p(next token) = softmax(E h)

Legend: B batch, T time, W width.
Source: Dai et al. 2019, "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context", arXiv:1901.02860.
Its adaptive softmax for large vocabularies is left out: the loss never forms all logits anyway.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from textmill.layers.config import TransformerConfig
from textmill.layers.memory import Memory
from textmill.layers.relative import RelativeTransformer
from textmill.models.base import draw
from textmill.models.carrying import CarryingModel
from textmill.models.configs import Initialisation, TransformerXlConfig


class TransformerXl(CarryingModel):
    """Transformer-XL as a language model."""

    config: TransformerXlConfig

    @staticmethod
    def trunk_settings(config: TransformerXlConfig) -> TransformerConfig:
        return TransformerConfig(
            num_layers=config.num_layers,
            width=config.width,
            num_heads=config.num_heads,
            num_kv_heads=config.num_heads,
            head_dim=config.width // config.num_heads,
            feed_forward_width=config.feed_forward_width or 4 * config.width,
            context_length=config.context_length,
            norm="layer",
            norm_position=config.norm_position,
            norm_eps=config.norm_eps,
            positions="none",
            feed_forward=config.feed_forward,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )

    def new_trunk(self) -> nn.Module:
        config = self.config
        return RelativeTransformer(
            self.trunk_config, memory_length=config.memory_length, segment_length=config.segment_length
        )

    def embed(self, tokens: Int[Tensor, "B T"], types: Int[Tensor, "B T"] | None = None) -> Float[Tensor, "B T W"]:
        """One vector a token, sqrt(W) times the embedding's, whose numbers are small for the output's sake.

        Raises:
            ConfigError: a token beyond the vocabulary.
        """
        return super().embed(tokens, types) * math.sqrt(self.config.width)

    def new_memory(self, num_rows: int) -> Memory:
        """No states; see `RelativeTransformer`."""
        return self.trunk.new_memory(num_rows)

    def hidden_with_memory(
        self, embedded: Float[Tensor, "B T W"], memory: Memory
    ) -> tuple[Float[Tensor, "B T W"], Memory]:
        """The last layer's states, and the last states of every layer's input."""
        hidden, memory = self.trunk(embedded, memory)
        return hidden, memory

    @torch.no_grad()
    def initialise(self, seed: int, init: Initialisation) -> None:
        """Draws all weights anew, as for other models; u and v as the embedding."""
        super().initialise(seed, init)
        if not self.embedding.weight.is_meta:
            generator = torch.Generator(self.embedding.weight.device).manual_seed(seed + 1)
            draw(self.trunk.content_bias, init.std, init.truncation, generator)
            draw(self.trunk.position_bias, init.std, init.truncation, generator)
