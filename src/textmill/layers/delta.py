"""`Delta`: the four places where a light fine-tuning method enters a trunk.

A trunk calls a `Delta` at every matrix product, at every sub-layer's output, once a layer for extra keys and values,
and once a pass for extra input vectors. This base class does nothing at each of them, so a trunk without fine-tuning
runs the same code as one with it.

A site is the dotted name of a module inside the trunk, for example `blocks.0.attention.qkv`, so that
`trunk.get_submodule(site)` is the layer in question.
"""

from jaxtyping import Float
from torch import Tensor, nn


class Delta(nn.Module):
    """The identity at all four hooks; a method overrides the ones it needs."""

    def linear(self, site: str, layer: nn.Module, x: Float[Tensor, "... inputs"]) -> Tensor:  # noqa: ARG002
        """The matrix product at `site` (LoRA, QLoRA, BitFit, IA3)."""
        return layer(x)

    def stream(self, site: str, x: Float[Tensor, "batch time width"]) -> Tensor:  # noqa: ARG002
        """A sub-layer's output, before it joins the residual stream (bottleneck adapters)."""
        return x

    def kv(self, layer: int) -> tuple[Tensor, Tensor] | None:  # noqa: ARG002
        """Extra keys and values of one layer, each [kv_heads, extra, head_dim] or [batch, kv_heads, extra, head_dim].

        Every token sees them; they carry no position (prefix tuning, P-tuning v2).
        """
        return None

    def prompt(self) -> Tensor | None:
        """Extra input vectors, [extra, width] or [batch, extra, width], that come before the text (prompt tuning).

        They take the first positions; the trunk drops their outputs.
        """
        return None


IDENTITY = Delta()
"""The one that changes nothing; it holds no weights, so every trunk may share it."""
