"""Norms against their formulas."""

import pytest
import torch

from textmill.layers.norm import NORMS
from textmill.ops.rms_norm import rms_norm


def by_formula(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 6), (6,), (0, 6)])
@pytest.mark.parametrize("grad", [True, False])
def test_rms_norm(shape: tuple[int, ...], grad: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(shape), torch.randn(6)
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(rms_norm(x, weight, 1e-3), by_formula(x, weight, 1e-3))


def test_rms_norm_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64).transpose(0, 1).requires_grad_()
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, 1e-2), (x, weight))


def test_bf16_stream_and_fp32_weights() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(8, 16).bfloat16().requires_grad_(), torch.randn(16, requires_grad=True)
    y = rms_norm(x, weight, 1e-6)
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    exact = x.detach().float().requires_grad_()
    by_formula(exact, weight.detach(), 1e-6).square().sum().backward()
    assert exact.grad is not None
    assert x.grad is not None
    assert (x.grad.float() - exact.grad).norm() < 0.02 * exact.grad.norm()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def test_layer_norm() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 7)
    norm = NORMS["layer"](7, 1e-5)
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-5).sqrt())
