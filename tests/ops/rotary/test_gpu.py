"""The Triton kernels and their gradients against the definition in float64."""

import pytest
import torch

from textmill.ops.rotary import reference, serves, split_heads

# the interpreter cuts numbers off at bf16 where a GPU rounds them
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
# half a head isn't always a power of two; neither are a token's 7 * 5 rows
SHAPES = [(1, 1, 1, 3, 2), (2, 2, 2, 3, 6), (1, 4, 7, 5, 10)]

Shape = tuple[int, int, int, int, int]


def inputs(shape: Shape, dtype: torch.dtype, device: torch.device, *, by_row: bool = False) -> list[torch.Tensor]:
    """Packed rows, cosines and sines, weights of both norms."""
    generator = torch.Generator().manual_seed(sum(shape))
    B, T, _, _, D = shape
    angles = 6 * torch.rand((B, T, D // 2) if by_row else (T, D // 2), generator=generator)
    cos, sin = torch.cat((angles.cos(), angles.cos()), -1), torch.cat((-angles.sin(), angles.sin()), -1)
    qkv = torch.randn(shape, generator=generator)
    weights = [torch.randn(D, generator=generator) for _ in range(2)]
    leaves = [part.to(device, dtype).requires_grad_() for part in (qkv, *weights)]
    return [leaves[0], cos.to(device), sin.to(device), *leaves[1:]]


def distance(ours: torch.Tensor, truth: torch.Tensor) -> float:
    return float((ours.detach().double() - truth.detach()).norm() / truth.detach().norm().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_definition(shape: Shape, normalised: bool, dtype: torch.dtype, device: torch.device) -> None:
    compare(shape, normalised, dtype, device)


def compare(shape: Shape, normalised: bool, dtype: torch.dtype, device: torch.device, *, by_row: bool = False) -> None:
    """Outputs and gradients against the definition."""
    qkv, cos, sin, q_weight, k_weight = inputs(shape, dtype, device, by_row=by_row)
    assert serves(qkv)
    weights = (q_weight, k_weight) if normalised else None
    exact = [part.detach().double().requires_grad_() for part in (qkv, q_weight, k_weight)]
    exact_weights = exact[1:] if normalised else [None, None]
    ours = split_heads(qkv, cos, sin, weights, 0.5)
    truth = reference.split_heads(exact[0], cos.double(), sin.double(), *exact_weights, 0.5)
    generator = torch.Generator().manual_seed(1)
    grads = [torch.randn(part.shape, generator=generator).to(device, dtype) for part in ours]
    for mine, its in zip(ours, truth, strict=True):
        assert mine.shape == its.shape
        assert mine.dtype == dtype
        assert distance(mine, its) < TOLERANCE[dtype]
    wanted = [qkv, q_weight, k_weight] if normalised else [qkv]
    mine_all = torch.autograd.grad(ours, wanted, grads)
    its_all = torch.autograd.grad(truth, exact[: len(wanted)], [grad.double() for grad in grads])
    for mine, its in zip(mine_all, its_all, strict=True):
        assert distance(mine, its) < 2 * TOLERANCE[dtype]


def test_each_sequence_has_positions_of_its_own(device: torch.device) -> None:
    compare((3, 2, 1, 3, 4), True, torch.float32, device, by_row=True)


def test_a_token_that_takes_several_tiles(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    from textmill.ops.rotary import gpu

    monkeypatch.setattr(gpu, "TILE", 16)
    compare((1, 2, 3, 3, 6), True, torch.float32, device)


def test_it_lies_as_attention_reads_it(device: torch.device) -> None:
    qkv, cos, sin, _, _ = inputs((2, 3, 2, 4, 6), torch.float32, device)
    assert all(part.transpose(1, 2).is_contiguous() for part in split_heads(qkv, cos, sin, None, 0.0))


@pytest.mark.parametrize("shape", [(0, 3, 2, 3, 4), (2, 0, 2, 3, 4)])
def test_empty(shape: Shape, device: torch.device) -> None:
    qkv, cos, sin, q_weight, k_weight = inputs(shape, torch.float32, device)
    q, k, v = split_heads(qkv, cos, sin, (q_weight, k_weight), 1e-3)
    assert q.shape == k.shape == v.shape == (shape[0], 2, shape[1], 4)
    grad, weight_grad = torch.autograd.grad(q.sum() + k.sum() + v.sum(), (qkv, q_weight))
    assert grad.shape == shape
    assert not weight_grad.any()


@pytest.mark.usefixtures("poisoned")
def test_memory_is_written_before_it_is_read(device: torch.device) -> None:
    qkv, cos, sin, q_weight, k_weight = inputs((1, 4, 1, 3, 6), torch.float32, device)
    parts = split_heads(qkv, cos, sin, (q_weight, k_weight), 1e-3)
    grads = torch.autograd.grad(sum(part.sum() for part in parts), (qkv, q_weight, k_weight))
    assert all(part.isfinite().all() for part in (*parts, *grads))
    plain = split_heads(qkv, cos, sin, None, 0.0)
    assert torch.autograd.grad(sum(part.sum() for part in plain), qkv)[0].isfinite().all()
