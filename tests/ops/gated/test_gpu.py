"""The Triton kernels and their gradients against the definition in float64."""

import pytest
import torch

from textmill.ops.gated import reference, swiglu, swiglu_linear

# the interpreter cuts numbers off at bf16 where a GPU rounds them
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
# 1024 numbers make a block
SHAPES = [(1,), (7, 13), (2, 3, 64), (3, 1025)]


def inputs(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, width: int = 3) -> list[torch.Tensor]:
    """Gate, up, weight and bias."""
    generator = torch.Generator().manual_seed(sum(shape))
    shapes = [shape, shape, (width, shape[-1]), (width,)]
    return [(2 * torch.randn(s, generator=generator)).to(device, dtype).requires_grad_() for s in shapes]


def distance(ours: torch.Tensor, truth: torch.Tensor) -> float:
    return float((ours.detach().double() - truth.detach()).norm() / truth.detach().norm().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_swiglu_is_the_definition(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    parts = inputs(shape, dtype, device)[:2]
    exact = [part.detach().double().requires_grad_() for part in parts]
    y, truth = swiglu(*parts), reference.swiglu(*exact)
    assert y.dtype == dtype
    assert distance(y, truth) < TOLERANCE[dtype]
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    given = grad.clone()
    truths = torch.autograd.grad(truth, exact, grad.double())
    for ours, its in zip(torch.autograd.grad(y, parts, grad), truths, strict=True):
        assert distance(ours, its) < TOLERANCE[dtype]
    assert torch.equal(grad, given), "a gradient that others may hold was overwritten"


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_swiglu_linear_is_the_definition(
    shape: tuple[int, ...], dtype: torch.dtype, bias: bool, device: torch.device
) -> None:
    parts = inputs(shape, dtype, device)
    if not bias:
        parts[3] = torch.zeros_like(parts[3])
    used = parts if bias else parts[:3]
    exact = [part.detach().double().requires_grad_(part.requires_grad) for part in parts]
    y, truth = swiglu_linear(*used), reference.swiglu_linear(*exact)
    # the product in brackets is rounded once more
    assert distance(y, truth) < 2 * TOLERANCE[dtype]
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    truths = torch.autograd.grad(truth, exact[: len(used)], grad.double())
    for ours, its in zip(torch.autograd.grad(y, used, grad), truths, strict=True):
        assert distance(ours, its) < 2 * TOLERANCE[dtype]


def test_only_inputs_are_kept_and_a_second_backward_pass_is_the_same(device: torch.device) -> None:
    gate, up, weight, _ = inputs((4, 8), torch.float32, device)
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = swiglu_linear(gate, up, weight)
    assert kept == [gate.data_ptr(), up.data_ptr(), weight.data_ptr()]
    first, second = (torch.autograd.grad(y.sum(), (gate, up, weight), retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_frozen_weights_get_no_gradient(device: torch.device) -> None:
    gate, up, weight, bias = inputs((4, 8), torch.float32, device)
    wanted = torch.autograd.grad(swiglu_linear(gate, up, weight, bias).sum(), (gate, up))
    ours = torch.autograd.grad(swiglu_linear(gate, up, weight.detach(), bias.detach()).sum(), (gate, up))
    assert all(torch.equal(a, b) for a, b in zip(ours, wanted, strict=True))


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0), (2, 0, 4)])
def test_empty(shape: tuple[int, ...], device: torch.device) -> None:
    parts = inputs(shape, torch.float32, device)
    assert swiglu(*parts[:2]).shape == shape
    y = swiglu_linear(*parts)
    assert [grad.shape for grad in torch.autograd.grad(y.sum(), parts)] == [part.shape for part in parts]


# the interpreter's numpy warns that e^300 is infinite
@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.usefixtures("poisoned")
def test_great_gates_nan_and_poisoned_memory(device: torch.device) -> None:
    gate = torch.tensor([-300.0, 0.0, 300.0, float("nan")], device=device, requires_grad=True)
    up = torch.full((4,), 2.0, device=device, requires_grad=True)
    y = swiglu(gate, up)
    torch.testing.assert_close(y.cpu(), torch.tensor([0.0, 0.0, 600.0, float("nan")]), equal_nan=True)
    grad_gate, grad_up = torch.autograd.grad(y.sum(), (gate, up))
    torch.testing.assert_close(grad_gate.cpu(), torch.tensor([0.0, 1.0, 2.0, float("nan")]), equal_nan=True)
    torch.testing.assert_close(grad_up.cpu(), torch.tensor([0.0, 0.0, 300.0, float("nan")]), equal_nan=True)
