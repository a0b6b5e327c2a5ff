"""Norms against their formulas."""

from typing import Any

import pytest
import torch
from torch import Tensor

from textmill.errors import DataError
from textmill.layers.config import TransformerConfig
from textmill.layers.norm import NORMS, BatchNorm, new_norm
from textmill.layers.segments import Segments
from textmill.layers.transformer import Transformer
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


def test_layer_norm_without_a_bias() -> None:
    norm = new_norm(settings(norm_bias=False))
    assert [name for name, _ in norm.named_parameters()] == ["weight"]
    x = torch.randn(3, 8)
    torch.testing.assert_close(norm(x), NORMS["layer"](8, 1e-5)(x))


def settings(**choices: Any) -> TransformerConfig:
    return TransformerConfig(
        num_layers=2, width=8, num_heads=2, num_kv_heads=2, head_dim=4, feed_forward_width=8, context_length=16,
        **choices,
    )  # fmt: skip


def batch_norm_by_loops(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Algorithm 1 of the paper; x is [tokens, width]."""
    y = torch.empty_like(x)
    for number in range(x.shape[1]):
        mean = sum(x[:, number]) / len(x)
        variance = sum((value - mean) ** 2 for value in x[:, number]) / len(x)
        y[:, number] = (x[:, number] - mean) / (variance + eps) ** 0.5 * weight[number] + bias[number]
    return y


def test_batch_norm_is_the_definition() -> None:
    torch.manual_seed(0)
    norm = BatchNorm(4, eps=1e-3)
    assert norm.bias is not None
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    x = torch.randn(2, 5, 4) + 3
    expected = batch_norm_by_loops(x.flatten(0, 1), norm.weight, norm.bias, 1e-3).view(2, 5, 4)
    torch.testing.assert_close(norm(x), expected)
    # what the paper's algorithm 2 keeps: the mean, and the unbiased variance
    torch.testing.assert_close(norm.running_mean, 0.1 * x.mean((0, 1)))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * x.flatten(0, 1).var(0))
    norm.eval()
    running = (x - norm.running_mean) / (norm.running_var + 1e-3).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), running)


def test_padding_enters_no_mean() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4)
    real = torch.tensor([[True] * 5, [True, True, False, False, False]])
    one, other = BatchNorm(4), BatchNorm(4)
    y = one(x, real)
    torch.testing.assert_close(y[real], other(x[real]))
    assert not y[~real].any()
    torch.testing.assert_close(one.running_var, other.running_var)


def test_batch_norm_gradients() -> None:
    torch.manual_seed(0)
    norm = BatchNorm(3).double()
    real = torch.tensor([[True, True, False], [True, True, True]])
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: norm(x, real), (x,))


def test_one_token_has_no_variance() -> None:
    with pytest.raises(DataError, match="at least two tokens to train on, got 1"):
        BatchNorm(4)(torch.randn(1, 1, 4))


@pytest.mark.parametrize("position", ["pre", "post"])
def test_a_trunk_with_batch_norm(position: str) -> None:
    torch.manual_seed(0)
    model = Transformer(settings(norm="batch", norm_position=position, causal=False, embedding_norm=True))
    x = torch.randn(2, 6, 8)
    real = torch.arange(6) < torch.tensor([[6], [4]])
    state = {name: value.clone() for name, value in model.state_dict().items()}
    padded = model(x, real=real)
    statistics = {name: value.clone() for name, value in model.state_dict().items() if "running" in name}
    assert any((statistics[name] != state[name]).any() for name in statistics)
    model.load_state_dict(state)
    starts = torch.tensor([0, 6, 10])
    unpadded = model(x[real].unsqueeze(0), segments=Segments.of(starts))
    torch.testing.assert_close(unpadded[0], padded[real], atol=1e-5, rtol=1e-4)
    for name, value in statistics.items():
        torch.testing.assert_close(model.state_dict()[name], value)
    # in use, a sequence doesn't depend on what else is in the batch
    model.eval()
    torch.testing.assert_close(model(x, real=real)[1, :4], model(x[1:, :4])[0], atol=1e-5, rtol=1e-4)


def test_recompute_counts_a_batch_once() -> None:
    torch.manual_seed(0)
    model = Transformer(settings(norm="batch", causal=False))
    x = torch.randn(2, 6, 8)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    after = []
    for recompute in ("none", "block"):
        model.load_state_dict(state)
        model.recompute = recompute
        model(x).square().sum().backward()
        after.append({name: value.clone() for name, value in model.state_dict().items()})
    for name, value in after[0].items():
        assert torch.equal(value, after[1][name]), name


def test_running_statistics_keep_their_precision_in_a_bf16_pass() -> None:
    torch.manual_seed(0)
    norm = BatchNorm(4)
    norm.weight.data, norm.bias = norm.weight.data.bfloat16(), None
    x = (torch.randn(64, 4) + 1).bfloat16()
    assert norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(norm.running_mean, 0.1 * x.float().mean(0))
    # wholly in bf16 it works too, with rounded statistics
    assert norm.bfloat16()(x).isfinite().all()
    assert norm.running_mean.dtype == torch.bfloat16
