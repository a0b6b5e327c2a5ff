"""Lion's step on a CPU: weight, gradient and mean are read once, weight and mean written once.

torch's operations would go through memory eleven times, which is what such a step costs.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from textmill.ops.floats import FAST, as_array, in_parts

PART = 1 << 18
"""Numbers that a thread takes at a time."""


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _step(weight, gradient, mean, rate, keep, pull1, pull2, start, stop):
    # from 0 on: the compiler then knows that no index is negative, and uses vector instructions
    weight, gradient, mean = weight[start:stop], gradient[start:stop], mean[start:stop]
    for i in range(len(weight)):
        towards = gradient[i] - mean[i]
        direction = mean[i] + pull1 * towards
        # a direction that is not a number leaves the weight as it is, but not the mean, which then says so
        move = np.float32(0.0)
        if direction > np.float32(0.0):
            move = rate
        elif direction < np.float32(0.0):
            move = -rate
        weight[i] = keep * weight[i] - move
        mean[i] += pull2 * towards


def serves(weight: Tensor, gradient: Tensor, mean: Tensor) -> bool:
    """Whether the kernel takes these: plain fp32 tensors on a CPU, alike, each in one piece of memory."""
    return all(
        # not a tensor spread over devices
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.is_cpu
        and tensor.dtype == torch.float32
        and tensor.is_contiguous()
        and tensor.shape == weight.shape
        for tensor in (weight, gradient, mean)
    )


def lion_step(
    weight: Tensor, gradient: Tensor, mean: Tensor, *, rate: float, decay: float, betas: tuple[float, float]
) -> None:
    """Equals `reference.lion_step`, for tensors that it `serves`.

    >>> weight, mean = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.5])
    >>> lion_step(weight, torch.tensor([2.0, -1.0]), mean, rate=0.5, decay=0.0, betas=(0.5, 0.75))
    >>> weight.tolist(), mean.tolist()
    ([0.5, 1.5], [0.5, 0.125])
    """
    assert serves(weight, gradient, mean)
    arrays = as_array(weight), as_array(gradient), as_array(mean)
    numbers = (rate, 1 - rate * decay, 1 - betas[0], 1 - betas[1])
    in_parts(_step, weight.numel(), PART, *arrays, *(np.float32(number) for number in numbers))
