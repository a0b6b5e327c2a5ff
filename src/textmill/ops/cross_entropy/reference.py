"""The definition: all logits at once, gradients by autograd.

Legend: N rows, W width, V vocabulary.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

IGNORED = -100
"""A target that counts for nothing."""


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

    With `softcap` c the logits are c tanh(logits / c) first (Gemma 2, arXiv:2408.00118). With `label_smoothing` e the
    target distribution is (1 - e) onehot + e / V (Szegedy et al. 2016, arXiv:1512.00567). With `z_loss` k each row adds
    k log(Z)^2, Z being the sum of its exponentiated logits (PaLM, arXiv:2204.02311).

    >>> hidden, weight = torch.tensor([[1.0, 0.0]]), torch.eye(2)
    >>> round(linear_cross_entropy(hidden, weight, torch.tensor([0])).item(), 6)  # log(1 + 1/e)
    0.313262
    """
    exact = torch.promote_types(hidden.dtype, torch.float32)
    # row i, column v holds the logit of token v coming next at row i
    logits_NV = F.linear(hidden, weight.to(hidden.dtype)).to(exact)
    if bias is not None:
        logits_NV = logits_NV + bias.to(exact)
    if softcap is not None:
        logits_NV = softcap * torch.tanh(logits_NV / softcap)
    rows = targets != IGNORED
    log_normaliser = torch.logsumexp(logits_NV, dim=-1)
    target_logits = logits_NV.gather(1, targets.clamp(min=0)[:, None])[:, 0]
    mean_logits = logits_NV.mean(dim=-1)
    losses = log_normaliser - (1 - label_smoothing) * target_logits - label_smoothing * mean_logits
    losses = losses + z_loss * log_normaliser**2
    return torch.where(rows, losses, losses.new_zeros(())).sum()
