"""A mixture of experts in the place of the feed-forward layer.

y = sum over the k experts e that the router prefers of weight_e(x) feed_forward_e(x)

Shazeer et al. 2017, arXiv:1701.06538, eq. 1. One choice: Switch, Fedus et al. 2021, arXiv:2101.03961. Two choices whose
weights sum to 1: Mixtral, Jiang et al. 2024, arXiv:2401.04088. A shared expert: DeepSeekMoE, Dai et al. 2024,
arXiv:2401.06066.

Legend: B batch, T time, W width, E experts, F feed-forward width, N rows (token, choice), sorted by expert.

The experts' matrices are stacked along a first axis, so that a process can hold a part of them.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textmill.layers.attention import Pass
from textmill.layers.config import TransformerConfig
from textmill.layers.delta import Delta
from textmill.layers.feed_forward import ACTIVATIONS, FeedForward
from textmill.layers.routing import Routed, Router, choose
from textmill.ops.experts import Groups, combine, group_tokens, grouped_linear, mixture


class StackedLinear(nn.Module):
    """One linear layer an expert: weight [E, outputs, inputs], bias [E, outputs] or None."""

    def __init__(self, num_experts: int, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(num_experts, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(num_experts, out_features)) if bias else None
        # as torch draws a linear layer; a language model draws its own
        nn.init.uniform_(self.weight, -1 / math.sqrt(in_features), 1 / math.sqrt(in_features))

    def forward(self, x: Float[Tensor, "N inputs"], groups: Groups) -> Float[Tensor, "N outputs"]:
        # under autocast the rows are of another type than the weights
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return grouped_linear(x, self.weight.to(x.dtype), bias, groups)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, in_features={self.in_features}, out_features={self.out_features}"


class GroupedCall(nn.Module):
    """A stack together with the groups of one pass, called like a linear layer on the N sorted rows.

    `Delta.linear` gets this for the experts' sites; a method that adds to experts finds `stack` and `groups` here.
    """

    def __init__(self, stack: StackedLinear, groups: Groups) -> None:
        super().__init__()
        self.stack, self.groups = stack, groups

    def forward(self, x: Float[Tensor, "N inputs"]) -> Float[Tensor, "N outputs"]:
        y: Tensor = self.stack(x, self.groups)
        return y


class Experts(nn.Module):
    """A router, and E feed-forward layers of which each token uses k."""

    def __init__(self, config: TransformerConfig, site: str, layer: int) -> None:
        super().__init__()
        assert config.experts is not None, "a trunk without experts has a FeedForward here"
        self.settings, self.layer = config.experts, layer
        self.activation, gated = ACTIVATIONS[config.feed_forward]
        num_experts, width, wide = self.settings.num_experts, config.width, config.feed_forward_width
        self.router = Router(width, num_experts)
        self.gate = StackedLinear(num_experts, width, wide, bias=config.bias) if gated else None
        self.up = StackedLinear(num_experts, width, wide, bias=config.bias)
        self.down = StackedLinear(num_experts, wide, width, bias=config.bias)
        self.shared: FeedForward | None = None
        if self.settings.shared_width is not None:
            plain = replace(config, experts=None, feed_forward_width=self.settings.shared_width)
            self.shared = FeedForward(plain, f"{site}.shared")
        self.site = site

    def forward(self, x: Float[Tensor, "B T W"], carried: Pass) -> Float[Tensor, "B T W"]:
        """What the experts add to each token; padding is not routed and gets zeros."""
        rows, real = x.flatten(0, 1), None
        if carried.real is not None:
            real = carried.real.flatten().nonzero().squeeze(1)
            rows = rows[real]
        y = self._routed(rows, carried)
        if self.shared is not None:
            y = y + self.shared(rows.unsqueeze(0), carried.delta).squeeze(0)
        if real is not None:
            y = y.new_zeros(x.shape[0] * x.shape[1], x.shape[2]).index_copy(0, real, y)
        return y.view_as(x)

    def _routed(self, rows: Float[Tensor, "T W"], carried: Pass) -> Float[Tensor, "T W"]:
        settings, seen = self.settings, rows
        if self.training and settings.jitter:
            seen = rows * torch.empty_like(rows).uniform_(1 - settings.jitter, 1 + settings.jitter)
        logits = carried.delta.linear(f"{self.site}.router", self.router, seen)
        weights, experts = choose(logits, settings.top_k, normalise=settings.normalise)
        capacity = None
        if self.training and settings.capacity_factor is not None:
            capacity = math.ceil(settings.capacity_factor * experts.numel() / settings.num_experts)
        groups = group_tokens(experts, settings.num_experts, capacity)
        if not carried.second:
            carried.routed.append(Routed(self.layer, logits, experts, groups.num_dropped))
        if torch.is_autocast_enabled(rows.device.type):
            rows = rows.to(torch.get_autocast_dtype(rows.device.type))
        if self.up.bias is None and type(carried.delta).linear is Delta.linear:
            stacks = (self.gate, self.up, self.down)
            gate, up, down = (None if stack is None else stack.weight.to(rows.dtype) for stack in stacks)
            assert up is not None
            assert down is not None
            return mixture(rows, weights, groups, (gate, up, down), self.activation)
        return self._step_by_step(rows, weights, groups, carried.delta)

    def _step_by_step(self, rows: Tensor, weights: Tensor, groups: Groups, delta: Delta) -> Tensor:
        """The same through `delta.linear`, with every product kept for its gradient."""
        rows = rows[groups.tokens]
        wide = delta.linear(f"{self.site}.up", GroupedCall(self.up, groups), rows)
        if self.gate is None:
            wide = self.activation(wide)
        else:
            wide = self.activation(delta.linear(f"{self.site}.gate", GroupedCall(self.gate, groups), rows)) * wide
        return combine(delta.linear(f"{self.site}.down", GroupedCall(self.down, groups), wide), weights, groups)


def num_idle_parameters(model: nn.Module) -> int:
    """Numbers that a token's pass doesn't touch: the experts that it doesn't choose.

    A model's work per token follows from all its parameters less these.
    """
    idle = 0
    for layer in model.modules():
        if isinstance(layer, Experts):
            stacked = sum(p.numel() for p in layer.parameters()) - layer.router.weight.numel()
            stacked -= 0 if layer.shared is None else sum(p.numel() for p in layer.shared.parameters())
            idle += stacked // layer.settings.num_experts * (layer.settings.num_experts - layer.settings.top_k)
    return idle
