"""Muon against its definition and torch's, AdamW against loops, roles and state by name."""

import math

import pytest
import torch
from torch import nn

from textmill.errors import FormatError
from textmill.models import GPT, GPTConfig, Llama, LlamaConfig
from textmill.training import optimizers
from textmill.training.config import TrainingConfig
from textmill.training.optimizers import Muon, Optimizers, newton_schulz, roles

SHAPES = [(1, 8, 8), (3, 5, 16), (2, 17, 4), (1, 1, 6), (4, 64, 48)]


@pytest.fixture(params=[False, True], ids=["fp32", "bf16"])
def tolerance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(optimizers, "has_fast_bf16", lambda device: request.param)
    return 0.1 if request.param else 1e-4


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_newton_schulz_keeps_singular_vectors(shape: tuple[int, ...], tolerance: float) -> None:
    """By definition each turn applies a x + b x^3 + c x^5 to the singular values and leaves the vectors alone."""
    a, b, c = optimizers.QUINTIC
    for given, got in zip(normal(*shape), newton_schulz(normal(*shape)).float(), strict=True):
        left, values, right = torch.linalg.svd(given.double(), full_matrices=False)
        values = values / values.norm()
        for _ in range(optimizers.ITERATIONS):
            values = a * values + b * values**3 + c * values**5
        expected = left @ values.diag() @ right
        assert float((got - expected).abs().max()) < tolerance


def test_newton_schulz_brings_singular_values_near_one(tolerance: float) -> None:
    values = torch.linalg.svdvals(newton_schulz(normal(1, 32, 96)).float())
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3


def test_newton_schulz_of_zero_is_zero() -> None:
    assert float(newton_schulz(torch.zeros(1, 4, 6)).abs().max()) == 0


@pytest.mark.parametrize("shape", [(6, 10), (12, 4)])
def test_muon_by_its_formula(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "has_fast_bf16", lambda device: False)
    weights = [nn.Parameter(normal(*shape, seed=1)), nn.Parameter(normal(*shape, seed=2))]
    expected = [weight.detach().clone() for weight in weights]
    means = [torch.zeros(shape), torch.zeros(shape)]
    muon = Muon(weights, lr=0.1, momentum=0.9, weight_decay=0.2)
    for step in range(3):
        for number, weight in enumerate(weights):
            gradient = normal(*shape, seed=10 * step + number)
            weight.grad = gradient.clone()
            means[number] = 0.9 * means[number] + gradient
            direction = newton_schulz((gradient + 0.9 * means[number])[None])[0]
            scale = math.sqrt(max(1, shape[0] / shape[1]))
            expected[number] = expected[number] * (1 - 0.1 * 0.2) - 0.1 * scale * direction
        muon.step()
    for weight, value in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight.detach(), value, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.9 brought its Muon")
