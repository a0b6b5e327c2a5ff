"""The kernel and its gradients against the definition in float64."""

import pytest
import torch

from textmill.ops.rotary import reference, serves, split_heads
from textmill.ops.rotary.cpu import TOKENS

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 8e-3}


def inputs(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype, *, by_row: bool = False
) -> tuple[torch.Tensor, ...]:
    """Packed rows, cosines and sines, weights of both norms."""
    generator = torch.Generator().manual_seed(sum(shape))
    B, T, _, _, D = shape
    angles = 6 * torch.rand((B, T, D // 2) if by_row else (T, D // 2), generator=generator)
    cos, sin = torch.cat((angles.cos(), angles.cos()), -1), torch.cat((-angles.sin(), angles.sin()), -1)
    qkv = torch.randn(shape, generator=generator).to(dtype).requires_grad_()
    q_weight, k_weight = (torch.randn(D, generator=generator).to(dtype).requires_grad_() for _ in range(2))
    return qkv, cos, sin, q_weight, k_weight


def distance(ours: torch.Tensor, truth: torch.Tensor) -> float:
    return float((ours.detach().double() - truth.detach()).norm() / truth.detach().norm().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1, 3, 2), (2, 7, 2, 3, 6), (3, TOKENS, 1, 5, 16), (1, TOKENS + 1, 4, 4, 10)])
def test_it_is_the_definition(
    shape: tuple[int, int, int, int, int], normalised: bool, by_row: bool, dtype: torch.dtype
) -> None:
    qkv, cos, sin, q_weight, k_weight = inputs(shape, dtype, by_row=by_row)
    weights = (q_weight, k_weight) if normalised else None
    exact = [part.detach().double().requires_grad_() for part in (qkv, q_weight, k_weight)]
    exact_weights = exact[1:] if normalised else [None, None]
    ours = split_heads(qkv, cos, sin, weights, 0.5)
    truth = reference.split_heads(exact[0], cos.double(), sin.double(), *exact_weights, 0.5)
    generator = torch.Generator().manual_seed(1)
    grads = [torch.randn(part.shape, generator=generator).to(dtype) for part in ours]
    for mine, its in zip(ours, truth, strict=True):
        assert mine.shape == its.shape
        assert mine.dtype == dtype
        assert distance(mine, its) < TOLERANCE[dtype]
    wanted = [qkv, q_weight, k_weight] if normalised else [qkv]
    mine_all = torch.autograd.grad(ours, wanted, grads)
    its_all = torch.autograd.grad(truth, exact[: len(wanted)], [grad.double() for grad in grads])
    for mine, its in zip(mine_all, its_all, strict=True):
        assert distance(mine, its) < 2 * TOLERANCE[dtype]


@pytest.mark.parametrize("shape", [(0, 3, 2, 3, 4), (2, 0, 2, 3, 4)])
def test_empty(shape: tuple[int, int, int, int, int]) -> None:
    qkv, cos, sin, q_weight, k_weight = inputs(shape, torch.float32)
    q, k, v = split_heads(qkv, cos, sin, (q_weight, k_weight), 1e-3)
    assert q.shape == k.shape == v.shape == (shape[0], 2, shape[1], 4)
    grad, weight_grad = torch.autograd.grad(q.sum() + k.sum() + v.sum(), (qkv, q_weight))
    assert grad.shape == shape
    assert not weight_grad.any()


def test_memory_is_written_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    qkv, cos, sin, q_weight, k_weight = inputs((2, 5, 2, 4, 6), torch.float32)
    poisoned = torch.Tensor.new_full
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda like, *shape: poisoned(like, torch.Size(*shape) if len(shape) == 1 else shape,
                                                                  float("nan"))
    )  # fmt: skip
    parts = split_heads(qkv, cos, sin, (q_weight, k_weight), 1e-3)
    grads = torch.autograd.grad(sum(part.sum() for part in parts), (qkv, q_weight, k_weight))
    assert all(part.isfinite().all() for part in (*parts, *grads))


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    qkv, cos, sin, q_weight, k_weight = inputs((3, 2 * TOKENS + 5, 2, 3, 8), torch.float32)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        parts = split_heads(qkv, cos, sin, (q_weight, k_weight), 1e-3)
        grads = torch.autograd.grad(parts, (qkv, q_weight, k_weight), [part.detach() for part in parts])
        results.append([*(part.detach() for part in parts), *grads])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_what_it_serves() -> None:
    assert serves(torch.zeros(1))
    assert not serves(torch.zeros(1, dtype=torch.float64))
    assert not serves(torch.zeros(1, device="meta"))
    with torch.no_grad():
        assert not serves(torch.zeros(1))
