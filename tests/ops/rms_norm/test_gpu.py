"""The Triton kernel and its gradient against the definition in float64."""

import pytest
import torch

from textmill.ops.rms_norm import reference, rms_norm

# the interpreter cuts numbers off at bf16 where a GPU rounds them
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2}


def inputs(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> list[torch.Tensor]:
    """x, weight, and the gradient of y."""
    generator = torch.Generator().manual_seed(sum(shape))
    parts = [torch.randn(s, generator=generator).to(device, dtype) for s in (shape, shape[-1:], shape)]
    return [parts[0].requires_grad_(), parts[1].requires_grad_(), parts[2]]


def distance(ours: torch.Tensor, truth: torch.Tensor) -> float:
    return float((ours.detach().double() - truth.detach()).norm() / truth.detach().norm().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", TOLERANCE)
# 2048 numbers make a tile: 256 rows of 8 do, and 600 rows of 5 are three tiles
@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (2, 3, 64), (513, 3), (600, 5), (3, 4100)])
def test_it_is_the_definition(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    x, weight, grad = inputs(shape, dtype, device)
    # a large eps: without, the gradient of a row of one number is the difference of two that are equal
    y = rms_norm(x, weight, 0.5)
    x_64, weight_64 = (part.detach().double().requires_grad_() for part in (x, weight))
    truth = reference.rms_norm(x_64, weight_64, 0.5)
    assert y.dtype == dtype
    assert distance(y, truth) < TOLERANCE[dtype]
    truths = torch.autograd.grad(truth, (x_64, weight_64), grad.double())
    for ours, exact in zip(torch.autograd.grad(y, (x, weight), grad), truths, strict=True):
        assert ours.dtype == dtype
        assert distance(ours, exact) < 2 * TOLERANCE[dtype]


def test_many_tiles_for_each_program(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    from textmill.ops.rms_norm import gpu

    monkeypatch.setattr(gpu, "TILE", 16)
    test_it_is_the_definition((37, 7), torch.float32, device)


def test_fp32_weight_of_bf16_rows(device: torch.device) -> None:
    x, weight, grad = inputs((4, 24), torch.bfloat16, device)
    exact = weight.detach().float().requires_grad_()
    y = rms_norm(x, exact, 1e-3)
    grad_weight = torch.autograd.grad(y, exact, grad)[0]
    assert (y.dtype, grad_weight.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_no_rows(shape: tuple[int, ...], device: torch.device) -> None:
    x, weight, grad = inputs(shape, torch.float32, device)
    y = rms_norm(x, weight, 1e-3)
    x_grad, weight_grad = torch.autograd.grad(y, (x, weight), grad)
    assert y.shape == x_grad.shape == shape
    assert not weight_grad.any()


def test_strided_inputs_and_gradients(device: torch.device) -> None:
    x, weight, grad = inputs((6, 8), torch.float32, device)
    strided = torch.autograd.grad(rms_norm(x.T.contiguous().T, weight, 1e-3), x, grad.T.contiguous().T)
    plain = torch.autograd.grad(rms_norm(x, weight, 1e-3), x, grad)
    assert torch.equal(strided[0], plain[0])


@pytest.mark.usefixtures("poisoned")
def test_memory_is_written_before_it_is_read(device: torch.device) -> None:
    x, weight, grad = inputs((9, 5), torch.float32, device)
    y = rms_norm(x, weight, 1e-3)
    assert all(part.isfinite().all() for part in (y, *torch.autograd.grad(y, (x, weight), grad)))


def test_nan_stays_in_its_row(device: torch.device) -> None:
    x, weight, _ = inputs((3, 4), torch.bfloat16, device)
    with torch.no_grad():
        x[1, 2] = float("nan")
    assert rms_norm(x, weight, 1e-3).isnan().any(1).tolist() == [False, True, False]
