"""SwiGLU, silu(gate) * up, and the matrix product after it: kernels for training on a CPU or CUDA, else torch's.

Source: Shazeer 2020, arXiv:2002.05202, eq. 6.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from textmill.ops import gpu_kernels, training_kernels


def swiglu(gate: Float[Tensor, "*rows wide"], up: Float[Tensor, "*rows wide"]) -> Float[Tensor, "*rows wide"]:
    """silu(gate) * up, with silu(x) = x / (1 + e^-x).

    >>> swiglu(torch.tensor([0.0, 100.0]), torch.tensor([5.0, 0.5])).tolist()
    [0.0, 50.0]
    """
    # Triton and Numba are loaded by those who train
    if gpu_kernels.serve(gate, up):
        from textmill.ops.gated.gpu import SwiGLU
    elif training_kernels.serve(gate, up):
        from textmill.ops.gated.cpu import SwiGLU  # type: ignore[assignment]
    else:
        return F.silu(gate) * up
    wide: Tensor = SwiGLU.apply(gate, up)
    return wide


def swiglu_linear(
    gate: Float[Tensor, "*rows wide"],
    up: Float[Tensor, "*rows wide"],
    weight: Float[Tensor, "width wide"],
    bias: Float[Tensor, " width"] | None = None,
) -> Float[Tensor, "*rows width"]:
    """(silu(gate) * up) @ weight.T + bias; the kernels don't keep the product in brackets but make it again."""
    if gpu_kernels.serve(gate, up, weight) and not torch.is_autocast_enabled(gate.device.type):
        from textmill.ops.gated.gpu import SwiGLULinear
    elif training_kernels.serve(gate, up, weight) and not torch.is_autocast_enabled("cpu"):
        from textmill.ops.gated.cpu import SwiGLULinear  # type: ignore[assignment]
    else:
        return F.linear(swiglu(gate, up), weight, bias)
    y: Tensor = SwiGLULinear.apply(gate, up, weight, bias)
    return y
