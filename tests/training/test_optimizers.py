"""Every optimiser against its paper's equations in float64 NumPy, and their state by name."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from textmill.errors import ConfigError, FormatError
from textmill.training import muon
from textmill.training.config import GroupRule, TrainingConfig
from textmill.training.optimizers import OPTIMIZERS, Optimizers

STEPS = 20
Array = np.ndarray
State = dict[str, Array]

# --- the directions u of x <- x - rate u, from the gradient g of step t = 1, 2, ...; `s` holds what is remembered


def sgd(g: Array, s: State, t: int, c: TrainingConfig) -> Array:
    """Polyak 1964; Nesterov's as in Sutskever et al. 2013, section 2, with the look-ahead in the weights."""
    s["m"] = c.momentum * s.get("m", 0.0) + g
    return g + c.momentum * s["m"] if c.nesterov else s["m"]


def adagrad(g: Array, s: State, t: int, c: TrainingConfig) -> Array:
    """Duchi et al. 2011, with the diagonal matrix."""
    s["v"] = s.get("v", 0.0) + g**2
    return g / (np.sqrt(s["v"]) + c.epsilon)


def rmsprop(g: Array, s: State, t: int, c: TrainingConfig) -> Array:
    """Tieleman and Hinton 2012, lecture 6.5."""
    s["v"] = c.betas[1] * s.get("v", 0.0) + (1 - c.betas[1]) * g**2
    return g / (np.sqrt(s["v"]) + c.epsilon)


def adam(g: Array, s: State, t: int, c: TrainingConfig) -> Array:
    """Kingma and Ba 2014, algorithm 1."""
    s["m"] = c.betas[0] * s.get("m", 0.0) + (1 - c.betas[0]) * g
    s["v"] = c.betas[1] * s.get("v", 0.0) + (1 - c.betas[1]) * g**2
    return s["m"] / (1 - c.betas[0] ** t) / (np.sqrt(s["v"] / (1 - c.betas[1] ** t)) + c.epsilon)


def lion(g: Array, s: State, t: int, c: TrainingConfig) -> Array:
    """Chen et al. 2023, algorithm 2."""
    m = s.get("m", np.zeros_like(g))
    s["m"] = c.betas[1] * m + (1 - c.betas[1]) * g
    return np.sign(c.betas[0] * m + (1 - c.betas[0]) * g)


def muons(g: Array, s: State, t: int, c: TrainingConfig) -> Array:
    """Jordan et al. 2024: Newton-Schulz acts on the singular values alone."""
    s["m"] = c.momentum * s.get("m", 0.0) + g
    left, values, right = np.linalg.svd(g + c.momentum * s["m"], full_matrices=False)
    values = values / np.linalg.norm(values, axis=-1, keepdims=True)
    for _ in range(muon.ITERATIONS):
        values = sum(factor * values**power for factor, power in zip(muon.QUINTIC, (1, 3, 5), strict=True))
    return math.sqrt(max(1, g.shape[-2] / g.shape[-1])) * (left * values[..., None, :]) @ right


DEFINITIONS: dict[str, Callable[[Array, State, int, TrainingConfig], Array]] = {
    "sgd": sgd, "adagrad": adagrad, "rmsprop": rmsprop, "adam": adam, "adamw": adam, "lion": lion, "muon": muons,
}  # fmt: skip


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def settings(kind: str, **changes: Any) -> TrainingConfig:
    return TrainingConfig(**({"optimizer": kind, "learning_rate": 0.01, "matrix_learning_rate": 0.02} | changes))


def test_every_optimizer_has_its_definition() -> None:
    assert DEFINITIONS.keys() == OPTIMIZERS.keys()


VARIANTS = [
    {"weight_decay": 0.0},
    {"weight_decay": 0.3},
    {"weight_decay": 0.0, "l1": 0.05, "l2": 0.4},
    {"weight_decay": 0.2, "l2": 0.4, "betas": (0.8, 0.99), "momentum": 0.7, "epsilon": 1e-3},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=["plain", "decay", "penalties", "all"])
