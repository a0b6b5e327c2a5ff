"""The optimisers by one table, and their state by parameter name.

A step is the same for all but for the direction u, which the optimiser makes of the gradients it has seen:

    G <- G + l1 sign(x) + l2 x         penalties, `training.penalties`
    x <- (1 - rate * decay) x          decoupled decay
    x <- x - rate u                    u by the table

SGD, Adagrad, RMSProp, Adam and AdamW are torch's own kernels, fused where it has them; Lion and Muon are ours. Each is
held in the tests to its paper's equations, which `docs/methods/optimizers.md` lists.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from textmill.errors import ConfigError, FormatError
from textmill.training.config import TrainingConfig
from textmill.training.groups import ParameterSettings, parameter_settings
from textmill.training.lion import Lion
from textmill.training.muon import Muon
from textmill.training.penalties import add_penalties

Group = dict[str, Any]
Make = Callable[[list[Group], TrainingConfig], torch.optim.Optimizer]


def _sgd(groups: list[Group], config: TrainingConfig) -> torch.optim.Optimizer:
    # torch wants momentum for Nesterov's step, which without momentum is the plain one
    nesterov = config.nesterov and config.momentum > 0
    optimizer = torch.optim.SGD(groups, momentum=config.momentum, nesterov=nesterov, fused=True)
    if config.momentum:
        # torch makes it of the first gradient, which is the same; but all weights of a group must have one, or none
        for weight in _weights(groups):
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer


def _adagrad(groups: list[Group], config: TrainingConfig) -> torch.optim.Optimizer:
    on_cpu = all(weight.is_cpu for weight in _weights(groups))
    return torch.optim.Adagrad(groups, eps=config.epsilon, fused=True if on_cpu else None)


OPTIMIZERS: Mapping[str, Make] = {
    "sgd": _sgd,
    "adagrad": _adagrad,
    "rmsprop": lambda groups, c: torch.optim.RMSprop(groups, alpha=c.betas[1], eps=c.epsilon, foreach=True),
    "adam": lambda groups, c: torch.optim.Adam(groups, betas=_pair(c), eps=c.epsilon, fused=True),
    "adamw": lambda groups, c: torch.optim.AdamW(groups, betas=_pair(c), eps=c.epsilon, fused=True),
    "lion": lambda groups, c: Lion(groups, betas=_pair(c)),
    "muon": lambda groups, c: Muon(groups, momentum=c.momentum),
}
"""How each is made of groups with their own `lr` and `weight_decay`."""

DECAYS_ITSELF = {"adamw", "lion", "muon"}
"""Those whose step holds the decoupled decay. torch's others would add `weight_decay` to the gradient; theirs stays 0,
and the decay is done here."""


class Optimizers:
    """The optimisers of a run over named weights, stepped as one.

    Raises:
        ConfigError: a rule of `config.groups` matches no weight, or gives Muon what is no matrix.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], role_of: Mapping[str, str], config: TrainingConfig) -> None:
        self.names: dict[Tensor, str] = {weight: name for name, weight in weights.items()}
        self.config = config
        found = parameter_settings({name: role_of[name] for name in weights}, config)
        self.penalised = [weight for name, weight in weights.items() if found[name].role != "vector"]
        groups: dict[tuple[str, ParameterSettings], Group] = {}
        for name, weight in weights.items():
            settings = found[name]
            kind = _kind(name, weight, settings.role, config)
            groups.setdefault((kind, settings), _new_group(kind, settings))["params"].append(weight)
        self.parts: list[torch.optim.Optimizer] = []
        for kind in dict.fromkeys(kind for kind, _ in groups):
            members = [group for (other, _), group in groups.items() if other == kind]
            self.parts.append(OPTIMIZERS[kind](members, config))
        self.groups: list[Group] = [group for part in self.parts for group in part.param_groups]

    def step(self, multiplier: float) -> float:
        """Updates all weights with `multiplier` times their highest rates; the largest rate used.

        The penalties' gradients are added to the weights' gradients here.
        """
        for group in self.groups:
            group["lr"] = group["highest_lr"] * multiplier
        add_penalties(self.penalised, l1=self.config.l1, l2=self.config.l2)
        self._decay()
        for part in self.parts:
            part.step()
        return max(float(group["lr"]) for group in self.groups)

    @torch.no_grad()
    def _decay(self) -> None:
        """Decoupled decay for those that don't do it themselves, before the step, as AdamW does it."""
        for group in self.groups:
            held = [weight for weight in group["params"] if weight.grad is not None]
            if group["own_decay"] and held:
                torch._foreach_mul_(held, 1 - group["lr"] * group["own_decay"])

    def state(self) -> dict[str, Tensor]:
        """All state, flat: `<parameter name>/<what>` -> tensor."""
        return {
            f"{self.names[weight]}/{key}": value
            for part in self.parts
            for weight, values in part.state.items()
            for key, value in values.items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes the state up again.

        Raises:
            FormatError: it belongs to other parameters.
        """
        by_name: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, what = key.rpartition("/")
            by_name.setdefault(name, {})[what] = value
        unknown = sorted(set(by_name) - set(self.names.values()))
        if unknown:
            raise FormatError(f"the optimiser's state holds {unknown[0]!r}, which the model lacks", fix="use --fresh")
        for part in self.parts:
            for group in part.param_groups:
                for weight in group["params"]:
                    saved = by_name.get(self.names[weight], {})
                    # what has no state yet makes it at its first gradient
                    if saved:
                        part.state[weight] = {
                            what: _placed(what, value, weight, group) for what, value in saved.items()
                        }


def _kind(name: str, weight: Tensor, role: str, config: TrainingConfig) -> str:
    """Which optimiser of the table trains this weight."""
    if config.optimizer != "muon":
        return config.optimizer
    if role == "matrix" and weight.dim() < 2:
        raise ConfigError(
            f"training.groups makes {name!r} a matrix for Muon, its shape is {list(weight.shape)}",
            fix="give matrix as the role of matrices alone",
        )
    return "muon" if role == "matrix" else "adamw"


def _new_group(kind: str, settings: ParameterSettings) -> Group:
    itself = kind in DECAYS_ITSELF
    return {
        "params": [],
        "lr": settings.learning_rate,
        "highest_lr": settings.learning_rate,
        "weight_decay": settings.weight_decay if itself else 0.0,
        "own_decay": 0.0 if itself else settings.weight_decay,
    }


def _placed(what: str, value: Tensor, weight: Tensor, group: Group) -> Tensor:
    """A copy where the optimiser looks for it: kernels that aren't fused count their steps on the CPU."""
    return value.to("cpu" if what == "step" and not group.get("fused") else weight.device, copy=True)


def _weights(groups: list[Group]) -> list[Tensor]:
    return [weight for group in groups for weight in group["params"]]


def _pair(config: TrainingConfig) -> tuple[float, float]:
    return config.betas[0], config.betas[1]
