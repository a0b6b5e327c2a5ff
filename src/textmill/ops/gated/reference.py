"""SwiGLU as it is defined. Source: Shazeer 2020, arXiv:2002.05202, eq. 6."""

import torch
from torch import Tensor


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """gate / (1 + e^-gate) * up, entry by entry."""
    return gate * torch.sigmoid(gate) * up


def swiglu_linear(gate: Tensor, up: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The matrix product of `swiglu` with the rows of `weight`, plus `bias`."""
    return torch.einsum("...i,oi->...o", swiglu(gate, up), weight) + bias
