"""Transformer-XL."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from textmill.errors import ConfigError
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.own import own_from_foreign, own_to_foreign
from textmill.models.configs.sizes import check_heads, check_sizes


@dataclass(frozen=True, kw_only=True)
class TransformerXlConfig:
    """Transformer-XL (Dai et al. 2019, arXiv:1901.02860): a memory of states, and relative positions."""

    KIND: ClassVar[str] = "transformer-xl"
    vocab_size: int = 32_000
    width: int = 512
    num_layers: int = 12
    num_heads: int = 8
    feed_forward_width: int | None = None
    """None: four times the width."""
    memory_length: int = 512
    """States that each layer remembers. No weight depends on it: a larger one may serve for evaluation."""
    segment_length: int = 512
    """Tokens read at once. A longer text is read in such segments, each with the memory that the one before left."""
    norm_position: Literal["post", "pre"] = "post"
    """`post`, as published, puts the norms after the sub-layers, `pre` before them and one at the end."""
    feed_forward: Literal["relu", "gelu", "gelu_tanh", "relu2"] = "relu"
    dropout: float = 0.0
    """Of embeddings, sinusoids, sub-layer outputs, the feed-forward layer's inside and the last states."""
    attention_dropout: float = 0.0
    norm_eps: float = 1e-5
    tied: bool = True
    """The output matrix is the embedding's."""

    DEFAULT_INIT: ClassVar = Initialisation()
    context_length: ClassVar = sys.maxsize
    """There is no longest sequence."""
    model_type: ClassVar = "textmill-transformer-xl"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "width", "num_layers", "num_heads", "feed_forward_width", "segment_length")
        check_heads(self.width, self.num_heads)
        if not 0 <= self.memory_length <= 1 << 24:
            raise ConfigError(
                f"memory_length must be from 0 to {1 << 24}, got {self.memory_length}",
                fix="0 is none; as many as a segment has tokens is usual",
            )
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}", fix="0 is none")
        if self.norm_eps <= 0:
            raise ConfigError(f"norm_eps must be > 0, got {self.norm_eps}", fix="use 1e-5")

    def to_foreign(self) -> dict[str, Any]:
        """The settings under our own names."""
        return own_to_foreign(self, "TransformerXl")

    @classmethod
    def from_foreign(cls, foreign: Mapping[str, Any]) -> Self:
        """The settings in a config.json of ours.

        Raises:
            FormatError: a setting is unknown, of the wrong type, or out of range.
        """
        return own_from_foreign(cls, foreign)
