"""Heads of encoders: what turns hidden states into predictions.

Legend: R rows, W width, V vocabulary.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textmill.layers.feed_forward import ACTIVATIONS


class MaskedHead(nn.Module):
    """BERT's prediction of a masked token, up to the output matrix, which is the embedding's, and its bias.

    states = norm(activation(dense(hidden)));  logits = states E^T + bias          Devlin et al. 2018, appendix A, code
    """

    def __init__(self, width: int, vocab_size: int, activation: str, norm_eps: float, *, inner_bias: bool) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width, bias=inner_bias)
        self.activation = ACTIVATIONS[activation][0]
        self.norm = nn.LayerNorm(width, norm_eps, bias=inner_bias)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Float[Tensor, "*R W"]) -> Float[Tensor, "*R W"]:
        states: Tensor = self.norm(self.activation(self.dense(hidden)))
        return states


class ReplacedHead(nn.Module):
    """ELECTRA's detector: the logit of each token having been replaced.

    logit = w . activation(dense(hidden)) + b          Clark et al. 2020, arXiv:2003.10555, section 2, and code
    """

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.activation = ACTIVATIONS[activation][0]
        self.out = nn.Linear(width, 1)

    def forward(self, hidden: Float[Tensor, "*R W"]) -> Float[Tensor, "*R"]:
        logits: Tensor = self.out(self.activation(self.dense(hidden))).squeeze(-1)
        return logits
