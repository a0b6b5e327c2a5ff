"""The kernel and its gradient against the definition in float64."""

import pytest
import torch

from textmill.ops.rms_norm import reference, rms_norm
from textmill.ops.rms_norm.cpu import ROWS, RMSNorm

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 8e-3}


def inputs(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    x, grad = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    weight = torch.randn(shape[-1], generator=generator).to(dtype)
    return x.requires_grad_(), weight.requires_grad_(), grad


def distance(ours: torch.Tensor, truth: torch.Tensor) -> float:
    return float((ours.detach().double() - truth.detach()).norm() / truth.detach().norm().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 64), (ROWS + 1, 17), (4, ROWS, 8)])
def test_it_is_the_definition(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, weight, grad = inputs(shape, dtype)
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


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_no_rows(shape: tuple[int, ...]) -> None:
    x, weight, grad = inputs(shape, torch.float32)
    y = rms_norm(x, weight, 1e-3)
    assert y.shape == shape
    x_grad, weight_grad = torch.autograd.grad(y, (x, weight), grad)
    assert x_grad.shape == shape
    assert not weight_grad.any()


def test_strided_inputs_and_gradients() -> None:
    x, weight, grad = inputs((6, 8), torch.float32)
    strided = torch.autograd.grad(rms_norm(x.T.contiguous().T, weight, 1e-3), x, grad.T.contiguous().T)
    plain = torch.autograd.grad(rms_norm(x, weight, 1e-3), x, grad)
    assert torch.equal(strided[0], plain[0])


def test_memory_is_written_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, grad = inputs((9, 5), torch.float32)
    monkeypatch.setattr(torch, "empty_like", lambda like: torch.full_like(like, float("nan")))
    y = RMSNorm.apply(x, weight, 1e-3)
    assert all(part.isfinite().all() for part in (y, *torch.autograd.grad(y, (x, weight), grad)))


def test_nan_stays_in_its_row() -> None:
    x, weight, _ = inputs((3, 4), torch.bfloat16)
    with torch.no_grad():
        x[1, 2] = float("nan")
    assert rms_norm(x, weight, 1e-3).isnan().any(1).tolist() == [False, True, False]


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, grad = inputs((5 * ROWS + 3, 16), torch.float32)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        y = rms_norm(x, weight, 1e-3)
        results.append((y.detach(), *torch.autograd.grad(y, (x, weight), grad)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
