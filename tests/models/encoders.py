"""What tests of encoders share: weights that hide nothing, ragged texts, and how transformers reads them."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from textmill.layers.segments import Segments
from textmill.models import LanguageModel

SIZES: dict[str, Any] = {"vocab_size": 61, "context_length": 40, "width": 24, "num_layers": 3, "num_heads": 4}
STARTS = np.array([0, 9, 29, 30, 43])
"""Sequences of 9, 20, 1 and 13 tokens."""


def shaken(model: torch.nn.Module) -> Any:
    """The model with large random weights everywhere, so that nothing hides behind zeros and ones."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.2)
    return model.eval()


def stream() -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens and types of the sequences, one after the other."""
    generator = torch.Generator().manual_seed(4)
    num_tokens = int(STARTS[-1])
    return torch.randint(5, 61, (num_tokens,), generator=generator), torch.randint(
        0, 2, (num_tokens,), generator=generator
    )


def padded(flat: torch.Tensor) -> torch.Tensor:
    """The sequences as rows, filled up with zeros on the right."""
    rows = torch.zeros(len(STARTS) - 1, int(np.diff(STARTS).max()), dtype=flat.dtype)
    for row, (begin, end) in enumerate(pairwise(STARTS)):
        rows[row, : end - begin] = flat[begin:end]
    return rows


def real() -> torch.Tensor:
    """Where `padded` has tokens."""
    return padded(torch.ones(int(STARTS[-1]), dtype=torch.bool))


def unpadded_hidden(model: LanguageModel) -> torch.Tensor:
    """The hidden states of the stream, without padding."""
    tokens, types = stream()
    return model.hidden(model.embed(tokens[None], types[None]), segments=Segments.of(STARTS))[0]