@pytest.mark.parametrize("kind", DEFINITIONS)
@pytest.mark.parametrize("shape", [(6, 10), (12, 4), (3, 5, 4)])
def test_by_its_equations(
    kind: str, shape: tuple[int, ...], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "has_fast_bf16", lambda device: False)
    if kind == "adam":
        changes = changes | {"weight_decay": 0.0}
    config = settings(kind, **changes)
    # two of one shape: Muon takes them as one batch
    weights = {name: nn.Parameter(normal(*shape, seed=seed)) for name, seed in (("a", 1), ("b", 2))}
    expected = {name: weight.detach().double().numpy() for name, weight in weights.items()}
    states: dict[str, State] = {"a": {}, "b": {}}
    optimizers = Optimizers(weights, dict.fromkeys(weights, "matrix"), config)
    highest = 0.02 if kind == "muon" else 0.01
    for t in range(1, STEPS + 1):
        multiplier = t / STEPS
        for number, (name, weight) in enumerate(weights.items()):
            gradient = normal(*shape, seed=10 * t + number)
            weight.grad = gradient.clone()
            x, rate = expected[name], highest * multiplier
            g = gradient.double().numpy() + config.l1 * np.sign(x) + config.l2 * x
            expected[name] = (1 - rate * config.decay) * x - rate * DEFINITIONS[kind](g, states[name], t, config)
        assert optimizers.step(multiplier) == pytest.approx(highest * multiplier)
    for name, weight in weights.items():
        np.testing.assert_allclose(weight.detach().numpy(), expected[name], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("changes", [{"nesterov": False}, {"momentum": 0.0}])
def test_sgd_without_nesterov_and_without_momentum(changes: dict[str, Any]) -> None:
    config = settings("sgd", weight_decay=0.0, **changes)
    weight, x, state = nn.Parameter(normal(7)), normal(7).double().numpy(), State()
    optimizers = Optimizers({"w": weight}, {"w": "vector"}, config)
    for t in range(1, STEPS + 1):
        weight.grad = normal(7, seed=t)
        x = x - 0.01 * sgd(normal(7, seed=t).double().numpy(), state, t, config)
        optimizers.step(1.0)
    np.testing.assert_allclose(weight.detach().numpy(), x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["sgd", "lion", "rmsprop"])
def test_l2_is_decoupled_decay_for_plain_sgd_alone(kind: str) -> None:
    def trained(**changes: Any) -> torch.Tensor:
        weight = nn.Parameter(normal(3, 4))
        optimizers = Optimizers({"w": weight}, {"w": "matrix"}, settings(kind, momentum=0.0, **changes))
        for t in range(STEPS):
            weight.grad = normal(3, 4, seed=100 + t)
            optimizers.step(1.0)
        return weight.detach()

    same = torch.allclose(trained(l2=0.3, weight_decay=0.0), trained(weight_decay=0.3), atol=1e-5)
    assert same == (kind == "sgd")


def test_penalties_leave_vectors_alone() -> None:
    weights = {role: nn.Parameter(torch.full((2, 2), 3.0)) for role in ("matrix", "embedding", "head", "vector")}
    optimizers = Optimizers(weights, {role: role for role in weights}, settings("adamw", l1=0.5, l2=0.1))
    for weight in weights.values():
        weight.grad = torch.zeros(2, 2)
    optimizers.step(1.0)
    found = {role: float(weight.grad[0, 0]) for role, weight in weights.items() if weight.grad is not None}
    assert found == pytest.approx({"matrix": 0.8, "embedding": 0.8, "head": 0.8, "vector": 0.0})


def test_groups_follow_the_settings() -> None:
    config = TrainingConfig(
        learning_rate=0.01, matrix_learning_rate=0.02, embedding_learning_rate=0.03, head_learning_rate=0.04,
        weight_decay=0.1, decay_embeddings=True,
    )  # fmt: skip
    role_of = {"m": "matrix", "e": "embedding", "h": "head", "v": "vector"}
    weights = {name: nn.Parameter(normal(2, 2)) for name in role_of}
    found = {
        optimizer.names[weight]: (group["highest_lr"], group["weight_decay"])
        for optimizer in [Optimizers(weights, role_of, config)]
        for group in optimizer.groups
        for weight in group["params"]
    }
    assert found == {"m": (0.02, 0.1), "e": (0.03, 0.1), "h": (0.04, 0.1), "v": (0.01, 0.0)}


def test_a_rule_takes_a_matrix_away_from_muon() -> None:
    weights = {name: nn.Parameter(normal(4, 3)) for name in ("router.weight", "up.weight")}
    config = TrainingConfig(groups=(GroupRule(pattern="^router", role="vector"),))
    optimizers = Optimizers(weights, dict.fromkeys(weights, "matrix"), config)
    found = {type(part).__name__: [optimizers.names[w] for g in part.param_groups for w in g["params"]]
             for part in optimizers.parts}  # fmt: skip
    assert found == {"AdamW": ["router.weight"], "Muon": ["up.weight"]}


def test_muon_refuses_what_is_no_matrix() -> None:
    config = TrainingConfig(groups=(GroupRule(pattern="norm", role="matrix"),))
    with pytest.raises(ConfigError, match=r"makes 'norm' a matrix for Muon, its shape is \[5\].*of matrices alone"):
        Optimizers({"norm": nn.Parameter(normal(5))}, {"norm": "vector"}, config)


STATE = {
    "sgd": {"momentum_buffer"}, "adagrad": {"step", "sum"}, "rmsprop": {"step", "square_avg"}, "lion": {"momentum"},
    "adam": {"step", "exp_avg", "exp_avg_sq"}, "adamw": {"step", "exp_avg", "exp_avg_sq"}, "muon": {"momentum"},
}  # fmt: skip


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_state_by_name_goes_on_to_the_bit(kind: str) -> None:
    config = settings(kind, l2=0.01)
    role_of = {"a.weight": "matrix", "b/odd": "vector", "c": "matrix", "late": "matrix"}

    def made() -> tuple[dict[str, nn.Parameter], Optimizers]:
        shapes = {"a.weight": (4, 3), "b/odd": (5,), "c": (4, 3), "late": (4, 3)}
        weights = {name: nn.Parameter(normal(*shape)) for name, shape in shapes.items()}
        return weights, Optimizers(weights, role_of, config)

    def step(weights: dict[str, nn.Parameter], optimizer: Optimizers, number: int) -> None:
        for name, weight in weights.items():
            # one that meets its first gradient after the checkpoint
            weight.grad = normal(*weight.shape, seed=number) if name != "late" or number > 2 else None
        optimizer.step(1.0)

    straight, first = made()
    for number in range(2):
        step(straight, first, number)
    saved = {key: value.clone() for key, value in first.state().items()}
    assert {key for key in saved if key.startswith("a.weight/")} == {f"a.weight/{name}" for name in STATE[kind]}
    resumed, second = made()
    for name, weight in resumed.items():
        weight.data.copy_(straight[name].data)
    second.load(saved)
    for number in (2, 3, 4):
        step(straight, first, number)
        step(resumed, second, number)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert not torch.equal(straight["late"], normal(4, 3))


def test_state_of_other_parameters() -> None:
    weights = {"a": nn.Parameter(normal(4, 3))}
    with pytest.raises(FormatError, match=r"state holds 'z', which the model lacks.*--fresh"):
        Optimizers(weights, {"a": "matrix"}, TrainingConfig()).load({"z/momentum": torch.zeros(4, 3)})
