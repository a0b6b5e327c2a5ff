"""When the Triton kernels for training on CUDA are used, and in how many programs they are started.

The kernels stand in the `gpu.py` files, which alone import Triton. Each is held against its `reference.py` in Triton's
interpreter, which runs them on a CPU: with TRITON_INTERPRET=1 set before Python starts, CPU tensors go to the kernels
too, very slowly.
"""

import importlib.util
import os
import warnings
from functools import cache

import torch
from torch import Tensor


def serve(*tensors: Tensor) -> bool:
    """Whether the kernels take these: plain fp32 or bf16 tensors on CUDA, all of one type, while gradients are wanted.

    Everything else goes through torch, for the reasons that `training_kernels.serve` gives for a CPU.
    """
    return torch.is_grad_enabled() and take(*tensors)


def take(*tensors: Tensor) -> bool:
    """The same, whether gradients are wanted or not: for a kernel that saves memory in the forward pass too."""
    if torch.compiler.is_compiling():
        return False
    dtype, device = tensors[0].dtype, tensors[0].device
    # not a tensor spread over devices, nor one without memory
    plain = all(
        type(tensor) in (Tensor, torch.nn.Parameter) and tensor.dtype == dtype and tensor.device == device
        for tensor in tensors
    )
    if not plain or dtype not in (torch.float32, torch.bfloat16):
        return False
    return has_triton() if device.type == "cuda" else device.type == "cpu" and is_interpreted()


def is_interpreted() -> bool:
    """Whether Triton runs its kernels on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def has_triton() -> bool:
    """Whether Triton is installed; a warning, once, where it isn't."""
    if importlib.util.find_spec("triton") is not None:
        # a * b + c rounded once, as fast and more exact; Triton 3.9 warns if it isn't told
        os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
        return True
    warnings.warn(
        "Triton isn't installed: on CUDA, norms, rotations, SwiGLU and the loss run as torch's own operations, which"
        " take more time and memory. Fix: pip install triton",
        stacklevel=2,
    )
    return False


def num_programs(device: torch.device, tasks: int) -> int:
    """In how many programs so many tasks are shared out, where each program sums over the tasks that it takes.

    Enough to fill the device. The number doesn't change from run to run, so neither does the order of the sums.
    """
    if device.type == "cuda":
        # several to a multiprocessor, since one that waits for memory leaves it idle
        most = 8 * torch.cuda.get_device_properties(device).multi_processor_count
    else:
        # the interpreter's, so that each takes several tasks of a small test
        most = 3
    return max(1, min(tasks, most))
