"""Both fast ways against the definition by loops, with gradients; odd sizes, blocks, keys that a row doesn't see."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from textmill.ops.relative import cpu, reference, relative_attention, relative_shift

Way = Callable[..., Tensor]


def draws(heads: int, batch: int, queries: int, keys: int, width: int, seed: int = 0) -> list[Tensor]:
    """q, k, v, r, u, v."""
    shapes = [(heads, batch, queries, width), *[(heads, batch, keys, width)] * 2, (heads, keys, width)]
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in (*shapes, (heads, width), (heads, width))
    ]


def fused(*parts: Tensor, unseen: Tensor | None = None) -> Tensor:
    """What devices other than a CPU take; so little dropout that none is drawn."""
    return relative_attention(*parts, unseen=unseen, dropout=1e-300)


@pytest.mark.parametrize("way", [relative_attention, fused])
@given(
    heads=st.integers(1, 2),
    batch=st.integers(1, 3),
    queries=st.integers(1, 7),
    before=st.integers(0, 5),
    width=st.integers(1, 4),
)
def test_equals_the_definition(way: Way, heads: int, batch: int, queries: int, before: int, width: int) -> None:
    parts = draws(heads, batch, queries, before + queries, width)
    found, expected = way(*parts), reference.relative_attention(*parts)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pairs = zip(
        torch.autograd.grad((found * weight).sum(), parts),
        torch.autograd.grad((expected * weight).sum(), parts),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("queries", "before"), [(7, 0), (7, 4), (6, 1), (3, 2), (8, 9)])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, queries: int, before: int) -> None:
    parts = draws(2, 3, queries, before + queries, 4)
    expected = torch.autograd.grad(relative_attention(*parts).square().sum(), parts)
    out = relative_attention(*parts)
    monkeypatch.setattr(cpu, "BLOCK", 3)
    torch.testing.assert_close(relative_attention(*parts), out)
    found = torch.autograd.grad(relative_attention(*parts).square().sum(), parts)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_gradient_by_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "BLOCK", 2)
    unseen = torch.tensor([[True, False, False, False, False], [False] * 5])
    assert torch.autograd.gradcheck(lambda *p: relative_attention(*p, unseen=unseen), draws(2, 2, 3, 5, 2))


@pytest.mark.parametrize("way", [relative_attention, fused])
def test_unseen_keys_might_as_well_not_be_there(way: Way) -> None:
    q, k, v, r, *biases = draws(2, 3, 4, 9, 5)
    unseen = torch.arange(9) < torch.tensor([[0], [2], [5]])
    found = way(q, k, v, r, *biases, unseen=unseen)
    for row, hidden in enumerate((0, 2, 5)):
        one = slice(row, row + 1)
        alone = relative_attention(q[:, one], k[:, one, hidden:], v[:, one, hidden:], r[:, hidden:], *biases)
        torch.testing.assert_close(found[:, one], alone)


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 5), (4, 4), (3, 8)])
def test_the_two_shifts_agree_where_keys_are_seen(queries: int, keys: int) -> None:
    raw = torch.arange(2.0 * queries * keys).view(2, queries, keys)
    moved = relative_shift(raw)
    seen = ~torch.ones(queries, keys, dtype=torch.bool).triu_(keys - queries + 1)
    assert torch.equal(cpu.shifted(raw)[:, seen], moved[:, seen])
    assert (moved[:, ~seen] == -torch.inf).all()


def test_bf16_is_near_and_no_queries_give_nothing() -> None:
    parts = [part.detach() for part in draws(2, 2, 130, 200, 8)]
    found = relative_attention(*(part.bfloat16() for part in parts))
    torch.testing.assert_close(found.double(), relative_attention(*parts), atol=0.05, rtol=0.05)
    empty = draws(2, 2, 0, 3, 4)
    assert relative_attention(*empty).shape == (2, 2, 0, 4)
