"""`textmill pretrain nnlm|rnn|lstm|gru`"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from textmill.cli.pretrain import Pretraining


@dataclass(frozen=True, kw_only=True)
class Nnlm(Pretraining):
    """Train Bengio's neural language model from text: a hidden layer over the vectors of the last few tokens.

    Examples:
      textmill pretrain nnlm my.txt --order 5 -o runs/nnlm
      textmill pretrain nnlm my.txt --set tokenizer.algorithm=words --set model.direct=false -o runs/words
    """

    ARCHITECTURE: ClassVar = "nnlm"

    width: int = 128
    """Numbers that stand for a token."""
    hidden: int = 512
    """Units of the hidden layer."""
    order: int = 5
    """Each token is predicted from so many less one before it."""
    context: int = 64
    """Tokens of one row; a row's first predictions see fewer tokens."""

    def model(self) -> Any:
        from textmill.models.configs import NnlmConfig

        return NnlmConfig(width=self.width, hidden_width=self.hidden, order=self.order)

    def adjusted(self, settings: Any) -> Any:
        return _by_adamw(settings)


@dataclass(frozen=True, kw_only=True)
class _Recurrent(Pretraining):
    """What networks with a carried state share."""

    layers: int = 2
    """Recurrent layers."""
    hidden: int | None = None
    """Units of the layers between the first and the last; none: the width."""
    context: int = 64
    """Tokens that gradients flow back through; the state goes on beyond them."""
    dropout: float = 0.0
    """Of inputs, layers and outputs, one mask a sequence; AWD-LSTM has 0.4 or so on small corpora."""

    def settings(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "num_layers": self.layers,
            "hidden_width": self.hidden,
            "input_dropout": self.dropout,
            "layer_dropout": self.dropout,
            "output_dropout": self.dropout,
        }

    def adjusted(self, settings: Any) -> Any:
        return _by_adamw(settings)


@dataclass(frozen=True, kw_only=True)
class Rnn(_Recurrent):
    """Train Elman's recurrent network from text, by backpropagation through time.

    Examples:
      textmill pretrain rnn my.txt -o runs/rnn
    """

    ARCHITECTURE: ClassVar = "rnn"

    activation: Literal["tanh", "relu"] = "tanh"
    """What bends the sum of input and state."""

    def model(self) -> Any:
        from textmill.models.configs import RnnConfig

        return RnnConfig(**self.settings(), activation=self.activation)


@dataclass(frozen=True, kw_only=True)
class Lstm(_Recurrent):
    """Train a language model of long short-term memory from text, with AWD-LSTM's dropouts as settings.

    Examples:
      textmill pretrain lstm my.txt -o runs/lstm
      textmill pretrain lstm my.txt --dropout 0.4 --set model.weight_drop=0.5 --set learning.activation=2 -o runs/awd
    """

    ARCHITECTURE: ClassVar = "lstm"

    def model(self) -> Any:
        from textmill.models.configs import LstmConfig

        return LstmConfig(**self.settings())


@dataclass(frozen=True, kw_only=True)
class Gru(_Recurrent):
    """Train a language model of gated recurrent units from text.

    Examples:
      textmill pretrain gru my.txt --layers 2 --width 512 -o runs/gru
    """

    ARCHITECTURE: ClassVar = "gru"

    def model(self) -> Any:
        from textmill.models.configs import GruConfig

        return GruConfig(**self.settings())


def _by_adamw(settings: Any) -> Any:
    """Muon's rule is for the matrices of Transformers: AdamW trains all, unless another optimiser is asked for."""
    return dataclasses.replace(settings, training=dataclasses.replace(settings.training, optimizer="adamw"))