def test_muon_moves_as_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both round to bf16, in another order of operations."""
    monkeypatch.setattr(optimizers, "has_fast_bf16", lambda device: True)
    ours, theirs = nn.Parameter(normal(16, 8)), nn.Parameter(normal(16, 8))
    # its running mean is (1 - momentum) times ours, which the normalisation of the matrix takes out
    makers = (Muon([ours], lr=0.1, momentum=0.9), torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.0))
    for weight, optimizer in zip((ours, theirs), makers, strict=True):
        weight.grad = normal(16, 8, seed=3)
        optimizer.step()
    moved, theirs_moved = ours.detach() - normal(16, 8), theirs.detach() - normal(16, 8)
    assert float((moved - theirs_moved).norm() / theirs_moved.norm()) < 0.06


def test_stacks_of_matrices_move_one_by_one() -> None:
    stack, single = nn.Parameter(normal(3, 4, 5)), nn.Parameter(normal(3, 4, 5)[1].clone())
    for weight, gradient in ((stack, normal(3, 4, 5, seed=1)), (single, normal(3, 4, 5, seed=1)[1])):
        weight.grad = gradient.clone()
        Muon([weight], lr=0.1).step()
    torch.testing.assert_close(stack.detach()[1], single.detach(), rtol=1e-2, atol=1e-3)


def test_weights_without_gradient_stay() -> None:
    weight = nn.Parameter(normal(3, 3))
    Muon([weight]).step()
    assert torch.equal(weight.detach(), normal(3, 3))


def test_roles() -> None:
    tied = roles(GPT(GPTConfig(vocab_size=7, width=4, num_layers=1, num_heads=1, context_length=3)))
    assert tied["embedding.weight"] == "embedding"
    assert tied["trunk.positions.weight"] == "embedding"
    assert {role for name, role in tied.items() if name.endswith("bias") or "norm" in name} == {"vector"}
    assert "head" not in tied.values()
    settings = LlamaConfig(vocab_size=7, width=4, num_layers=1, num_heads=1, context_length=3, tied=False)
    llama = Llama(settings)
    assert roles(llama)["head.weight"] == "head"
    assert {name.split(".")[-2] for name, role in roles(llama).items() if role == "matrix"} >= {"qkv", "out"}
    llama.requires_grad_(False)
    assert roles(llama) == {}


def test_adamw_by_its_formula_with_groups() -> None:
    config = TrainingConfig(optimizer="adamw", learning_rate=0.01, embedding_learning_rate=0.03, weight_decay=0.5)
    role_of = {"table": "embedding", "matrix": "matrix", "bias": "vector"}
    weights = {name: nn.Parameter(normal(3, 2, seed=number)) for number, name in enumerate(role_of)}
    expected = {name: weight.detach().double() for name, weight in weights.items()}
    mean, square = ({name: torch.zeros(3, 2).double() for name in weights} for _ in range(2))
    optimizer = Optimizers(weights, role_of, config)
    for step in range(1, 4):
        for number, (name, weight) in enumerate(weights.items()):
            gradient = normal(3, 2, seed=100 * step + number)
            weight.grad = gradient.clone()
            rate = 0.5 * (0.03 if name == "table" else 0.01)
            mean[name] = 0.9 * mean[name] + 0.1 * gradient
            square[name] = 0.95 * square[name] + 0.05 * gradient**2
            if name == "matrix":
                expected[name] = expected[name] * (1 - rate * 0.5)
            unbiased = mean[name] / (1 - 0.9**step) / ((square[name] / (1 - 0.95**step)).sqrt() + 1e-8)
            expected[name] = expected[name] - rate * unbiased
        assert optimizer.step(0.5) == pytest.approx(0.015)
    for name, weight in weights.items():
        torch.testing.assert_close(weight.detach().double(), expected[name], rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_state_by_name_goes_on_to_the_bit(kind: str) -> None:
    config = TrainingConfig(optimizer=kind)  # type: ignore[arg-type]
    role_of = {"a.weight": "matrix", "b/odd": "vector", "c": "matrix"}

    def made() -> tuple[dict[str, nn.Parameter], Optimizers]:
        shapes = {"a.weight": (4, 3), "b/odd": (5,), "c": (4, 3)}
        weights = {name: nn.Parameter(normal(*shape)) for name, shape in shapes.items()}
        return weights, Optimizers(weights, role_of, config)

    def step(weights: dict[str, nn.Parameter], optimizer: Optimizers, number: int) -> None:
        for weight in weights.values():
            weight.grad = normal(*weight.shape, seed=number)
        optimizer.step(1.0)

    straight, first = made()
    for number in range(2):
        step(straight, first, number)
    saved = {key: value.clone() for key, value in first.state().items()}
    what = {"momentum"} if kind == "muon" else {"step", "exp_avg", "exp_avg_sq"}
    assert {key for key in saved if key.startswith("a.weight/")} == {f"a.weight/{name}" for name in what}
    resumed, second = made()
    for name, weight in resumed.items():
        weight.data.copy_(straight[name].data)
    second.load(saved)
    step(straight, first, 2)
    step(resumed, second, 2)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_state_of_other_parameters() -> None:
    weights = {"a": nn.Parameter(normal(4, 3))}
    with pytest.raises(FormatError, match=r"state holds 'z', which the model lacks.*--fresh"):
        Optimizers(weights, {"a": "matrix"}, TrainingConfig()).load({"z/momentum": torch.zeros(4, 3)})
