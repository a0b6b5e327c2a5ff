"""The trunk: causal order, caches, padding, recompute, and the four hooks of a Delta."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from textmill.errors import ConfigError
from textmill.layers.cache import KVCache
from textmill.layers.config import AttentionPattern, RecomputeName, RotaryConfig, TransformerConfig
from textmill.layers.delta import Delta
from textmill.layers.transformer import Transformer

GPT_LIKE: dict[str, Any] = {}
POST: dict[str, Any] = {"norm_position": "post"}
LLAMA_LIKE: dict[str, Any] = {
    "norm": "rms", "positions": "rotary", "feed_forward": "swiglu", "num_kv_heads": 2, "qk_norm": True, "bias": False,
}  # fmt: skip
FORMS = [GPT_LIKE, POST, LLAMA_LIKE]


def trunk(**settings: Any) -> Transformer:
    torch.manual_seed(0)
    sizes = {
        "num_layers": 2, "width": 16, "num_heads": 4, "num_kv_heads": 4, "head_dim": 4, "feed_forward_width": 24,
        "context_length": 12,
    }  # fmt: skip
    return Transformer(TransformerConfig(**(sizes | settings)))


def cache_for(model: Transformer, rows: int, capacity: int = 12) -> KVCache:
    config = model.config
    return KVCache(config.num_layers, (rows, config.num_kv_heads, capacity, config.head_dim))


@pytest.mark.parametrize("form", FORMS)
def test_no_token_sees_a_later_one(form: dict[str, Any]) -> None:
    model = trunk(**form)
    x = torch.randn(1, 7, 16)
    changed = torch.cat((x[:, :4], torch.randn(1, 3, 16)), 1)
    torch.testing.assert_close(model(x)[:, :4], model(changed)[:, :4])
    assert not torch.allclose(model(x)[:, 4:], model(changed)[:, 4:])


def test_all_tokens_are_seen_without_causal_order() -> None:
    model = trunk(causal=False)
    x = torch.randn(1, 5, 16)
    changed = torch.cat((x[:, :4], torch.randn(1, 1, 16)), 1)
    assert not torch.allclose(model(x)[:, 0], model(changed)[:, 0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [[1] * 8, [5, 1, 1, 1], [3, 4, 1], [1, 7]])
@torch.no_grad()
def test_cache_equals_the_whole_pass(form: dict[str, Any], steps: list[int]) -> None:
    model = trunk(**form)
    x = torch.randn(2, 8, 16)
    cache = cache_for(model, 2)
    parts = [model(part, cache=cache) for part in x.split(steps, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(x), atol=1e-5, rtol=1e-4)
    assert cache.length == 8


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_rows_of_different_lengths(form: dict[str, Any]) -> None:
    model = trunk(**form)
    x = torch.randn(3, 9, 16)
    lengths = [5, 2, 4]
    cache = cache_for(model, 3)
    model(x[:, :5], cache=cache)
    cache.set_lengths(lengths)
    for step in range(3):
        new = torch.stack([x[row, length + step] for row, length in enumerate(lengths)])[:, None]
        y = model(new, cache=cache)
        for row, length in enumerate(lengths):
            alone = model(x[row : row + 1, : length + step + 1])[:, -1]
            torch.testing.assert_close(y[row], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("form", [*FORMS, {"causal": False}])
def test_padding_on_either_side_changes_nothing(form: dict[str, Any]) -> None:
    model = trunk(**form)
    x = torch.randn(1, 5, 16)
    junk = torch.randn(1, 3, 16)
    alone = model(x)
    real = torch.tensor([[False] * 3 + [True] * 5])
    torch.testing.assert_close(model(torch.cat((junk, x), 1), real=real)[:, 3:], alone, atol=1e-5, rtol=1e-4)
    padded = model(torch.cat((x, junk), 1), real=real.flip(1))
    torch.testing.assert_close(padded[:, :5], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("what", ["block", "attention", "feed_forward"])
@pytest.mark.parametrize("form", FORMS)
def test_recompute_gives_the_same_gradients(form: dict[str, Any], what: RecomputeName) -> None:
    model = trunk(**form, dropout=0.1).train()
    x = torch.randn(2, 6, 16)
    gradients = []
    for recompute in ("none", what):
        model.recompute = recompute
        model.zero_grad()
        torch.manual_seed(1)
        model(x).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters() if weight.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("what", "layers", "expected"),
    [
        ("none", None, {"attention": 1, "feed_forward": 1}),
        ("block", None, {"attention": 2, "feed_forward": 2}),
        ("attention", None, {"attention": 2, "feed_forward": 1}),
        ("feed_forward", None, {"attention": 1, "feed_forward": 2}),
        ("block", {1}, {"attention": 1.5, "feed_forward": 1.5}),
    ],
)
def test_recompute_computes_what_it_says_twice(
    what: RecomputeName, layers: set[int] | None, expected: dict[str, float]
) -> None:
    model = trunk()
    model.recompute, model.recompute_layers = what, layers
    calls: Counter[str] = Counter()
    for block in model.blocks:
        for part in expected:
            getattr(block, part).register_forward_pre_hook(lambda *_, part=part: calls.update([part]))
    model(torch.randn(1, 6, 16)).sum().backward()
    assert {part: calls[part] / 2 for part in expected} == expected
    calls.clear()
    model.eval()(torch.randn(1, 6, 16)).sum().backward()
    assert set(calls.values()) == {2}


def test_no_norm_before_the_first_attention() -> None:
    model = trunk(first_norm=False)
    assert model.blocks[0].attention_norm is None
    assert model.blocks[1].attention_norm is not None
    seen: list[Tensor] = []
    model.blocks[0].attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 3, 16)
    model(x)
    assert model.positions is not None
    torch.testing.assert_close(seen[0], x + model.positions.weight[:3])


@pytest.mark.parametrize("position", ["pre", "post"])
def test_a_norm_of_the_embedding(position: str) -> None:
    model = trunk(embedding_norm=True, norm_position=position)
    assert model.positions is not None
    assert (model.norm is None) == (position == "post")
    assert isinstance(model.embedding_norm, nn.LayerNorm)
    nn.init.normal_(model.embedding_norm.weight)
    seen: list[Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(2, 3, 16)
    model(x)
    y = x + model.positions.weight[:3]
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(seen[0], y * model.embedding_norm.weight + model.embedding_norm.bias)


def test_local_layers_turn_by_their_own_angles() -> None:
    pattern = AttentionPattern(kind="window", window=12, global_every=2)
    form = {"positions": "rotary", "causal": False, "attention": pattern}
    own = trunk(**form, local_rotary=RotaryConfig(theta=50.0))
    same = trunk(**form, local_rotary=RotaryConfig())
    x = torch.randn(1, 6, 16)
    torch.testing.assert_close(same(x), trunk(**form)(x))
    rotations = []
    for block in own.blocks:
        heads = block.attention._heads
        block.attention._heads = lambda qkv, rotation, heads=heads: rotations.append(rotation) or heads(qkv, rotation)
    own(x)
    assert own.rotary is not None
    assert own.local_rotary is not None
    for rotation, rotary in zip(rotations, (own.rotary, own.local_rotary), strict=True):
        torch.testing.assert_close(rotation[0].flatten(0, 2), rotary.cos[:6])
    assert not torch.allclose(own.rotary.cos[:6], own.local_rotary.cos[:6])


def test_dropout_only_while_training() -> None:
    model = trunk(dropout=0.5, attention_dropout=0.5)
    x = torch.randn(1, 4, 16)
    assert not torch.allclose(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_too_many_tokens() -> None:
    with pytest.raises(ConfigError, match="positions for 12 tokens, got 13"):
        trunk()(torch.zeros(1, 13, 16))


class Counting(Delta):
    """Counts every call, and can change the outcome at each hook."""

    def __init__(self, *, extra: int = 0, prompts: int = 0, scale: float = 1.0, kv_heads: int = 4) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.extra, self.scale = extra, scale
        torch.manual_seed(5)
        self.keys, self.values = torch.randn(2, kv_heads, extra, 4), torch.randn(2, kv_heads, extra, 4)
        self.vectors = torch.randn(prompts, 16) if prompts else None

    def linear(self, site: str, layer: nn.Module, x: Tensor) -> Tensor:
        self.calls[site] += 1
        return layer(x)

    def stream(self, site: str, x: Tensor) -> Tensor:
        self.calls[f"stream {site}"] += 1
        return x * self.scale

    def kv(self, layer: int) -> tuple[Tensor, Tensor] | None:
        self.calls[f"kv {layer}"] += 1
        return (self.keys[layer], self.values[layer]) if self.extra else None

    def prompt(self) -> Tensor | None:
        self.calls["prompt"] += 1
        return self.vectors


@pytest.mark.parametrize("form", FORMS)
def test_every_hook_is_called_once_at_every_site(form: dict[str, Any]) -> None:
    model = trunk(**form)
    delta = Counting()
    x = torch.randn(1, 3, 16)
    assert torch.equal(model(x, delta=delta), model(x))
    matrices = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    streams = [f"stream blocks.{i}.{part}" for i in range(2) for part in ("attention", "feed_forward")]
    expected = [*matrices, *streams, "kv 0", "kv 1", "prompt"]
    assert delta.calls == Counter(expected)


def test_stream_hook_changes_the_output() -> None:
    model = trunk()
    x = torch.randn(1, 3, 16)
    # sub-layers that add nothing leave the input and its position
    assert model.positions is not None
    assert model.norm is not None
    torch.testing.assert_close(model(x, delta=Counting(scale=0.0)), model.norm(x + model.positions.weight[:3]))


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_prompt_equals_vectors_before_the_text(form: dict[str, Any]) -> None:
    model = trunk(**form)
    x = torch.randn(2, 6, 16)
    delta = Counting(prompts=3)
    assert delta.vectors is not None
    expected = model(torch.cat((delta.vectors.expand(2, -1, -1), x), 1))[:, 3:]
    torch.testing.assert_close(model(x, delta=delta), expected)
    cache = cache_for(model, 2)
    parts = [model(part, cache=cache, delta=delta) for part in x.split([2, 1, 3], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-5, rtol=1e-4)
    real = torch.tensor([[False] + [True] * 5] * 2)
    padded = model(x, delta=delta, real=real)[:, 1:]
    torch.testing.assert_close(padded, model(x[:, 1:], delta=delta), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_extra_keys_and_values(form: dict[str, Any]) -> None:
    model = trunk(**form)
    x = torch.randn(2, 6, 16)
    delta = Counting(extra=3, kv_heads=model.config.num_kv_heads)
    whole = model(x, delta=delta)
    assert not torch.allclose(whole, model(x))
    # causal still
    torch.testing.assert_close(model(x[:, :4], delta=delta), whole[:, :4], atol=1e-5, rtol=1e-4)
    cache = cache_for(model, 2)
    parts = [model(part, cache=cache, delta=delta) for part in x.split([3, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-4)
    real = torch.tensor([[False] * 2 + [True] * 4] * 2)
    padded = model(x, delta=delta, real=real)[:, 2:]
    torch.testing.assert_close(padded, model(x[:, 2:], delta=delta), atol=1e-5, rtol=1e-4)


def test_extra_key_by_definition() -> None:
    """One layer, one head: attention over the extra key and the token's own."""
    model = trunk(num_layers=1, width=4, num_heads=1, num_kv_heads=1, positions="none")
    delta = Counting(extra=1, kv_heads=1)
    delta.keys, delta.values = torch.randn(1, 1, 1, 4), torch.randn(1, 1, 1, 4)
    attention = model.blocks[0].attention
    seen: list[Tensor] = []
    attention.out.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 1, 4)
    model(x, delta=delta)
    q, k, v = attention.qkv(model.blocks[0].attention_norm(x))[0, 0].split(4)
    scores = torch.stack((q @ delta.keys[0, 0, 0], q @ k)) / 2
    weights = scores.softmax(0)
    torch.testing.assert_close(seen[0][0, 0], weights[0] * delta.values[0, 0, 0] + weights[1] * v)
