"""How weights are drawn."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Initialisation:
    """How a model's weights are drawn before training. Biases start at 0, norms at 1."""

    std: float = 0.02
    """Standard deviation of the embeddings, and of matrices when `matrices` is "std"."""
    matrices: Literal["std", "fan_in"] = "std"
    """`fan_in`: standard deviation 1 / sqrt(inputs) instead, right for any width."""
    output_projections: Literal["plain", "scaled", "zero"] = "plain"
    """The matrices that write into the residual stream: like the others; divided by sqrt(2 layers) as in GPT-2; or 0,
    so that each block starts as the identity."""
    head: Literal["plain", "zero"] = "plain"
    """The output matrix, where it isn't tied to the embedding."""
    truncation: float | None = None
    """Normal draws farther than so many standard deviations from 0 are drawn again: 2 in BERT's own code, so that no
    weight begins far out."""
