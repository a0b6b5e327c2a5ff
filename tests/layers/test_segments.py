"""Unpadded passes: one row of many sequences gives what each sequence alone gives, values and gradients."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.layers.cache import KVCache
from textmill.layers.config import AttentionPattern, RotaryConfig, TransformerConfig
from textmill.layers.delta import Delta
from textmill.layers.segments import Segments
from textmill.layers.transformer import Transformer
from textmill.ops.attention import varlen

LLAMA_LIKE: dict[str, Any] = {
    "norm": "rms", "positions": "rotary", "feed_forward": "swiglu", "num_kv_heads": 2, "qk_norm": True, "bias": False,
}  # fmt: skip
ENCODER: dict[str, Any] = {"causal": False, "norm_position": "post", "embedding_norm": True}
MODERN: dict[str, Any] = {
    "causal": False, "norm_bias": False, "bias": False, "first_norm": False, "embedding_norm": True,
    "positions": "rotary", "feed_forward": "geglu", "local_rotary": RotaryConfig(theta=100.0),
    "attention": AttentionPattern(kind="window", window=8, global_every=2),
}  # fmt: skip
WINDOW = LLAMA_LIKE | {"attention": AttentionPattern(kind="window", window=5)}
STRIDED: dict[str, Any] = {"attention": AttentionPattern(kind="strided", stride=4)}
BLOCK: dict[str, Any] = {
    "causal": False, "attention": AttentionPattern(kind="block", block=4, global_tokens=2, random_blocks=1)
}  # fmt: skip
FORMS = {
    "gpt": {}, "llama": LLAMA_LIKE, "encoder": ENCODER, "modern": MODERN, "window": WINDOW, "strided": STRIDED,
    "block": BLOCK,
}  # fmt: skip
LENGTHS = [3, 70, 1, 40, 33, 0, 70, 64]


def trunk(**settings: Any) -> Transformer:
    torch.manual_seed(0)
    sizes = {
        "num_layers": 2, "width": 16, "num_heads": 4, "num_kv_heads": 4, "head_dim": 4, "feed_forward_width": 24,
        "context_length": 80,
    }  # fmt: skip
    return Transformer(TransformerConfig(**(sizes | settings)))


def segments_of(lengths: list[int]) -> Segments:
    return Segments.of(np.concatenate([[0], np.cumsum(lengths)]))


def one_by_one(model: Transformer, x: Tensor, lengths: list[int], delta: Delta | None = None) -> Tensor:
    return torch.cat([model(part, delta=delta) for part in x.split(lengths, 1) if part.shape[1]], 1)


@given(st.lists(st.integers(0, 100), max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_token_has_a_place_of_its_own(lengths: list[int]) -> None:
    segments = segments_of(lengths)
    tokens = torch.arange(1.0, sum(lengths) + 1).unsqueeze(1)
    places = segments.gather(tokens)
    assert torch.equal(segments.scatter(places), tokens)
    assert segments.num_places == len(places) == sum(len(bucket.rows) * bucket.length for bucket in segments.buckets)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    for bucket in segments.buckets:
        rows = places[bucket.begin : bucket.end].view(len(bucket.rows), bucket.length)
        for index, row in enumerate(bucket.rows.tolist()):
            expected = tokens[starts[row] : starts[row + 1], 0]
            assert torch.equal(rows[index, : lengths[row]], expected)
            # zeros stand behind the end
            assert not rows[index, lengths[row] :].any()
            if bucket.real is not None:
                assert bucket.real[index].tolist() == [column < lengths[row] for column in range(bucket.length)]
    expected_positions = [position for length in lengths for position in range(length)]
    assert segments.positions.tolist() == expected_positions


def test_full_rows_are_not_moved() -> None:
    segments = segments_of([64] * 3)
    assert segments.places is None
    x = torch.randn(192, 2)
    assert segments.gather(x) is x
    assert segments.scatter(x) is x


def test_gather_and_scatter_gradients() -> None:
    segments = segments_of([2, 5, 0, 3])
    x = torch.randn(10, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(segments.gather, (x,))
    places = torch.randn(segments.num_places, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(segments.scatter, (places,))


@pytest.mark.parametrize("form", FORMS)
def test_equals_one_sequence_at_a_time(form: str) -> None:
    model = trunk(**FORMS[form])
    x = torch.randn(1, sum(LENGTHS), 16, requires_grad=True)
    together, alone = model(x, segments=segments_of(LENGTHS)), one_by_one(model, x, LENGTHS)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    weight = torch.randn_like(alone)
    wanted = [x, *model.parameters()]
    ours, theirs = (torch.autograd.grad((y * weight).sum(), wanted) for y in (together, alone))
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(model(x, segments=segments_of(LENGTHS)), alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_equals_the_padded_pass(form: str) -> None:
    model = trunk(**FORMS[form])
    lengths = [9, 33, 20]
    rows = torch.randn(3, 33, 16)
    real = torch.arange(33) < torch.tensor(lengths)[:, None]
    unpadded = model(rows[real].unsqueeze(0), segments=segments_of(lengths))
    torch.testing.assert_close(unpadded[0], model(rows, real=real)[real], atol=1e-5, rtol=1e-4)


def test_bf16() -> None:
    model = trunk(**ENCODER)
    x = torch.randn(1, sum(LENGTHS), 16)
    exact = one_by_one(model, x, LENGTHS)
    rounded = model.bfloat16()(x.bfloat16(), segments=segments_of(LENGTHS))
    assert rounded.dtype == torch.bfloat16
    assert (rounded - exact).norm() < 0.03 * exact.norm()


def test_empty_stream() -> None:
    x = torch.randn(1, 0, 16, requires_grad=True)
    y = trunk()(x, segments=segments_of([0, 0]))
    y.sum().backward()
    assert y.shape == (1, 0, 16)


class Extra(Delta):
    """Extra keys and values, the same for all sequences or of each its own; or a prompt."""

    def __init__(self, rows: int, prompts: int = 0) -> None:
        super().__init__()
        self.keys, self.values = torch.randn(2, 2, rows, 4, 3, 4).unbind(0)
        self.row: int | None = None
        self.vectors = torch.randn(prompts, 16) if prompts else None

    def kv(self, layer: int) -> tuple[Tensor, Tensor] | None:
        rows = slice(None) if self.row is None else slice(self.row, self.row + 1)
        return self.keys[layer, rows], self.values[layer, rows]

    def prompt(self) -> Tensor | None:
        return self.vectors


@pytest.mark.parametrize("form", ["gpt", "encoder", "strided"])
@pytest.mark.parametrize("rows", [1, 4])
def test_extra_keys_and_values(form: str, rows: int) -> None:
    model = trunk(**FORMS[form])
    lengths = [5, 40, 1, 7]
    x = torch.randn(1, sum(lengths), 16)
    delta = Extra(rows)
    together = model(x, segments=segments_of(lengths), delta=delta)
    alone = []
    for row, part in enumerate(x.split(lengths, 1)):
        delta.row = row if rows > 1 else None
        alone.append(model(part, delta=delta))
    torch.testing.assert_close(together, torch.cat(alone, 1), atol=1e-5, rtol=1e-4)


def test_what_an_unpadded_pass_refuses() -> None:
    model = trunk()
    x, segments = torch.randn(1, 8, 16), segments_of([5, 3])
    with pytest.raises(NotSupportedError, match="a delta with a prompt"):
        model(x, segments=segments, delta=Extra(1, prompts=2))
    with pytest.raises(NotSupportedError, match="no cache"):
        model(x, segments=segments, cache=KVCache(2, (1, 4, 12, 4)))
    with pytest.raises(NotSupportedError, match="no padding"):
        model(x, segments=segments, real=torch.ones(1, 8, dtype=torch.bool))
    with pytest.raises(DataError, match="one row of 8 tokens, got 2 rows of 4"):
        model(x.view(2, 4, 16), segments=segments)
    with pytest.raises(ConfigError, match="positions for 80 tokens, got 81"):
        model(torch.randn(1, 81, 16), segments=segments_of([81]))
    # many short sequences may be longer than the context together
    assert model(torch.randn(1, 160, 16), segments=segments_of([80, 80])).shape == (1, 160, 16)


@pytest.mark.parametrize("starts", [[1, 4], [0, 4, 3], []])
def test_wrong_starts(starts: list[int]) -> None:
    with pytest.raises(DataError, match="must begin at 0 and never go back"):
        Segments.of(torch.tensor(starts))


@pytest.mark.parametrize("form", ["gpt", "llama", "encoder", "modern", "window"])
def test_the_kernel_that_gathers_nothing(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed to torch's kernel for CUDA, by a stand-in that follows its description."""
    calls = []

    def stand_in(
        q: Tensor, k: Tensor, v: Tensor, starts: Tensor, starts_k: Tensor, longest: int, longest_k: int,
        *, window_size: tuple[int, int], enable_gqa: bool,
    ) -> Tensor:  # fmt: skip
        assert starts.dtype == torch.int32
        assert longest == longest_k == 70
        assert torch.equal(starts, starts_k)
        assert enable_gqa == (q.shape[1] != k.shape[1])
        calls.append(window_size)
        ends, out = starts.tolist(), torch.empty_like(q)
        for begin, end in pairwise(ends):
            one, two, three = (part[begin:end].transpose(0, 1) for part in (q, k, v))
            apart = torch.arange(end - begin)[:, None] - torch.arange(end - begin)
            before, after = (reach if reach >= 0 else end - begin for reach in window_size)
            mask = (apart <= before) & (-apart <= after)
            y = F.scaled_dot_product_attention(one[None], two[None], three[None], mask, enable_gqa=True)
            out[begin:end] = y[0].transpose(0, 1)
        return out

    model = trunk(**FORMS[form])
    x = torch.randn(1, sum(LENGTHS), 16)
    expected = model(x, segments=segments_of(LENGTHS))
    monkeypatch.setattr(varlen, "serves", lambda q, dropout: True)
    monkeypatch.setattr(varlen, "kernel", lambda: stand_in)
    torch.testing.assert_close(model(x, segments=segments_of(LENGTHS)), expected, atol=1e-5, rtol=1e-4)
    assert calls == {"gpt": [(-1, 0)] * 2, "modern": [(-1, -1), (4, 4)], "window": [(4, 0)] * 2}.get(form, calls)
