"""The kernels and their gradients against the definition in float64."""

import pytest
import torch

from textmill.ops.gated import cpu, reference, swiglu, swiglu_linear

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 8e-3}


def inputs(shape: tuple[int, ...], dtype: torch.dtype, width: int = 3) -> list[torch.Tensor]:
    """Gate, up, weight and bias."""
    generator = torch.Generator().manual_seed(sum(shape))
    shapes = [shape, shape, (width, shape[-1]), (width,)]
    return [(2 * torch.randn(s, generator=generator)).to(dtype).requires_grad_() for s in shapes]


def distance(ours: torch.Tensor, truth: torch.Tensor) -> float:
    return float((ours.detach().double() - truth.detach()).norm() / truth.detach().norm().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1,), (7, 13), (2, 3, 64), (3, cpu.PART + 1)])
def test_swiglu_is_the_definition(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    parts = inputs(shape, dtype)[:2]
    exact = [part.detach().double().requires_grad_() for part in parts]
    y, truth = swiglu(*parts), reference.swiglu(*exact)
    assert y.dtype == dtype
    assert distance(y, truth) < TOLERANCE[dtype]
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    truths = torch.autograd.grad(truth, exact, grad.double())
    for ours, its in zip(torch.autograd.grad(y, parts, grad), truths, strict=True):
        assert distance(ours, its) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1,), (7, 13), (2, 3, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_swiglu_linear_is_the_definition(shape: tuple[int, ...], dtype: torch.dtype, bias: bool) -> None:
    parts = inputs(shape, dtype)
    if not bias:
        parts[3] = torch.zeros(3, dtype=dtype)
    used = parts if bias else parts[:3]
    exact = [part.detach().double().requires_grad_(part.requires_grad) for part in parts]
    y, truth = swiglu_linear(*used), reference.swiglu_linear(*exact)
    # the product in brackets is rounded once more
    assert distance(y, truth) < 2 * TOLERANCE[dtype]
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    truths = torch.autograd.grad(truth, exact[: len(used)], grad.double())
    for ours, its in zip(torch.autograd.grad(y, used, grad), truths, strict=True):
        assert distance(ours, its) < 2 * TOLERANCE[dtype]


def test_gradcheck_of_torch_s_way() -> None:
    assert torch.autograd.gradcheck(swiglu_linear, inputs((2, 5), torch.float64))


def test_only_inputs_are_kept() -> None:
    gate, up, weight, _ = inputs((4, 8), torch.float32)
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        swiglu_linear(gate, up, weight)
    assert kept == [gate.data_ptr(), up.data_ptr(), weight.data_ptr()]


def test_frozen_weights_get_no_gradient() -> None:
    gate, up, weight, bias = inputs((4, 8), torch.float32)
    y = swiglu_linear(gate, up, weight.detach(), bias.detach())
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(y.sum(), (gate, up)))


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0), (2, 0, 4)])
def test_empty(shape: tuple[int, ...]) -> None:
    parts = inputs(shape, torch.float32)
    assert swiglu(*parts[:2]).shape == shape
    y = swiglu_linear(*parts)
    assert [grad.shape for grad in torch.autograd.grad(y.sum(), parts)] == [part.shape for part in parts]


def test_great_gates_nan_and_poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "empty_like", lambda like: torch.full_like(like, float("nan")))
    gate = torch.tensor([-300.0, 0.0, 300.0, float("nan")], requires_grad=True)
    up = torch.full((4,), 2.0, requires_grad=True)
    y = swiglu(gate, up)
    torch.testing.assert_close(y, torch.tensor([0.0, 0.0, 600.0, float("nan")]), equal_nan=True)
    grad_gate, grad_up = torch.autograd.grad(y.sum(), (gate, up))
    torch.testing.assert_close(grad_gate, torch.tensor([0.0, 1.0, 2.0, float("nan")]), equal_nan=True)
    torch.testing.assert_close(grad_up, torch.tensor([0.0, 0.0, 300.0, float("nan")]), equal_nan=True)
