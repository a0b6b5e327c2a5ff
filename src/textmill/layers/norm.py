"""Normalisation as a choice: a table from a setting's name to the class.

LayerNorm: y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias        Ba et al. 2016, arXiv:1607.06450
RMSNorm:   y = x / sqrt(mean(x^2) + eps) * weight                        Zhang and Sennrich 2019, arXiv:1910.07467

Means of the first and the last run over the last axis; all are taken in fp32 whatever the type of x.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from textmill.errors import DataError
from textmill.layers.config import TransformerConfig
from textmill.ops.rms_norm import rms_norm


class RMSNorm(nn.Module):
    """Root mean square normalisation over the last axis."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "... width"]) -> Float[Tensor, "... width"]:
        """
        >>> norm = RMSNorm(2, eps=0.0)
        >>> norm(torch.tensor([3.0, 4.0])).detach().mul(12.5**0.5)  # the root mean square of 3 and 4
        tensor([3., 4.])
        """
        return rms_norm(x, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


class BatchNorm(nn.Module):
    """Each number normalised over all real tokens of the batch while training, by running statistics afterwards.

    The running mean and variance are averages over batches that forget at the rate `momentum`; the variance in them is
    the unbiased one, as in the paper's algorithm 2. They are buffers, saved with the weights.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, eps: float = 1e-5, *, bias: bool = True, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.eps, self.momentum = eps, momentum
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(
        self, x: Float[Tensor, "*tokens width"], real: Bool[Tensor, "*tokens"] | None = None, *, count: bool = True
    ) -> Float[Tensor, "*tokens width"]:
        """The normalised tokens; zeros for those that aren't real.

        Args:
            real: False for padding, which enters no mean.
            count: whether the running statistics take up this batch.

        >>> norm = BatchNorm(1, eps=1e-12)
        >>> norm(torch.tensor([[1.0], [3.0]])).tolist()  # mean 2, deviation 1
        [[-1.0], [1.0]]

        Raises:
            DataError: fewer than two real tokens while training.
        """
        tokens = x.flatten(0, -2) if real is None else x[real]
        if self.training and len(tokens) < 2:
            raise DataError(f"BatchNorm needs at least two tokens to train on, got {len(tokens)}", fix="larger batches")
        wide = torch.promote_types(x.dtype, torch.float32)
        weight, bias = self.weight.to(wide), None if self.bias is None else self.bias.to(wide)
        mean, var = self.running_mean.to(wide, copy=True), self.running_var.to(wide, copy=True)
        y = F.batch_norm(tokens.to(wide), mean, var, weight, bias, self.training, self.momentum, self.eps).to(x.dtype)
        if self.training and count:
            self.running_mean.copy_(mean)
            self.running_var.copy_(var)
        if real is None:
            return y.view(x.shape)
        return torch.zeros_like(x).masked_scatter(real.unsqueeze(-1), y)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"


NORMS: dict[str, type[nn.LayerNorm] | type[RMSNorm] | type[BatchNorm]] = {
    "layer": nn.LayerNorm,
    "rms": RMSNorm,
    "batch": BatchNorm,
}


def new_norm(config: TransformerConfig) -> nn.Module:
    """A norm of the stream, as the settings choose."""
    if config.norm == "rms":
        return RMSNorm(config.width, config.norm_eps)
    if config.norm == "batch":
        return BatchNorm(config.width, config.norm_eps, bias=config.norm_bias)
    return nn.LayerNorm(config.width, config.norm_eps, bias=config.norm_bias)
