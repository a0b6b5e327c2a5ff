"""One next token from logits: the filters, and the draw.

Legend: B rows, V vocabulary. A filter sets the logits of the tokens it excludes to minus infinity.
Sources: top-p, Holtzman et al. 2020, arXiv:1904.09751; min-p, Nguyen et al. 2024, arXiv:2407.01082; repetition penalty,
Keskar et al. 2019, arXiv:1909.05858, section 4.1.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from textmill.generation.config import GenerationConfig


def repetition_penalty(logits: Float[Tensor, "B V"], seen: Bool[Tensor, "B V"], penalty: float) -> Tensor:
    """Positive logits of tokens seen before divided by `penalty`, negative ones multiplied by it.

    >>> repetition_penalty(torch.tensor([[2.0, -2.0, 1.0]]), torch.tensor([[True, True, False]]), 2.0)
    tensor([[ 1., -4.,  1.]])
    """
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def top_k(logits: Float[Tensor, "B V"], k: int) -> Tensor:
    """Keeps the k largest, and what ties with the last of them.

    >>> top_k(torch.tensor([[1.0, 3.0, 2.0]]), 2)
    tensor([[-inf, 3., 2.]])
    """
    smallest_kept = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < smallest_kept, -torch.inf)


def top_p(logits: Float[Tensor, "B V"], p: float) -> Tensor:
    """Keeps the fewest likeliest tokens whose probabilities sum to at least p.

    >>> top_p(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.6).exp()
    tensor([[0.5000, 0.3000, 0.0000]])
    """
    ordered, tokens = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    # entry j: the probability of all tokens before the j-th likeliest
    before = probabilities.cumsum(-1) - probabilities
    excluded = before >= p
    excluded[:, 0] = False
    return logits.masked_fill(torch.zeros_like(excluded).scatter_(1, tokens, excluded), -torch.inf)


def min_p(logits: Float[Tensor, "B V"], p: float) -> Tensor:
    """Keeps tokens with at least p times the likeliest token's probability.

    >>> min_p(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.5).exp()
    tensor([[0.5000, 0.3000, 0.0000]])
    """
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), -torch.inf)


def filtered(logits: Float[Tensor, "B V"], config: GenerationConfig) -> Tensor:
    """Logits after temperature, top-k, top-p and min-p. The temperature is above 0."""
    if config.temperature != 1.0:
        logits = logits / config.temperature
    if config.top_k:
        logits = top_k(logits, config.top_k)
    if config.top_p < 1:
        logits = top_p(logits, config.top_p)
    if config.min_p > 0:
        logits = min_p(logits, config.min_p)
    return logits


def draw(logits: Float[Tensor, "B V"], uniforms: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """The token where the cumulated probability first exceeds a number from [0, 1), one number a row.

    So a row's token depends on nothing but its own logits and number.

    >>> draw(torch.tensor([[0.5, 0.3, 0.2]]).log().expand(3, -1), torch.tensor([0.4, 0.6, 0.9])).tolist()
    [0, 1, 2]
    """
    cumulated = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    thresholds = uniforms.to(cumulated).unsqueeze(1) * cumulated[:, -1:]
    return torch.searchsorted(cumulated, thresholds, right=True).squeeze(1).clamp_(max=logits.shape[-1] - 1)
