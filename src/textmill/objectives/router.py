"""The losses that keep a mixture of experts healthy, beside any objective."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from textmill.errors import ConfigError
from textmill.objectives.base import Figures, Objective, measured, token_keys


class WithRouterLosses:
    """An objective, and the losses that the model's routers make on its way: `balance` and `router_z`.

    `WithRouterLosses(NextToken(), balance=0.01, router_z=0.001)` is the loss of Switch and ST-MoE; the objective may
    be any that passes once through the trunk. Each loss is summed over tokens and layers and divided by the tokens of
    the batch, so the best balance is the number of layers with experts. `layers.routing` has the formulas.

    Balance is taken within each part of a batch that is cut, since that is what its experts see at once.

    Raises:
        ConfigError: a negative weight; when called, a model without experts.
    """

    def __init__(self, objective: Objective, *, balance: float = 0.01, router_z: float = 0.001) -> None:
        self.objective = objective
        self.routers = {"balance": balance, "router_z": router_z}
        for name, weight in self.routers.items():
            if not weight >= 0:
                raise ConfigError(f"the weight of {name!r} must be >= 0, got {weight}", fix="use 0 to leave it out")
        self.routers = {name: weight for name, weight in self.routers.items() if weight}

    @property
    def weights(self) -> Mapping[str, float]:
        return {**self.objective.weights, **self.routers}

    @property
    def token_keys(self) -> tuple[str, ...]:
        return token_keys(self.objective)

    def counts(self, batch: Any) -> Mapping[str, int]:
        """The objective's counts; for the routers' losses, the tokens that the model reads."""
        return {**self.objective.counts(batch), **dict.fromkeys(self.routers, int(batch.tokens.size))}

    def __call__(self, model: Any, batch: Any) -> Mapping[str, Tensor]:
        """The losses: sums in nats, and the routers' sums over tokens."""
        losses = self.objective(model, batch)
        return {**losses, **self._of_routers(model)}

    def measure(self, model: Any, batch: Any) -> Figures:
        """What the objective reports, and the routers' losses."""
        losses, right = measured(self.objective, model, batch)
        return {**losses, **self._of_routers(model)}, right

    def _of_routers(self, model: Any) -> Mapping[str, Tensor]:
        losses = model.trunk.router_losses() if has_experts(model) else {}
        if not losses:
            raise ConfigError(
                "balance and router_z are losses of routers, and the model has no experts",
                fix="train it with the plain objective, or give it experts",
            )
        return {name: losses[name] for name in self.routers}

    def __repr__(self) -> str:
        return f"WithRouterLosses({self.objective!r}, {', '.join(f'{k}={v}' for k, v in self.routers.items())})"


def has_experts(model: Any) -> bool:
    """Whether the model's trunk is a Transformer with experts."""
    return getattr(getattr(model, "trunk_config", None), "experts", None) is not None


def with_router_losses(objective: Objective, model: Any) -> Objective:
    """The objective with the routers' losses, weighted as the model's settings say; as it is for a model without."""
    if not has_experts(model):
        return objective
    experts = model.trunk_config.experts
    return WithRouterLosses(objective, balance=experts.balance, router_z=experts.router_z)
