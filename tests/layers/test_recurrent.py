"""The stack against the cells' definitions, step by step; every dropout against what its paper says."""

import pytest
import torch
from torch import nn

from textmill.layers.memory import map_memory
from textmill.layers.recurrent import CellKind, RecurrentConfig, RecurrentLayer, RecurrentStack, locked_dropout
from textmill.ops.recurrent import elman_step, gru_step, lstm_step
from textmill.ops.recurrent.reference import Cell

KINDS: list[CellKind] = ["tanh", "relu", "lstm", "gru"]


def stack(cell: CellKind, **changes: float) -> RecurrentStack:
    made = RecurrentStack(RecurrentConfig(cell=cell, num_layers=3, width=4, hidden_width=6, **changes))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 2)
    return made.double()


def by_definition(layers: RecurrentStack, x: torch.Tensor) -> torch.Tensor:
    """One token after the other, one layer after the other."""
    memory = [tuple(torch.zeros(len(x), layer.width, dtype=x.dtype) for _ in range(2)) for layer in layers.blocks]
    outputs = []
    for t in range(x.shape[1]):
        y = x[:, t]
        for number, layer in enumerate(layers.blocks):
            cell = Cell(layer.input_weight, layer.hidden_weight, layer.input_bias, layer.hidden_bias)
            h, c = memory[number]
            if layer.cell == "lstm":
                h, c = lstm_step(y, h, c, cell)
            elif layer.cell == "gru":
                h = gru_step(y, h, cell)
            else:
                h = elman_step(y, h, cell, relu=layer.cell == "relu")
            memory[number] = (h, c)
            y = h
        outputs.append(y)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize(("rows", "time"), [(3, 7), (1, 1)])
def test_equals_the_definition_and_its_gradients(cell: CellKind, rows: int, time: int) -> None:
    layers = stack(cell)
    x = torch.randn(rows, time, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    found, expected = layers(x, layers.new_memory(rows))[0], by_definition(layers, x)
    torch.testing.assert_close(found, expected)
    wanted = [x, *layers.parameters()]
    pairs = zip(
        torch.autograd.grad(found.square().sum(), wanted),
        torch.autograd.grad(expected.square().sum(), wanted),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("cell", KINDS)
def test_equals_torchs_module(cell: CellKind) -> None:
    """Ours is torch's kernel, weight by weight."""
    layer = RecurrentLayer(cell, 4, 6)
    twin = {"lstm": nn.LSTM, "gru": nn.GRU}.get(cell, nn.RNN)(4, 6, batch_first=True)
    if cell == "relu":
        twin = nn.RNN(4, 6, batch_first=True, nonlinearity="relu")
    layer.load_state_dict(dict(zip(layer.state_dict(), twin.state_dict().values(), strict=True)))
    x = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(2))
    found, _ = layer(x, layer.new_memory(3), 0.0)
    assert torch.equal(found, twin(x)[0])


@pytest.mark.parametrize("cell", KINDS)
def test_a_memory_goes_on(cell: CellKind) -> None:
    layers = stack(cell)
    x = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    first, memory = layers(x[:, :4], layers.new_memory(3))
    second, _ = layers(x[:, 4:], memory)
    torch.testing.assert_close(torch.cat((first, second), 1), layers(x, layers.new_memory(3))[0])
    # the first axis is the row
    alone, _ = layers(x[1:2, 4:], map_memory(lambda part: part[1:2], memory))
    torch.testing.assert_close(alone, second[1:2])


@pytest.mark.parametrize("cell", KINDS)
def test_runs_in_bf16(cell: CellKind) -> None:
    layers = stack(cell)
    x = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64) / 2
    exact = layers(x, layers.new_memory(3))[0]
    layers.bfloat16()
    found, memory = layers(x.bfloat16(), layers.new_memory(3))
    found.sum().backward()
    assert found.dtype == memory[0][0].dtype == torch.bfloat16
    error = (found.double() - exact).norm() / exact.norm()
    assert error < 0.03
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in layers.parameters())


def test_locked_dropout() -> None:
    torch.manual_seed(0)
    dropped = locked_dropout(torch.ones(50, 6, 40), 0.25)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    # the same at all times, and not the same in all rows
    assert (dropped == dropped[:, :1]).all()
    assert not (dropped == dropped[:1]).all()
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)


def test_weight_drop_is_dropout_of_the_hidden_matrix() -> None:
    layer = RecurrentLayer("lstm", 4, 6)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    x = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(3)
    found, _ = layer(x, layer.new_memory(3), 0.5)
    torch.manual_seed(3)
    dropped = nn.functional.dropout(layer.hidden_weight.detach(), 0.5)
    twin = RecurrentLayer("lstm", 4, 6)
    twin.load_state_dict(layer.state_dict() | {"hidden_weight": dropped})
    torch.testing.assert_close(found, twin(x, twin.new_memory(3), 0.0)[0])
    # a dropped weight gets no gradient, a kept one a doubled one
    found.sum().backward()
    assert torch.equal(layer.hidden_weight.grad == 0, dropped == 0)


@pytest.mark.parametrize("name", ["input_dropout", "layer_dropout", "output_dropout", "weight_drop"])
def test_each_dropout_acts_while_training_only(name: str) -> None:
    plain, dropping = stack("gru"), stack("gru", **{name: 0.5})
    x = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.manual_seed(0)
    expected = plain(x, plain.new_memory(3))[0]
    assert not torch.allclose(dropping(x, plain.new_memory(3))[0], expected)
    assert torch.equal(dropping.eval()(x, plain.new_memory(3))[0], expected)
