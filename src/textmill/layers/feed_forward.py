"""The position-wise feed-forward layer, plain or gated, and the table of its activations.

plain: down(activation(up(x)))                        Vaswani et al. 2017, arXiv:1706.03762, eq. 2
gated: down(activation(gate(x)) * up(x))              Shazeer 2020, arXiv:2002.05202, eq. 6
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from textmill.layers.config import TransformerConfig
from textmill.layers.delta import Delta
from textmill.ops.gated import swiglu, swiglu_linear


def relu2(x: Tensor) -> Tensor:
    """max(x, 0)^2: Primer, So et al. 2021, arXiv:2109.08668."""
    return F.relu(x).square()


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "gelu": (F.gelu, False),
    "gelu_tanh": (partial(F.gelu, approximate="tanh"), False),
    "relu": (F.relu, False),
    "relu2": (relu2, False),
    "swiglu": (F.silu, True),
    "geglu": (F.gelu, True),
    "geglu_tanh": (partial(F.gelu, approximate="tanh"), True),
    "reglu2": (relu2, True),
}
"""A setting's name -> (activation, whether it is gated)."""


class FeedForward(nn.Module):
    """Widens each token, bends it, narrows it again."""

    def __init__(self, config: TransformerConfig, site: str) -> None:
        super().__init__()
        self.activation, self.gated = ACTIVATIONS[config.feed_forward]
        wide, width = config.feed_forward_width, config.width
        if self.gated:
            self.gate = nn.Linear(width, wide, bias=config.bias)
        self.up = nn.Linear(width, wide, bias=config.bias)
        self.down = nn.Linear(wide, width, bias=config.bias)
        self.gate_site, self.up_site, self.down_site = f"{site}.gate", f"{site}.up", f"{site}.down"

    def forward(self, x: Float[Tensor, "batch time width"], delta: Delta) -> Float[Tensor, "batch time width"]:
        up = delta.linear(self.up_site, self.up, x)
        if not self.gated:
            return delta.linear(self.down_site, self.down, self.activation(up))
        gate = delta.linear(self.gate_site, self.gate, x)
        if self.activation is not F.silu:
            return delta.linear(self.down_site, self.down, self.activation(gate) * up)
        if type(self.down) is nn.Linear and type(delta).linear is Delta.linear:
            # nobody else sees the wide product, so it needn't be kept
            return swiglu_linear(gate, up, self.down.weight, self.down.bias)
        return delta.linear(self.down_site, self.down, swiglu(gate, up))
