"""Bengio's neural probabilistic language model."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from textmill.errors import ConfigError
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.own import own_from_foreign, own_to_foreign
from textmill.models.configs.sizes import check_sizes


@dataclass(frozen=True, kw_only=True)
class NnlmConfig:
    """A neural network over the last few tokens (Bengio et al. 2003, JMLR 3:1137-1155)."""

    KIND: ClassVar[str] = "nnlm"
    vocab_size: int = 10_000
    order: int = 5
    """The paper's n: a token is predicted from the n - 1 before it."""
    width: int = 60
    """Of a token's vector; the paper's m."""
    hidden_width: int = 100
    """Of the hidden layer; the paper's h."""
    direct: bool = True
    """Whether the vectors also reach the output past the hidden layer; the paper's W."""
    dropout: float = 0.0
    """Of what the output layer reads, while training."""

    DEFAULT_INIT: ClassVar = Initialisation(std=0.05, matrices="fan_in")
    context_length: ClassVar = sys.maxsize
    """There is no longest sequence: what is older than n - 1 tokens is not seen."""
    tied: ClassVar = False
    """The output matrix reads a concatenation, which no embedding could be."""
    model_type: ClassVar = "textmill-nnlm"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "width", "hidden_width")
        if not 2 <= self.order <= 1024:
            raise ConfigError(
                f"order must be from 2 to 1024, got {self.order}", fix="5 predicts from the last 4 tokens"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout}", fix="0 is none")

    def to_foreign(self) -> dict[str, Any]:
        """The settings under our own names."""
        return own_to_foreign(self, "Nnlm")

    @classmethod
    def from_foreign(cls, foreign: Mapping[str, Any]) -> Self:
        """The settings in a config.json of ours.

        Raises:
            FormatError: a setting is unknown, of the wrong type, or out of range.
        """
        return own_from_foreign(cls, foreign)
