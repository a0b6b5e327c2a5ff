"""A stack of recurrent layers, and the four places where AWD-LSTM drops something.

Legend: B rows, T time, I inputs, H width of a layer's state, G gates.

The cells' equations are in `ops/recurrent/reference.py`; here torch's kernels run them over whole sequences. While
training:

    x <- locked_dropout(x)                            what the first layer reads
    x <- layer(x), its matrix W (h -> h) dropped      each weight is 0, or 1 / (1 - p) times itself, at all times alike
    x <- locked_dropout(x)                            after each layer; the last has a rate of its own

Source: Merity et al. 2017, arXiv:1708.02182: weight drop, section 2; the other dropouts, section 4.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from textmill.layers.memory import Memory

CellKind = Literal["tanh", "relu", "lstm", "gru"]

GATES: dict[str, int] = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
"""How many vectors of the state's width each cell computes."""
KERNELS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "tanh": torch.rnn_tanh,
    "relu": torch.rnn_relu,
    "gru": torch.gru,
}
"""torch's functions for the cells that have one state."""


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """What a stack of recurrent layers needs to know."""

    cell: CellKind
    num_layers: int
    width: int
    """Numbers a token brings in, and the last layer gives out."""
    hidden_width: int
    """Of the states between the layers."""
    input_dropout: float = 0.0
    layer_dropout: float = 0.0
    output_dropout: float = 0.0
    weight_drop: float = 0.0

    causal: ClassVar = True
    context_length: ClassVar = sys.maxsize
    """There is no longest sequence."""


def locked_dropout(x: Float[Tensor, "B T W"], rate: float) -> Float[Tensor, "B T W"]:
    """Each number of a row dropped at all of its times or at none; what stays is divided by 1 - rate.

    Source: Gal and Ghahramani 2016, arXiv:1512.05287, section 4.
    """
    mask = x.new_empty(x.shape[0], 1, x.shape[2]).bernoulli_(1 - rate).div_(1 - rate)
    return x * mask


class RecurrentLayer(nn.Module):
    """One layer of cells over a sequence."""

    def __init__(self, cell: CellKind, num_inputs: int, width: int) -> None:
        super().__init__()
        self.cell, self.width = cell, width
        rows = GATES[cell] * width
        self.input_weight = nn.Parameter(torch.empty(rows, num_inputs))
        self.hidden_weight = nn.Parameter(torch.empty(rows, width))
        self.input_bias = nn.Parameter(torch.empty(rows))
        self.hidden_bias = nn.Parameter(torch.empty(rows))

    def new_memory(self, num_rows: int) -> tuple[Float[Tensor, "B H"], ...]:
        """Zeros: the state h, and an LSTM's cell c."""
        return tuple(self.hidden_weight.new_zeros(num_rows, self.width) for _ in range(2 if self.cell == "lstm" else 1))

    def forward(
        self, x: Float[Tensor, "B T I"], memory: Sequence[Float[Tensor, "B H"]], weight_drop: float
    ) -> tuple[Float[Tensor, "B T H"], tuple[Float[Tensor, "B H"], ...]]:
        """The state h after each token, and the memory after the last."""
        hidden_weight = F.dropout(self.hidden_weight, weight_drop) if weight_drop else self.hidden_weight
        weights = (self.input_weight, hidden_weight, self.input_bias, self.hidden_bias)
        # torch has an axis of layers before the rows; the arguments after the weights: biases, one layer, no dropout,
        # training (which decides nothing without dropout but keeps what the backward pass needs), one direction, [B, T]
        before = [part.unsqueeze(0).to(x.dtype) for part in memory]
        options = (True, 1, 0.0, torch.is_grad_enabled(), False, True)
        if self.cell == "lstm":
            states, h, c = torch.lstm(x, before, weights, *options)
            return states, (h[0], c[0])
        states, h = KERNELS[self.cell](x, before[0], weights, *options)
        return states, (h[0],)

    def extra_repr(self) -> str:
        return f"{self.cell}, {self.input_weight.shape[1]} -> {self.width}"


class RecurrentStack(nn.Module):
    """Token vectors in, states of the last layer out."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width, *[config.hidden_width] * (config.num_layers - 1), config.width]
        self.blocks: Any = nn.ModuleList(
            RecurrentLayer(config.cell, widths[layer], widths[layer + 1]) for layer in range(config.num_layers)
        )
        self.keep_outputs = False
        """Whether `last_outputs` is wanted of the next pass."""
        self._outputs: tuple[Tensor, Tensor] | None = None

    def new_memory(self, num_rows: int) -> Memory:
        """What is remembered of nothing: for each layer its state, and an LSTM's cell, [B, H]."""
        return tuple(layer.new_memory(num_rows) for layer in self.blocks)

    def forward(self, x: Float[Tensor, "B T I"], memory: Memory) -> tuple[Float[Tensor, "B T W"], Memory]:
        """The last layer's state after each token, and what is remembered after the last."""
        config = self.config
        rates = [*[config.layer_dropout] * (config.num_layers - 1), config.output_dropout]
        x = plain = self._dropped(x, config.input_dropout)
        after = []
        for layer, before, rate in zip(self.blocks, memory, rates, strict=True):
            plain, state = layer(x, before, config.weight_drop if self.training else 0.0)
            x = self._dropped(plain, rate)
            after.append(state)
        self._outputs = (plain, x) if self.keep_outputs else None
        return x, tuple(after)

    def last_outputs(self) -> tuple[Float[Tensor, "B T W"], Float[Tensor, "B T W"]]:
        """The last layer's states in the last pass, before and after dropout; they are given once."""
        assert self._outputs is not None, "set keep_outputs before the pass"
        outputs, self._outputs, self.keep_outputs = self._outputs, None, False
        return outputs

    def _dropped(self, x: Tensor, rate: float) -> Tensor:
        return locked_dropout(x, rate) if self.training and rate else x
