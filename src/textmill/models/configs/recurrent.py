"""Recurrent networks: Elman's, the LSTM and the GRU."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from textmill.errors import ConfigError
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.own import own_from_foreign, own_to_foreign
from textmill.models.configs.sizes import check_sizes


@dataclass(frozen=True, kw_only=True)
class RecurrentModelConfig:
    """What the three have in common. All dropouts act while training only."""

    vocab_size: int = 10_000
    width: int = 512
    """Of the embedding, and of what the last layer gives out."""
    hidden_width: int | None = None
    """Of the states between the layers; None: the width."""
    num_layers: int = 2
    embedding_dropout: float = 0.0
    """How often a word of the vocabulary is forgotten for a whole batch."""
    input_dropout: float = 0.0
    """Of what the first layer reads; like the next two, the same numbers at all times of a row."""
    layer_dropout: float = 0.0
    """Between the layers."""
    output_dropout: float = 0.0
    """Of the last layer's states."""
    weight_drop: float = 0.0
    """How often a weight from state to state is 0 for a whole batch."""
    tied: bool = True
    """The output matrix is the embedding's."""

    DEFAULT_INIT: ClassVar = Initialisation(std=0.05, matrices="fan_in")
    context_length: ClassVar = sys.maxsize
    """There is no longest sequence."""
    model_type: ClassVar[str]
    ARCHITECTURE: ClassVar[str]

    @property
    def cell(self) -> Literal["tanh", "relu", "lstm", "gru"]:
        """The kind of cell in every layer."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "width", "hidden_width", "num_layers")
        for name in ("embedding_dropout", "input_dropout", "layer_dropout", "output_dropout", "weight_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}", fix="0 is none")

    def to_foreign(self) -> dict[str, Any]:
        """The settings under our own names."""
        return own_to_foreign(self, self.ARCHITECTURE)

    @classmethod
    def from_foreign(cls, foreign: Mapping[str, Any]) -> Self:
        """The settings in a config.json of ours.

        Raises:
            FormatError: a setting is unknown, of the wrong type, or out of range.
        """
        return own_from_foreign(cls, foreign)


@dataclass(frozen=True, kw_only=True)
class RnnConfig(RecurrentModelConfig):
    """Elman's network (Elman 1990, "Finding Structure in Time")."""

    KIND: ClassVar[str] = "rnn"
    activation: Literal["tanh", "relu"] = "tanh"

    model_type: ClassVar = "textmill-rnn"
    ARCHITECTURE: ClassVar = "Rnn"

    @property
    def cell(self) -> Literal["tanh", "relu"]:
        return self.activation


@dataclass(frozen=True, kw_only=True)
class LstmConfig(RecurrentModelConfig):
    """Long short-term memory (Hochreiter and Schmidhuber 1997).

    AWD-LSTM (Merity et al. 2017, arXiv:1708.02182) for the Penn Treebank:

    >>> awd = LstmConfig(width=400, hidden_width=1150, num_layers=3, embedding_dropout=0.1, input_dropout=0.4,
    ...     layer_dropout=0.25, output_dropout=0.4, weight_drop=0.5)
    """

    KIND: ClassVar[str] = "lstm"
    model_type: ClassVar = "textmill-lstm"
    ARCHITECTURE: ClassVar = "Lstm"

    @property
    def cell(self) -> Literal["lstm"]:
        return "lstm"


@dataclass(frozen=True, kw_only=True)
class GruConfig(RecurrentModelConfig):
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078)."""

    KIND: ClassVar[str] = "gru"
    model_type: ClassVar = "textmill-gru"
    ARCHITECTURE: ClassVar = "Gru"

    @property
    def cell(self) -> Literal["gru"]:
        return "gru"
