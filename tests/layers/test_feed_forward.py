"""The feed-forward layer against its two formulas."""

import pytest
import torch
import torch.nn.functional as F

from textmill.layers.config import TransformerConfig
from textmill.layers.delta import IDENTITY, Delta
from textmill.layers.feed_forward import ACTIVATIONS, FeedForward

BENT = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "relu": lambda x: x.clamp(min=0),
    "relu2": lambda x: x.clamp(min=0) ** 2,
    "swiglu": lambda x: x * torch.sigmoid(x),
}
BENT |= {"geglu": BENT["gelu"], "geglu_tanh": BENT["gelu_tanh"], "reglu2": BENT["relu2"]}


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_formula(name: str) -> None:
    torch.manual_seed(0)
    config = TransformerConfig(
        num_layers=1, width=6, num_heads=1, num_kv_heads=1, head_dim=6, feed_forward_width=10, context_length=4,
        feed_forward=name,  # type: ignore[arg-type]
    )  # fmt: skip
    layer = FeedForward(config, "blocks.0.feed_forward")
    x = torch.randn(2, 3, 6)
    wide = BENT[name](layer.gate(x)) * layer.up(x) if layer.gated else BENT[name](layer.up(x))
    torch.testing.assert_close(layer(x, IDENTITY), layer.down(wide))


class Doubled(Delta):
    """A light method that doubles what each product makes."""

    def linear(self, site: str, layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        return 2 * layer(x)


@pytest.mark.parametrize("name", ["gelu", "swiglu", "geglu"])
def test_a_delta_is_asked_at_every_product(name: str) -> None:
    torch.manual_seed(0)
    config = TransformerConfig(
        num_layers=1, width=6, num_heads=1, num_kv_heads=1, head_dim=6, feed_forward_width=10, context_length=4,
        feed_forward=name,  # type: ignore[arg-type]
    )  # fmt: skip
    layer = FeedForward(config, "blocks.0.feed_forward")
    x = torch.randn(2, 3, 6)
    wide = BENT[name](2 * layer.gate(x)) * (2 * layer.up(x)) if layer.gated else BENT[name](2 * layer.up(x))
    torch.testing.assert_close(layer(x, Doubled()), 2 * layer.down(wide))
