"""Attention against its definition in loops."""

import math

import pytest
import torch
from torch import Tensor

from textmill.layers.attention import Attention, Pass, Sight, pack_qkv, unpack_qkv
from textmill.layers.cache import KVCache
from textmill.layers.config import RotaryConfig, TransformerConfig
from textmill.layers.delta import IDENTITY
from textmill.layers.positions import Rotary
from textmill.ops.rotary import reference


def make(heads: int, kv_heads: int, **settings: object) -> Attention:
    torch.manual_seed(0)
    config = TransformerConfig(
        num_layers=1, width=12, num_heads=heads, num_kv_heads=kv_heads, head_dim=4, feed_forward_width=8,
        context_length=16, **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    return Attention(config, "blocks.0.attention", 0)


def plain(causal: bool = True, mask: Tensor | None = None, cache: KVCache | None = None) -> Pass:
    return Pass(delta=IDENTITY, cache=cache, rotation=None, sight=Sight(mask, causal))


def by_loops(layer: Attention, x: Tensor, heads: int, kv_heads: int, sees: Tensor) -> Tensor:
    """One query, one key at a time."""
    q, k, v = unpack_qkv(layer.qkv.weight, heads, kv_heads)
    bq, bk, bv = unpack_qkv(layer.qkv.bias, heads, kv_heads)
    batch, time, _ = x.shape
    mixed = torch.zeros(batch, time, heads * 4)
    for b in range(batch):
        for head in range(heads):
            own, shared = slice(4 * head, 4 * head + 4), head // (heads // kv_heads)
            kv = slice(4 * shared, 4 * shared + 4)
            for i in range(time):
                query = q[own] @ x[b, i] + bq[own]
                keys = [k[kv] @ x[b, j] + bk[kv] for j in range(time)]
                scores = torch.stack(
                    [query @ keys[j] / math.sqrt(4) if sees[i, j] else torch.tensor(-math.inf) for j in range(time)]
                )
                weights = scores.softmax(0)
                mixed[b, i, own] = sum(
                    (weights[j] * (v[kv] @ x[b, j] + bv[kv]) for j in range(time)), start=torch.zeros(4)
                )
    return mixed @ layer.out.weight.T + layer.out.bias


@pytest.mark.parametrize(("heads", "kv_heads"), [(3, 3), (4, 2), (4, 1)])
@pytest.mark.parametrize("grad", [True, False])
def test_equals_the_definition(heads: int, kv_heads: int, grad: bool) -> None:
    layer = make(heads, kv_heads)
    x = torch.randn(2, 5, 12)
    with torch.set_grad_enabled(grad):
        causal = layer(x, plain())
        full = layer(x, plain(causal=False))
        one = layer(x[:, :1], plain(causal=False))
    sees = torch.ones(5, 5).tril().bool()
    torch.testing.assert_close(causal, by_loops(layer, x, heads, kv_heads, sees), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(full, by_loops(layer, x, heads, kv_heads, sees | True), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one, causal[:, :1], atol=1e-5, rtol=1e-4)


def test_a_mask_decides() -> None:
    layer = make(4, 2)
    x = torch.randn(1, 4, 12)
    sees = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]).bool()
    y = layer(x, plain(mask=sees[None, None]))
    torch.testing.assert_close(y, by_loops(layer, x, 4, 2, sees), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_heads_are_the_definition_with_and_without_the_kernel(qk_norm: bool, by_row: bool, grad: bool) -> None:
    layer = make(4, 2, qk_norm=qk_norm)
    weights = [None, None]
    if layer.q_norm is not None and layer.k_norm is not None:
        weights = [layer.q_norm.weight.data.normal_(), layer.k_norm.weight.data.normal_()]
    rotary = Rotary(4, 9, RotaryConfig())
    positions = torch.tensor([[0, 1, 2], [5, 6, 7]]) if by_row else slice(2, 5)
    cos, sin = rotary.at(positions, torch.float32)
    qkv = torch.randn(2, 3, 2, 4, 4)
    with torch.set_grad_enabled(grad):
        got = layer._heads(qkv, (cos, sin))
    tables = (table.squeeze(-2).squeeze(-2) for table in (cos, sin))
    for ours, its in zip(got, reference.split_heads(qkv, *tables, *weights, 1e-5), strict=True):
        torch.testing.assert_close(ours, its, atol=1e-5, rtol=1e-4)


def test_gradients() -> None:
    layer = make(2, 1, qk_norm=True).double()
    x = torch.randn(1, 3, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, plain(causal=False)), (x,))


def test_packing_is_reversible() -> None:
    q, k, v = torch.randn(24, 5), torch.randn(8, 5), torch.randn(8, 5)
    for one, other in zip((q, k, v), unpack_qkv(pack_qkv(q, k, v, 2), 6, 2), strict=True):
        assert torch.equal(one, other)
