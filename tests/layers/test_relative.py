"""The layer against section 3.3's four terms by loops; the trunk's memory against one window; few against many."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from textmill.layers.config import TransformerConfig
from textmill.layers.memory import joined, rows_of
from textmill.layers.relative import RelativeAttention, RelativeTransformer, SegmentPass, sinusoids


def settings(**changes: Any) -> TransformerConfig:
    values: dict[str, Any] = {"num_layers": 3, "width": 12, "num_heads": 3, "num_kv_heads": 3, "head_dim": 4}
    values |= {"feed_forward_width": 10, "context_length": 99, "positions": "none", "feed_forward": "relu"}
    return TransformerConfig(**{**values, "norm_position": "post", **changes})


def trunk(memory_length: int = 40, segment_length: int = 40, **changes: Any) -> RelativeTransformer:
    made = RelativeTransformer(settings(**changes), memory_length=memory_length, segment_length=segment_length)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 2)
    return made.double().eval()


def draw(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(layer: RelativeAttention, x: Tensor, before: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """One query and one key after the other, with the paper's matrices. x: [T W], before: [M W]."""
    H, D, W = layer.num_heads, layer.head_dim, x.shape[1]
    states = torch.cat((before, x))
    W_q, W_kR = layer.queries.weight.view(H, D, W), layer.positions.weight.view(H, D, W)
    W_kE, W_v = layer.keys_values.weight.view(2, H, D, W)
    outputs = []
    for i in range(len(before), len(states)):
        heads = []
        for h in range(H):
            q, scores = W_q[h] @ states[i], []
            for j in range(i + 1):
                distance = i - j
                angles = [distance * 10_000 ** (-2 * n / W) for n in range(W // 2)]
                R = torch.tensor([*map(math.sin, angles), *map(math.cos, angles)], dtype=torch.float64)
                a = q @ (W_kE[h] @ states[j])
                b = q @ (W_kR[h] @ R)
                c = u[h] @ (W_kE[h] @ states[j])
                d = v[h] @ (W_kR[h] @ R)
                scores.append((a + b + c + d) / math.sqrt(D))
            p = torch.stack(scores).softmax(0)
            heads.append(sum(p[j] * (W_v[h] @ states[j]) for j in range(i + 1)))
        outputs.append(layer.out.weight @ torch.cat(heads))
    return torch.stack(outputs)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(("time", "before"), [(5, 0), (3, 4), (1, 3), (1, 0), (2, 6)])
def test_attention_equals_the_four_terms(time: int, before: int, grad: bool) -> None:
    """With gradients all keys are made; without them a few queries go to the states themselves."""
    made = trunk()
    layer = made.blocks[0].attention
    seen = draw(2, before + time, 12)
    u, v = made.content_bias, made.position_bias
    carried = SegmentPass(sinusoids(before + time, 12, seen), u, v, None)
    expected = torch.stack([by_definition(layer, row[before:], row[:before], u, v) for row in seen])
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(layer(seen[:, before:], seen, carried), expected)


@pytest.mark.parametrize("norm_position", ["post", "pre"])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("grad", [True, False])
def test_segments_equal_one_window(norm_position: str, num_layers: int, grad: bool) -> None:
    """While the memory holds all that was read, however the text is cut."""
    made, x = trunk(norm_position=norm_position, num_layers=num_layers), draw(2, 31, 12)
    expected, remembered = made(x, made.new_memory(2))
    with torch.set_grad_enabled(grad):
        memory, outputs = made.new_memory(2), []
        for piece in torch.split(x, [7, 1, 1, 13, 2, 7], 1):
            y, memory = made(piece, memory)
            outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), expected)
    torch.testing.assert_close(memory, remembered)


def test_a_short_memory_of_one_layer_is_a_window() -> None:
    """One layer sees the last M states before its segment, and no more."""
    made, x = trunk(memory_length=3, num_layers=1), draw(1, 12, 12)
    _, memory = made(x[:, :8], made.new_memory(1))
    found, _ = made(x[:, 8:], memory)
    expected, _ = made(x[:, 5:], made.new_memory(1))
    torch.testing.assert_close(found, expected[:, 3:])


