"""The definitions: one step of a cell, in the order of gates that torch stores.

Legend: B rows, I inputs, H width of the state, G gates (1, 4 or 3). U = input_weight [G H, I] reads the input,
W = hidden_weight [G H, H] the state before; each has its bias [G H].
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Cell(NamedTuple):
    """The weights of one recurrent layer."""

    input_weight: Float[Tensor, "gates inputs"]
    hidden_weight: Float[Tensor, "gates H"]
    input_bias: Float[Tensor, " gates"]
    hidden_bias: Float[Tensor, " gates"]


def elman_step(
    x: Float[Tensor, "B I"], h: Float[Tensor, "B H"], cell: Cell, *, relu: bool = False
) -> Float[Tensor, "B H"]:
    """The next state of Elman's network: h' = f(U x + W h + b), f the hyperbolic tangent or max(0, .).

    Source: Elman 1990, "Finding Structure in Time", Cognitive Science 14:179-211, figure 2.

    >>> cell = Cell(torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1), torch.zeros(1))
    >>> elman_step(torch.tensor([[2.0]]), torch.tensor([[1.0]]), cell, relu=True)
    tensor([[3.]])
    """
    total = _read(x, cell) + _recalled(h, cell)
    return total.clamp(min=0) if relu else total.tanh()


def lstm_step(
    x: Float[Tensor, "B I"], h: Float[Tensor, "B H"], c: Float[Tensor, "B H"], cell: Cell
) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """The next output h' and cell c' of a long short-term memory:

        i, f, o = sigmoid(U x + W h + b)     what is let in, kept, and let out
        g       = tanh(U x + W h + b)        what there is to let in
        c'      = f c + i g
        h'      = o tanh(c')

    Sources: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", Neural Computation 9:1735-1780, section 4; the
    forget gate f, Gers et al. 2000, "Learning to Forget", section 3. The paper of 1997 squashes g to (-2, 2) by a
    scaled sigmoid; here, as everywhere since, by tanh.
    """
    i, f, g, o = (_read(x, cell) + _recalled(h, cell)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_step(x: Float[Tensor, "B I"], h: Float[Tensor, "B H"], cell: Cell) -> Float[Tensor, "B H"]:
    """The next state of a gated recurrent unit:

        r, z = sigmoid(U x + W h + b)              reset and update gates
        n    = tanh(U_n x + b + r (W_n h + b'))    the candidate
        h'   = z h + (1 - z) n

    Source: Cho et al. 2014, arXiv:1406.1078, eq. 5 to 8, where the reset gate acts on h before W_n; here it acts on the
    as in cuDNN and torch, which multiplies all gates at once.
    """
    read_r, read_z, read_n = _read(x, cell).chunk(3, -1)
    recalled_r, recalled_z, recalled_n = _recalled(h, cell).chunk(3, -1)
    r, z = (read_r + recalled_r).sigmoid(), (read_z + recalled_z).sigmoid()
    n = torch.tanh(read_n + r * recalled_n)
    return z * h + (1 - z) * n


def _read(x: Tensor, cell: Cell) -> Tensor:
    return x @ cell.input_weight.T + cell.input_bias


def _recalled(h: Tensor, cell: Cell) -> Tensor:
    return h @ cell.hidden_weight.T + cell.hidden_bias
