"""How tokens choose their experts, the two losses that keep the choice healthy, and the log of one pass.

Legend: T tokens, W width, E experts, k choices a token. p = softmax of a token's logits over the experts.

balance: E sum over experts of f_i P_i, with f_i the share of all choices that fall on expert i, and P_i the mean of p_i
    over the tokens. 1 when all are equal, up to E / k when k experts take all.    Fedus et al. 2021, arXiv:2101.03961,
    eq. 4 to 6. There k = 1; for more choices f is divided by k here, so that 1 stays the best value.
router z: the mean over the tokens of (log of the sum of exp(logits))^2.   Zoph et al. 2022, arXiv:2202.08906, eq. 5
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class Router(nn.Linear):
    """Logits in at least fp32, whatever the types of input and weights: bf16 would turn near choices into ties."""

    def __init__(self, width: int, num_experts: int) -> None:
        super().__init__(width, num_experts, bias=False)

    def forward(self, x: Float[Tensor, "*rows W"]) -> Float[Tensor, "*rows E"]:
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.to(dtype), self.weight.to(dtype))


def choose(
    logits: Float[Tensor, "T E"], top_k: int, *, normalise: bool
) -> tuple[Float[Tensor, "T k"], Int[Tensor, "T k"]]:
    """(weights, experts) of each token's choices, best first.

    >>> logits = torch.tensor([[1.0, 3.0, 2.0]])
    >>> [part.tolist() for part in choose(logits, 2, normalise=True)]  # e^3 / (e^3 + e^2) and the rest
    [[[0.7310585975646973, 0.2689414322376251]], [[1, 2]]]
    """
    best, experts = logits.topk(top_k, dim=-1)
    weights = best.softmax(-1) if normalise else logits.softmax(-1).gather(1, experts)
    return weights, experts


def balance_loss(logits: Float[Tensor, "T E"], experts: Int[Tensor, "T k"]) -> Float[Tensor, ""]:
    """T times the balance loss: a sum, so that parts of a batch add up to the batch's, each balanced within itself.

    >>> experts = torch.tensor([[0], [0], [1], [1]])
    >>> balance_loss(torch.zeros(4, 2), experts).item()  # all equal: 1 a token
    4.0
    """
    num_tokens, num_experts = logits.shape
    chosen = torch.bincount(experts.reshape(-1), minlength=num_experts).to(logits.dtype)
    # T E sum of (chosen_i / T k) (p_i summed / T)
    total = (chosen * logits.softmax(-1).sum(0)).sum()
    return total * (num_experts / max(1, num_tokens * experts.shape[1]))


def router_z_loss(logits: Float[Tensor, "T E"]) -> Float[Tensor, ""]:
    """The squared log normalisers of the tokens, summed.

    >>> round(router_z_loss(torch.zeros(3, 2)).item(), 6)  # 3 log(2)^2
    1.441359
    """
    return logits.logsumexp(-1).square().sum()


@dataclass(frozen=True, slots=True)
class Routed:
    """What one layer's router did in one pass."""

    layer: int
    logits: Float[Tensor, "T E"]
    experts: Int[Tensor, "T k"]
    num_dropped: int
    """Choices left out because their expert was full."""


@dataclass(frozen=True, slots=True)
class ExpertLoad:
    """How one layer's tokens were spread in the last pass."""

    layer: int
    share: Float[Tensor, " E"]
    """The part of all choices that fell on each expert; the parts sum to 1. Near 0: a dead expert."""
    dropped: float
    """The part of all choices that was left out because their expert was full."""


@dataclass(slots=True)
class RoutingLog:
    """The routers' doings in the last pass. A copy of it is empty: its tensors belong to the pass's gradient."""

    layers: Sequence[Routed] = field(default_factory=list)

    def __deepcopy__(self, memo: dict[int, Any]) -> "RoutingLog":
        return RoutingLog()

    def __reduce__(self) -> tuple[type["RoutingLog"], tuple[()]]:
        return RoutingLog, ()

    def losses(self) -> dict[str, Tensor]:
        """`balance` and `router_z`, each summed over tokens and layers; empty without experts."""
        if not self.layers:
            return {}
        balance = [balance_loss(routed.logits, routed.experts) for routed in self.layers]
        z = [router_z_loss(routed.logits) for routed in self.layers]
        return {"balance": torch.stack(balance).sum(), "router_z": torch.stack(z).sum()}

    @torch.no_grad()
    def load(self) -> list[ExpertLoad]:
        """One entry a layer with experts."""
        loads = []
        for routed in self.layers:
            num_experts, num_choices = routed.logits.shape[1], max(1, routed.experts.numel())
            chosen = torch.bincount(routed.experts.reshape(-1), minlength=num_experts)
            loads.append(ExpertLoad(routed.layer, chosen / num_choices, routed.num_dropped / num_choices))
        return loads
