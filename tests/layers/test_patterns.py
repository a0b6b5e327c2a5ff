"""Patterns: the definition by loops, and the trunk against the definition in every layout."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.layers import patterns
from textmill.layers.cache import KVCache
from textmill.layers.config import AttentionPattern, TransformerConfig
from textmill.layers.patterns import layout, links, pattern_mask
from textmill.layers.transformer import Transformer
from textmill.ops.attention.blocked import blocked_attention

PATTERNS: dict[str, dict[str, Any]] = {
    "window": {"kind": "window", "window": 9},
    "window 1": {"kind": "window", "window": 1},
    "wide window": {"kind": "window", "window": 70},
    "strided": {"kind": "strided", "stride": 5},
    "strided apart": {"kind": "strided", "stride": 5, "merged": False},
    "fixed": {"kind": "fixed", "stride": 6, "summary": 2},
    "fixed apart": {"kind": "fixed", "stride": 6, "summary": 2, "merged": False},
    "block": {"kind": "block", "block": 4, "local_blocks": 2},
    "big bird": {"kind": "block", "block": 4, "global_tokens": 3, "random_blocks": 2, "seed": 7},
}


def by_loops(pattern: AttentionPattern, layer: int, T: int, causal: bool) -> list[list[bool]]:
    """The sets of the papers, pair by pair; l and c as in Child et al., section 4.3."""
    l, c = pattern.stride, pattern.summary  # noqa: E741
    table = links(pattern, layer, -(-T // pattern.block), causal)

    def sees(i: int, j: int) -> bool:
        if causal and j > i:
            return False
        if pattern.kind == "window":
            return i - j < pattern.window if causal else abs(i - j) <= pattern.window // 2
        if pattern.kind == "block":
            near = abs(i // pattern.block - j // pattern.block) <= pattern.local_blocks
            chosen = bool(table[i // pattern.block, j // pattern.block])
            return near or chosen or min(i, j) < pattern.global_tokens
        first = abs(i - j) <= l if pattern.kind == "strided" else i // l == j // l
        second = (i - j) % l == 0 if pattern.kind == "strided" else j % l in range(l - c, l) or i == j
        if pattern.merged:
            return first or second
        return second if layer % 2 else first

    return [[sees(i, j) for j in range(T)] for i in range(T)]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", PATTERNS)
def test_the_mask_is_the_definition(name: str, causal: bool) -> None:
    pattern = AttentionPattern(**PATTERNS[name])
    for layer in (0, 1):
        mask = pattern_mask(pattern, layer, 30, 30, causal=causal)
        assert mask.tolist() == by_loops(pattern, layer, 30, causal)
        assert mask.diagonal().all()
        # the last queries alone, as with a cache
        assert torch.equal(pattern_mask(pattern, layer, 4, 30, causal=causal), mask[-4:])


def test_global_layers_are_dense() -> None:
    pattern = AttentionPattern(kind="window", window=2, global_every=3)
    full = torch.ones(5, 5).tril().bool()
    equal = [torch.equal(pattern_mask(pattern, layer, 5, 5), full) for layer in range(5)]
    assert equal == [True, False, False, True, False]


@pytest.mark.parametrize("causal", [True, False])
def test_links_are_drawn_from_what_is_far(causal: bool) -> None:
    pattern = AttentionPattern(kind="block", local_blocks=1, random_blocks=3, seed=1)
    table = links(pattern, 2, 20, causal)
    for row in range(20):
        far = [column for column in range(20) if (row - column if causal else abs(row - column)) > 1]
        chosen = table[row].nonzero()[0].tolist()
        assert set(chosen) <= set(far)
        assert len(chosen) == min(3, len(far))
    assert (table != links(pattern, 3, 20, causal)).any()
    assert (table != links(AttentionPattern(kind="block", random_blocks=3, seed=2), 2, 20, causal)).any()
    if causal:
        # what follows changes nothing
        assert (links(pattern, 2, 9, True) == table[:9, :9]).all()


def compare(got: Tensor, expected: Tensor, parts: list[Tensor], weight: Tensor) -> None:
    torch.testing.assert_close(got * (weight != 0), expected * (weight != 0))
    ours, theirs = (torch.autograd.grad((y * weight).sum(), parts) for y in (got, expected))
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", PATTERNS)
def test_blocks_equal_the_mask(name: str, causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_worth", lambda num_keys, T: True)
    pattern = AttentionPattern(**PATTERNS[name])
    for layer in (0, 1):
        for T in (1, 2, 33, 100):
            made = layout(pattern, layer, T, causal=causal, context_length=128, device=torch.device("cpu"))
            assert made is not None
            torch.manual_seed(T)
            q, k, v = (torch.randn(2, heads, T, 4, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2))
            mask = pattern_mask(pattern, layer, T, T, causal=causal, context_length=128)
            expected = F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)
            compare(blocked_attention(q, k, v, made), expected, [q, k, v], torch.randn_like(expected))
            with torch.no_grad():
                torch.testing.assert_close(blocked_attention(q, k, v, made), expected)
            if T > 2:
                real = torch.arange(T) < torch.tensor([T, T - 2])[:, None]
                padded = (mask & real[:, None, None]) | torch.eye(T).bool()
                expected = F.scaled_dot_product_attention(q, k, v, padded, enable_gqa=True)
                weight = torch.randn_like(expected) * real[:, None, :, None]
                compare(blocked_attention(q, k, v, made, real), expected, [q, k, v], weight)


@pytest.mark.parametrize("name", ["window", "strided", "strided apart", "fixed", "big bird"])
def test_gradcheck(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_worth", lambda num_keys, T: True)
    pattern = AttentionPattern(**PATTERNS[name])
    made = layout(pattern, 1, 11, causal=False, context_length=16, device=torch.device("cpu"))
    assert made is not None
    parts = [torch.randn(1, 2, 11, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda q, k, v: blocked_attention(q, k, v, made), parts)


@pytest.mark.parametrize("name", PATTERNS)
def test_dropout_of_all_but_nothing_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_worth", lambda num_keys, T: True)
    pattern = AttentionPattern(**PATTERNS[name])
    made = layout(pattern, 1, 20, causal=True, context_length=32, device=torch.device("cpu"))
    assert made is not None
    parts = [torch.randn(1, 2, 20, 4, requires_grad=True) for _ in range(3)]
    y = blocked_attention(*parts, made, dropout=1e-9)
    torch.testing.assert_close(y, blocked_attention(*parts, made), atol=1e-5, rtol=1e-4)
    y.sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in parts)
    assert not torch.equal(blocked_attention(*parts, made, dropout=0.5), y)


def trunk(name: str, **settings: Any) -> Transformer:
    torch.manual_seed(0)
    sizes = {
        "num_layers": 2, "width": 16, "num_heads": 4, "num_kv_heads": 2, "head_dim": 4, "feed_forward_width": 24,
        "context_length": 128, "attention": AttentionPattern(**PATTERNS[name]),
    }  # fmt: skip
    return Transformer(TransformerConfig(**(sizes | settings)))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", PATTERNS)
def test_long_and_short_texts_agree(name: str, causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trunk(name, causal=causal)
    x = torch.randn(2, 120, 16)
    by_choice = model(x)
    monkeypatch.setattr(patterns, "_worth", lambda num_keys, T: False)
    torch.testing.assert_close(by_choice, model(x), atol=1e-5, rtol=1e-4)
    dense = Transformer(TransformerConfig(**{**model.config.__dict__, "attention": AttentionPattern()}))
    dense.load_state_dict(model.state_dict())
    assert not torch.allclose(dense(x), by_choice, atol=1e-3)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("steps", [[1] * 20, [11, 1, 1, 7]])
@torch.no_grad()
def test_token_by_token_equals_the_whole_pass(name: str, steps: list[int]) -> None:
    model = trunk(name, positions="rotary")
    x = torch.randn(2, 20, 16)
    cache = KVCache(2, (2, 2, 32, 4))
    parts = [model(part, cache=cache) for part in x.split(steps, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", PATTERNS)
@torch.no_grad()
def test_decoding_rows_of_different_lengths(name: str) -> None:
    model = trunk(name)
    x, lengths = torch.randn(3, 20, 16), [15, 2, 11]
    cache = KVCache(2, (3, 2, 32, 4))
    model(x[:, :15], cache=cache)
    cache.set_lengths(lengths)
    for step in range(3):
        new = torch.stack([x[row, length + step] for row, length in enumerate(lengths)])[:, None]
        y = model(new, cache=cache)
        for row, length in enumerate(lengths):
            alone = model(x[row : row + 1, : length + step + 1])[:, -1]
            torch.testing.assert_close(y[row], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", PATTERNS)
def test_padding_on_either_side_changes_nothing(name: str, causal: bool) -> None:
    model = trunk(name, causal=causal)
    x, junk = torch.randn(1, 50, 16), torch.randn(1, 20, 16)
    real = torch.tensor([[False] * 20 + [True] * 50])
    alone = model(x)
    left = torch.cat((junk, x), 1).requires_grad_()
    y = model(left, real=real)[:, 20:]
    torch.testing.assert_close(y, alone, atol=1e-5, rtol=1e-4)
    y.sum().backward()
    assert left.grad is not None
    assert left.grad[:, 20:].isfinite().all()
    assert not left.grad[:, :20].any()
    right = model(torch.cat((x, junk), 1), real=real.flip(1))[:, :50]
    torch.testing.assert_close(right, alone, atol=1e-5, rtol=1e-4)
