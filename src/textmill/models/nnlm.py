"""Bengio's neural probabilistic language model: a network over the vectors of the last few tokens.

    x = (C(w_(t-1)), ..., C(w_(t-n+1)))        the vectors of the n - 1 tokens before, one after the other
    y = b + W x + U tanh(d + H x)              a score for each token of the vocabulary
    p(w_t | the tokens before) = softmax(y)

W, the direct connections, may be left out. As the two terms of y are one product, of [U W] with the concatenation of
tanh(d + H x) and x, the output matrix holds both, and a loss can be taken of it without ever forming all of y.

The window slides over a text: the model remembers the vectors of its last n - 2 tokens. Before a text's first token
stand n - 2 copies of a learned vector, which the paper leaves open.

Legend: B batch, T time, m width of a vector, n order, h hidden width, V vocabulary.
Source: Bengio et al. 2003, "A Neural Probabilistic Language Model", JMLR 3:1137-1155, eq. 1.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from textmill.models.carrying import CarryingModel
from textmill.models.configs import Initialisation, NnlmConfig


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """What the network over the window needs to know."""

    num_layers: ClassVar = 1
    causal: ClassVar = True
    context_length: ClassVar = NnlmConfig.context_length

    inputs: int
    """(n - 1) m"""
    hidden_width: int


class Window(nn.Module):
    """tanh(d + H x): the hidden layer, and the vector that stands before a text."""

    def __init__(self, config: WindowConfig, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(config.inputs, config.hidden_width)
        self.padding = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "B T inputs"]) -> Float[Tensor, "B T h"]:
        return torch.tanh(self.hidden(x))


class Nnlm(CarryingModel):
    """A neural network over the last n - 1 tokens as a language model. Its token vectors are `embedding.weight`."""

    config: NnlmConfig

    @staticmethod
    def trunk_settings(config: NnlmConfig) -> WindowConfig:  # type: ignore[override]
        return WindowConfig(inputs=(config.order - 1) * config.width, hidden_width=config.hidden_width)

    def new_trunk(self) -> nn.Module:
        return Window(self.trunk_config, self.config.width)  # type: ignore[arg-type]

    def new_head(self) -> nn.Linear:
        direct = (self.config.order - 1) * self.config.width if self.config.direct else 0
        return nn.Linear(self.config.hidden_width + direct, self.config.vocab_size)

    @property
    def output_bias(self) -> Float[Tensor, " V"] | None:
        assert self.head is not None
        return self.head.bias

    def new_memory(self, num_rows: int) -> Float[Tensor, "B before m"]:
        """The vectors of the last n - 2 tokens, oldest first: of a text that has none, the learned one."""
        return self.trunk.padding.expand(num_rows, self.config.order - 2, -1)

    def hidden_with_memory(
        self, embedded: Float[Tensor, "B T m"], memory: Float[Tensor, "B before m"]
    ) -> tuple[Float[Tensor, "B T columns"], Float[Tensor, "B before m"]]:
        """What the output matrix [U W] multiplies: tanh(d + H x) and, with direct connections, x."""
        time, before = embedded.shape[1], self.config.order - 2
        vectors = torch.cat((memory.to(embedded.dtype), embedded), 1)
        # x of token t: the vectors t, t - 1, ..., t - n + 2, newest first as in the paper
        x = torch.cat([vectors[:, before - age : before - age + time] for age in range(before + 1)], -1)
        hidden = self.trunk(x)
        if self.config.direct:
            hidden = torch.cat((hidden, x), -1)
        if self.training and self.config.dropout:
            hidden = F.dropout(hidden, self.config.dropout)
        return hidden, vectors[:, time:]

    @torch.no_grad()
    def initialise(self, seed: int, init: Initialisation) -> None:
        """Draws all weights anew, the output matrix with a tenth of the usual spread: near uniform at first."""
        super().initialise(seed, init)
        if not self.embedding.weight.is_meta:
            assert self.head is not None
            self.head.weight *= 0.1
            self.trunk.padding.zero_()
