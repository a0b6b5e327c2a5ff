"""Cross-entropy of a linear layer's logits, without ever holding all the logits.

`linear_cross_entropy` is the one to call; `reference.py` is its definition, `cpu.py` the chunked one, `gpu.py` the
same with a kernel for CUDA.
"""

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from textmill.ops import gpu_kernels
from textmill.ops.cross_entropy import cpu
from textmill.ops.cross_entropy.reference import IGNORED

__all__ = ["IGNORED", "linear_cross_entropy"]


def linear_cross_entropy(
    hidden: Float[Tensor, "N W"],
    weight: Float[Tensor, "V W"],
    targets: Int[Tensor, " N"],
    bias: Float[Tensor, " V"] | None = None,
    *,
    softcap: float | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Float[Tensor, ""]:
    """Sum over the rows whose target isn't IGNORED of -log softmax(hidden @ weight.T + bias)[target], in nats.

    Equals `reference.linear_cross_entropy`, which explains the settings, and has no second derivative.

    >>> import torch
    >>> hidden, weight = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.eye(2)
    >>> round(linear_cross_entropy(hidden, weight, torch.tensor([0, IGNORED])).item(), 6)  # log(1 + 1/e)
    0.313262

    Raises:
        ConfigError: a softcap or z-loss below 0, a smoothing outside [0, 1); on a CPU, a target outside the vocabulary.
            On CUDA, which would have to be waited for, such a target makes the loss NaN.
    """
    settings: dict[str, Any] = {"softcap": softcap, "label_smoothing": label_smoothing, "z_loss": z_loss}
    if gpu_kernels.take(hidden):
        # Triton is loaded by those who train on CUDA
        from textmill.ops.cross_entropy import gpu

        return gpu.linear_cross_entropy(hidden, weight, targets, bias, **settings)
    return cpu.linear_cross_entropy(hidden, weight, targets, bias, **settings)
