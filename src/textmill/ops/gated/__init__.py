"""SwiGLU, silu(gate) * up, and the matrix product after it: kernels on a CPU that trains, torch's elsewhere.

Source: Shazeer 2020, arXiv:2002.05202, eq. 6.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from textmill.ops import training_kernels


def swiglu(gate: Float[Tensor, "*rows wide"], up: Float[Tensor, "*rows wide"]) -> Float[Tensor, "*rows wide"]:
    """silu(gate) * up, with silu(x) = x / (1 + e^-x).

    >>> swiglu(torch.tensor([0.0, 100.0]), torch.tensor([5.0, 0.5])).tolist()
    [0.0, 50.0]
    """
    if not training_kernels.serve(gate, up):
        return F.silu(gate) * up
    # Numba is loaded by those who train
    from textmill.ops.gated.cpu import SwiGLU

    wide: Tensor = SwiGLU.apply(gate, up)
    return wide


def swiglu_linear(
    gate: Float[Tensor, "*rows wide"],
    up: Float[Tensor, "*rows wide"],
    weight: Float[Tensor, "width wide"],
    bias: Float[Tensor, " width"] | None = None,
) -> Float[Tensor, "*rows width"]:
    """(silu(gate) * up) @ weight.T + bias; on a CPU that trains, the product in brackets isn't kept but made again."""
    if not training_kernels.serve(gate, up, weight) or torch.is_autocast_enabled("cpu"):
        return F.linear(swiglu(gate, up), weight, bias)
    from textmill.ops.gated.cpu import SwiGLULinear

    y: Tensor = SwiGLULinear.apply(gate, up, weight, bias)
    return y
