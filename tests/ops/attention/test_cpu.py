import pytest
import torch
import torch.nn.functional as F

from textmill.ops.attention import causal_attention, cpu, reference


def inputs(time: int, *, heads: int = 2, kv_heads: int = 2, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(time)
    shapes = [(2, heads, time, 4), (2, kv_heads, time, 4), (2, kv_heads, time, 4)]
    return [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("time", [0, 1, 2, 7, 127, 128, 129, 300])
def test_it_is_the_definition(time: int) -> None:
    q, k, v = inputs(time)
    torch.testing.assert_close(cpu.causal_attention(q, k, v), reference.causal_attention(q, k, v))


@pytest.mark.parametrize("time", [1, 5, 130])
def test_its_gradient_is_the_definition_s(time: int) -> None:
    q, k, v = inputs(time)
    weight = torch.randn(q.shape, dtype=q.dtype, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((cpu.causal_attention(q, k, v) * weight).sum(), [q, k, v])
    theirs = torch.autograd.grad((reference.causal_attention(q, k, v) * weight).sum(), [q, k, v])
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(cpu.causal_attention, inputs(6))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_shared_heads_and_no_gradient(kv_heads: int) -> None:
    q, k, v = inputs(9, heads=4, kv_heads=kv_heads)
    with_gradient = causal_attention(q, k, v)
    with torch.no_grad():
        without = causal_attention(q, k, v)
    torch.testing.assert_close(with_gradient, without)
    torch.testing.assert_close(without, F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))


def test_bf16_is_as_near_to_the_truth_as_torch_s_kernel() -> None:
    exact = inputs(200)
    truth = reference.causal_attention(*exact)
    q, k, v = (part.detach().bfloat16().requires_grad_() for part in exact)
    ours = (cpu.causal_attention(q, k, v) - truth).square().mean().sqrt()
    theirs = (F.scaled_dot_product_attention(q, k, v, is_causal=True) - truth).square().mean().sqrt()
    assert ours <= 1.5 * theirs


def test_the_future_is_never_read() -> None:
    q, k, v = inputs(300)
    before = cpu.causal_attention(q, k, v)[:, :, :128]
    with torch.no_grad():
        k[:, :, 128:] = float("nan")
        v[:, :, 128:] = float("nan")
    assert torch.equal(cpu.causal_attention(q, k, v)[:, :, :128], before)
