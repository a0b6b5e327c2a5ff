"""RMSNorm: kernels for training on a CPU or CUDA, else torch's."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from textmill.ops import gpu_kernels, training_kernels


def rms_norm(x: Float[Tensor, "*rows D"], weight: Float[Tensor, " D"], eps: float) -> Float[Tensor, "*rows D"]:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, with the mean in at least fp32."""
    # Triton and Numba are loaded by those who train
    if gpu_kernels.serve(x):
        from textmill.ops.rms_norm.gpu import RMSNorm
    elif training_kernels.serve(x):
        from textmill.ops.rms_norm.cpu import RMSNorm  # type: ignore[assignment]
    else:
        return F.rms_norm(x, weight.shape, weight.to(x.dtype), eps)
    y: Tensor = RMSNorm.apply(x.reshape(-1, x.shape[-1]), weight, eps)
    return y.view(x.shape)