def test_every_layer_sees_further_back() -> None:
    """With L layers a segment of one token still depends on what stood L M tokens before it, and on nothing older."""
    made = trunk(memory_length=2, num_layers=3, segment_length=1)
    x = draw(1, 10, 12).requires_grad_()
    memory, gradients = made.new_memory(1), []
    for t in range(10):
        y, memory = made(x[:, t : t + 1], memory)
    for changed in range(10):
        other = x.detach().clone()
        other[0, changed] += 1
        again, _ = made(other, made.new_memory(1))
        gradients.append(not torch.equal(again[:, -1], y[:, -1]))
    assert gradients == [t >= 9 - 3 * 2 for t in range(10)]


def test_a_long_text_is_read_in_segments() -> None:
    made, x = trunk(memory_length=3, segment_length=4), draw(2, 10, 12)
    found, after = made(x, made.new_memory(2))
    memory, outputs = made.new_memory(2), []
    for piece in torch.split(x, 4, 1):
        y, memory = made(piece, memory)
        outputs.append(y)
    assert torch.equal(found, torch.cat(outputs, 1))
    assert torch.equal(after["states"][2], memory["states"][2])


def test_no_gradient_into_the_memory() -> None:
    made = trunk()
    x = draw(1, 6, 12).requires_grad_()
    _, memory = made(x[:, :4], made.new_memory(1))
    y, _ = made(x[:, 4:], memory)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert (gradient[:, :4] == 0).all()
    assert (gradient[:, 4:] != 0).all()


@pytest.mark.parametrize("grad", [True, False])
def test_rows_that_know_more_and_less(grad: bool) -> None:
    made, x = trunk(memory_length=5), draw(3, 11, 12)
    with torch.set_grad_enabled(grad):
        memories = [made(x[row : row + 1, : read + 1], made.new_memory(1))[1] for row, read in enumerate((1, 8, 3))]
        memories[0] = made.new_memory(1)
        together, after = made(x[:, -2:], joined(memories))
        for row, memory in enumerate(memories):
            alone, own = made(x[row : row + 1, -2:], memory)
            torch.testing.assert_close(together[row : row + 1], alone)
            assert torch.equal(rows_of(after, row, row + 1)["known"], own["known"])
            known = int(own["known"])
            torch.testing.assert_close(after["states"][1][row, 5 - known :], own["states"][1][0, 5 - known :])


def test_without_a_memory_each_segment_stands_alone() -> None:
    made, x = trunk(memory_length=0), draw(2, 8, 12)
    _, memory = made(x[:, :4], made.new_memory(2))
    found, _ = made(x[:, 4:], memory)
    torch.testing.assert_close(found, made(x[:, 4:], made.new_memory(2))[0])


def test_sinusoids_of_odd_width_and_many_distances() -> None:
    table = sinusoids(600, 7, torch.zeros(1, dtype=torch.float64))
    assert table.shape == (600, 7)
    assert table[-1].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert table[0, 0].item() == pytest.approx(math.sin(599))
    assert torch.equal(sinusoids(5, 7, table), table[-5:])
    with torch.inference_mode():
        made_while_generating = sinusoids(1000, 6, torch.zeros(1))
    assert not made_while_generating.is_inference()


def test_dropout_acts_while_training_alone() -> None:
    made, x = trunk(dropout=0.3, attention_dropout=0.3), draw(1, 6, 12)
    plain = trunk()(x, trunk().new_memory(1))[0]
    torch.testing.assert_close(made(x, made.new_memory(1))[0], plain)
    torch.manual_seed(0)
    made.train()
    one, other = (made(x, made.new_memory(1))[0] for _ in range(2))
    assert not torch.allclose(one, other)
    assert (one == 0).double().mean().item() == pytest.approx(0.3, abs=0.15)
