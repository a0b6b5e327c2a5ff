"""When the Numba kernels for training on a CPU are used."""

import torch
from torch import Tensor


def serve(*tensors: Tensor) -> bool:
    """Whether the kernels take these: plain fp32 or bf16 tensors on a CPU, all of one type, while gradients are wanted.

    Everything else goes through torch: without gradients few rows are read, where a kernel's start would show; a
    compiler makes kernels of its own; float64 is for checking gradients.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    dtype = tensors[0].dtype
    return dtype in (torch.float32, torch.bfloat16) and all(
        # not a tensor spread over devices, nor one without memory
        type(tensor) in (Tensor, torch.nn.Parameter) and tensor.is_cpu and tensor.dtype == dtype
        for tensor in tensors
    )
