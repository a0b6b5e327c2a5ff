"""The mixture and its gradients against the definition in loops."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from textmill.ops.experts import combine, cpu, group_tokens, grouped_linear, mixture, products, reference

Parts = tuple[Tensor, Tensor, Tensor, tuple[Tensor | None, Tensor, Tensor]]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-2}


def parts(
    num_tokens: int = 7, top_k: int = 2, num_experts: int = 5, *, width: int = 6, wide: int = 10, gated: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Parts:  # fmt: skip
    """x, weights, experts and matrices; the last expert is never chosen when there are enough others."""
    generator = torch.Generator().manual_seed(num_tokens * 100 + top_k)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype).requires_grad_()

    chosen = max(top_k, num_experts - 1)
    experts = torch.rand(num_tokens, chosen, generator=generator).argsort(1)[:, :top_k]
    weights = torch.rand(num_tokens, top_k, generator=generator)
    weights = weights.double() if dtype == torch.float64 else weights.float()
    matrices = (
        draw(num_experts, wide, width) if gated else None,
        draw(num_experts, wide, width),
        draw(num_experts, width, wide),
    )
    return draw(num_tokens, width), weights.requires_grad_(), experts, matrices


def exact(part: Tensor | None) -> Tensor | None:
    return None if part is None else part.detach().double().requires_grad_()


def distance(ours: Tensor, truth: Tensor) -> float:
    return float((ours.detach().double() - truth.detach()).norm() / truth.detach().norm().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("activation", [F.silu, F.gelu])
@pytest.mark.parametrize("capacity", [None, 2])
def test_mixture_is_the_definition(
    dtype: torch.dtype, gated: bool, activation: Callable[[Tensor], Tensor], capacity: int | None
) -> None:
    x, weights, experts, matrices = parts(dtype=dtype, gated=gated)
    groups = group_tokens(experts, 5, capacity)
    y = mixture(x, weights, groups, matrices, activation)
    assert y.dtype == dtype
    gate, up, down = (exact(matrix) for matrix in matrices)
    x_exact, weights_exact = exact(x), exact(weights)
    assert x_exact is not None and weights_exact is not None and up is not None and down is not None  # noqa: PT018
    truth = reference.mixture(x_exact, weights_exact, experts, (gate, up, down), activation, capacity)
    assert distance(y, truth) < TOLERANCE[dtype]
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    ours = [part for part in (x, weights, *matrices) if part is not None]
    its = [part for part in (x_exact, weights_exact, gate, up, down) if part is not None]
    for one, other in zip(
        torch.autograd.grad(y, ours, grad), torch.autograd.grad(truth, its, grad.double()), strict=True
    ):
        assert distance(one, other) < TOLERANCE[dtype]


@given(
    num_tokens=st.integers(0, 9),
    top_k=st.integers(1, 4),
    more=st.integers(0, 3),
    capacity=st.one_of(st.none(), st.integers(1, 6)),
)
def test_any_size(num_tokens: int, top_k: int, more: int, capacity: int | None) -> None:
    x, weights, experts, matrices = parts(num_tokens, top_k, top_k + more, width=3, wide=2)
    groups = group_tokens(experts, top_k + more, capacity)
    truth = reference.mixture(x, weights, experts, matrices, F.silu, capacity)
    torch.testing.assert_close(mixture(x, weights, groups, matrices, F.silu), truth)
    room = reference.kept(experts, capacity)
    assert torch.equal(groups.rows < len(groups.tokens), room)
    assert groups.num_dropped == int((~room).sum())
    # rows stand by expert, and point back at their choice
    assert torch.equal(groups.experts, experts.reshape(-1)[groups.choices])
    assert torch.equal(groups.tokens, groups.choices // top_k)


@pytest.mark.parametrize("gated", [True, False])
def test_gradcheck(gated: bool) -> None:
    x, weights, experts, (gate, up, down) = parts(4, gated=gated, width=3, wide=4)
    groups = group_tokens(experts, 5)
    inputs = [part for part in (x, weights, up, down, gate) if part is not None]

    def f(x: Tensor, weights: Tensor, up: Tensor, down: Tensor, gate: Tensor | None = None) -> Tensor:
        return mixture(x, weights, groups, (gate, up, down), F.silu)

    assert torch.autograd.gradcheck(f, inputs)


def test_an_expert_without_tokens_gets_a_gradient_of_zeros() -> None:
    x, weights, experts, matrices = parts()
    assert int(experts.max()) == 3
    for way in (mixture(x, weights, group_tokens(experts, 5), matrices, F.silu), step_by_step(x, experts, matrices)):
        for matrix in matrices:
            assert matrix is not None
            grad = torch.autograd.grad(way.sum(), matrix, retain_graph=True)[0]
            assert not grad[4].any()
            assert grad[:4].abs().sum((1, 2)).all()


def step_by_step(x: Tensor, experts: Tensor, matrices: tuple[Tensor | None, Tensor, Tensor]) -> Tensor:
    gate, up, down = matrices
    assert gate is not None
    groups = group_tokens(experts, len(up))
    rows = x[groups.tokens]
    wide = F.silu(grouped_linear(rows, gate, None, groups)) * grouped_linear(rows, up, None, groups)
    return combine(grouped_linear(wide, down, None, groups), torch.ones(experts.shape, dtype=x.dtype), groups)


def test_grouped_linear_with_a_bias() -> None:
    x, _, experts, (_, up, _) = parts()
    groups = group_tokens(experts, 5)
    bias = torch.randn(5, 10, dtype=torch.float64, requires_grad=True)
    rows = x[groups.tokens]
    expected = torch.stack([up[e] @ row + bias[e] for e, row in zip(groups.experts, rows, strict=True)])
    torch.testing.assert_close(grouped_linear(rows, up, bias, groups), expected)
    assert torch.autograd.gradcheck(lambda x, up, bias: grouped_linear(x, up, bias, groups), (rows, up, bias))


def test_frozen_parts_get_no_gradient() -> None:
    x, weights, experts, matrices = parts()
    frozen = tuple(None if matrix is None else matrix.detach() for matrix in matrices)
    y = mixture(x, weights.detach(), group_tokens(experts, 5), frozen, F.silu)  # type: ignore[arg-type]
    whole = mixture(x, weights, group_tokens(experts, 5), matrices, F.silu)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x), torch.autograd.grad(whole.sum(), x))


def test_little_is_kept() -> None:
    x, weights, experts, matrices = parts(40, dtype=torch.float32)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        mixture(x, weights, group_tokens(experts, 5), matrices, F.silu)
    owned = sum(part.numel() for part in (x, weights, *matrices) if part is not None)
    # beside what the caller holds: gate's and up's products of 80 rows
    assert sum(kept.values()) == owned + 2 * 80 * 10


@pytest.mark.skipif(products._grouped_mm is None, reason="this torch has no grouped product")
@pytest.mark.parametrize("gated", [True, False])
def test_torch_s_grouped_product_gives_the_same(gated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weights, experts, matrices = parts(16, width=8, wide=16, gated=gated, dtype=torch.bfloat16)
    ours = [part for part in (x, weights, *matrices) if part is not None]
    results = []
    for forced in (False, True):
        monkeypatch.setattr(products, "has_grouped_mm", lambda *_, forced=forced: forced)
        y = mixture(x, weights, group_tokens(experts, 5), matrices, F.silu)
        results.append([y, *torch.autograd.grad(y.float().square().sum(), ours)])
    for loop, grouped in zip(*results, strict=True):
        assert distance(grouped, loop.double()) < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_writes_every_number(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "empty_like", lambda like: torch.full_like(like, float("nan")))
    generator = torch.Generator().manual_seed(0)
    gate, up, grad = (torch.randn(cpu.ROWS + 3, 5, generator=generator).to(dtype) for _ in range(3))
    scale = torch.rand(cpu.ROWS + 3, 1, generator=generator)
    g, u = (part.double().requires_grad_() for part in (gate, up))
    h = F.silu(g) * u
    truth = [h, *torch.autograd.grad(h, (g, u), scale.double() * grad.double()), (h * grad.double()).sum(1)]
    for ours, its in zip(cpu.swiglu_backward(gate, up, grad.clone(), scale), truth, strict=True):
        assert distance(ours, its) < (2e-6 if dtype == torch.float32 else 8e-3)
