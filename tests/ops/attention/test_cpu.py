import pytest
import torch
import torch.nn.functional as F

from textmill.ops.attention import attention, causal_attention, cpu, reference


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


def test_bf16_without_gradients_is_the_same() -> None:
    q, k, v = (part.detach().bfloat16().requires_grad_() for part in inputs(70))
    mask = torch.ones(70, 70, dtype=torch.bool).tril(-3) | torch.eye(70, dtype=torch.bool)
    expected = causal_attention(q, k, v), attention(q, k, v, mask)
    with torch.no_grad():
        assert torch.equal(causal_attention(q, k, v), expected[0])
        assert torch.equal(attention(q, k, v, mask), expected[1])


def test_the_future_is_never_read() -> None:
    q, k, v = inputs(300)
    before = cpu.causal_attention(q, k, v)[:, :, :128]
    with torch.no_grad():
        k[:, :, 128:] = float("nan")
        v[:, :, 128:] = float("nan")
    assert torch.equal(cpu.causal_attention(q, k, v)[:, :, :128], before)


@pytest.mark.parametrize("time", [0, 1, 5, 40])
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_any_mask(time: int, kv_heads: int) -> None:
    q, k, v = inputs(time, heads=4, kv_heads=kv_heads)
    mask = torch.rand(2, 1, time, time, generator=torch.Generator().manual_seed(1)) < 0.5
    mask |= torch.eye(time, dtype=torch.bool)
    for seen in (mask, mask[:, :, :1] | True, None):
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        got = attention(q, k, v, seen)
        torch.testing.assert_close(got, expected)
        weight = torch.randn(q.shape, dtype=q.dtype, generator=torch.Generator().manual_seed(2))
        ours, theirs = (torch.autograd.grad((y * weight).sum(), [q, k, v]) for y in (got, expected))
        for mine, its in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, its)
        with torch.no_grad():
            torch.testing.assert_close(attention(q, k, v, seen), expected)


def test_gradcheck_with_a_mask() -> None:
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    assert torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v, mask), inputs(5))


def test_what_is_masked_has_no_weight() -> None:
    q, k, v = inputs(6)
    mask = torch.ones(6, 6, dtype=torch.bool)
    mask[:, 4:] = False
    before = attention(q, k, v, mask)
    with torch.no_grad():
        k[:, :, 4:] = 1e6
        v[:, :, 4:] = 1e6
    assert torch.equal(attention(q, k, v, mask), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_that_sees_nothing_harms_no_other(dtype: torch.dtype) -> None:
    parts = [part.detach().to(dtype).requires_grad_() for part in inputs(6)]
    mask = torch.ones(6, 6, dtype=torch.bool)
    mask[2] = False
    y = attention(*parts, mask)
    y[:, :, :2].float().sum().backward()
    assert y.isfinite().all()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in parts)
