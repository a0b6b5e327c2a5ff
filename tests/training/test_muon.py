"""Newton-Schulz against the singular vectors, Muon against its formula and torch's."""

import pytest
import torch
from torch import nn

from textmill.training import muon
from textmill.training.muon import Muon, newton_schulz

SHAPES = [(1, 8, 8), (3, 5, 16), (2, 17, 4), (1, 1, 6), (4, 64, 48)]


@pytest.fixture(params=[False, True], ids=["fp32", "bf16"])
def tolerance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(muon, "has_fast_bf16", lambda device: request.param)
    return 0.1 if request.param else 1e-4


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_newton_schulz_keeps_singular_vectors(shape: tuple[int, ...], tolerance: float) -> None:
    """By definition each turn applies a x + b x^3 + c x^5 to the singular values and leaves the vectors alone."""
    a, b, c = muon.QUINTIC
    for given, got in zip(normal(*shape), newton_schulz(normal(*shape)).float(), strict=True):
        left, values, right = torch.linalg.svd(given.double(), full_matrices=False)
        values = values / values.norm()
        for _ in range(muon.ITERATIONS):
            values = a * values + b * values**3 + c * values**5
        expected = left @ values.diag() @ right
        assert float((got - expected).abs().max()) < tolerance


def test_newton_schulz_brings_singular_values_near_one(tolerance: float) -> None:
    values = torch.linalg.svdvals(newton_schulz(normal(1, 32, 96)).float())
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3


def test_newton_schulz_of_zero_is_zero() -> None:
    assert float(newton_schulz(torch.zeros(1, 4, 6)).abs().max()) == 0


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.9 brought its Muon")
def test_muon_moves_as_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both round to bf16, in another order of operations."""
    monkeypatch.setattr(muon, "has_fast_bf16", lambda device: True)
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
