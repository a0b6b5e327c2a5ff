"""The cells' equations against torch's cells, and against numbers done by hand."""

import math

import pytest
import torch
from torch import nn

from textmill.ops.recurrent import elman_step, gru_step, lstm_step
from textmill.ops.recurrent.reference import Cell

ROWS, INPUTS, WIDTH = 3, 4, 5


def cell_of(module: nn.RNNCellBase) -> Cell:
    return Cell(module.weight_ih, module.weight_hh, module.bias_ih, module.bias_hh)


@pytest.fixture
def state() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((ROWS, INPUTS), (ROWS, WIDTH), (ROWS, WIDTH))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("relu", [False, True])
def test_elman_equals_torch(state: list[torch.Tensor], relu: bool) -> None:
    module = nn.RNNCell(INPUTS, WIDTH, nonlinearity="relu" if relu else "tanh", dtype=torch.float64)
    x, h, _ = state
    torch.testing.assert_close(elman_step(x, h, cell_of(module), relu=relu), module(x, h))


def test_lstm_equals_torch(state: list[torch.Tensor]) -> None:
    module = nn.LSTMCell(INPUTS, WIDTH, dtype=torch.float64)
    x, h, c = state
    torch.testing.assert_close(lstm_step(x, h, c, cell_of(module)), module(x, (h, c)))


def test_gru_equals_torch(state: list[torch.Tensor]) -> None:
    module = nn.GRUCell(INPUTS, WIDTH, dtype=torch.float64)
    x, h, _ = state
    torch.testing.assert_close(gru_step(x, h, cell_of(module)), module(x, h))


def test_open_and_closed_gates() -> None:
    """With gates wide open or shut by their biases, a cell keeps, takes, or hides what it has."""
    x, h, c = torch.tensor([[0.3]]), torch.tensor([[0.2]]), torch.tensor([[0.5]])
    candidate = torch.tensor([0.0, 0.0, 1.0, 0.0])[:, None]

    def lstm(i: float, f: float, o: float) -> tuple[float, float]:
        gates = torch.tensor([i, f, 0.0, o])
        h_after, c_after = lstm_step(x, h, c, Cell(candidate, torch.zeros(4, 1), gates, torch.zeros(4)))
        return h_after.item(), c_after.item()

    keeps = lstm(-99, 99, 99)
    assert keeps == pytest.approx((math.tanh(0.5), 0.5))
    assert lstm(99, -99, 99) == pytest.approx((math.tanh(math.tanh(0.3)), math.tanh(0.3)))
    assert lstm(99, 99, -99) == pytest.approx((0.0, 0.5 + math.tanh(0.3)))

    def gru(r: float, z: float) -> float:
        read = torch.tensor([0.0, 0.0, 1.0])[:, None]
        biases = torch.tensor([r, z, 0.0])
        return gru_step(x, h, Cell(read, read, biases, torch.zeros(3))).item()

    assert gru(99, 99) == pytest.approx(0.2)
    assert gru(99, -99) == pytest.approx(math.tanh(0.5))
    assert gru(-99, -99) == pytest.approx(math.tanh(0.3))
