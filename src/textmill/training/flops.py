"""Floating-point operations of a model, counted from its modules, and utilisation.

    forward = sum over tokens of 2 (weights of the trunk's matrices that a token meets)
            + sum over predicted tokens of 2 (weights of the head's matrices)
            + sum over layers and sequences of 4 H D (pairs of tokens that attend)
    training step = 3 forward
    MFU = operations of a step / (seconds of the step * the machine's peak)

With T tokens in each sequence, all of them predicted, this is the usual 6 N + 12 L W T a token, N without the embedding
tables but with the output matrix, tied or not. Pairs: a dense layer has T^2, as in PaLM, though causal order needs only
half of them; a layer with a pattern has those that the pattern and the order let see; Transformer-XL's are with its
memory, too, and have three products (6 H D). Of experts the chosen ones count.
What activation recompute does a second time is no use to the model and doesn't count; neither do norms, activations and
the optimiser.

Legend: H query heads, D head width, L layers, W = H D width, T tokens of a sequence, N weights.
Sources: Kaplan et al. 2020, arXiv:2001.08361, section 2.1 and table 1; Chowdhery et al. 2022 (PaLM), arXiv:2204.02311,
appendix B.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from textmill.layers.attention import Attention
from textmill.layers.experts import Experts, StackedLinear
from textmill.layers.patterns import LayerPattern
from textmill.layers.recurrent import RecurrentLayer
from textmill.layers.relative import RelativeAttention
from textmill.objectives import Objective
from textmill.objectives.base import token_keys
from textmill.training.batches import lengths
from textmill.training.peak import peak_flops

PER_SEQUENCE = ("pooler", "pair_head")
"""Parts that see one vector of each sequence."""
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class AttentionLayer:
    """What a layer of attention does beside its matrices."""

    width: int
    """H D."""
    pattern: LayerPattern | None
    """None: dense."""
    products: int = 2
    """A pair's: its score and its value. Relative attention scores a pair twice, by content and by distance."""
    memory: int = 0
    """Remembered states that each token sees besides."""

    def pairs(self, lengths: np.ndarray) -> int:
        """Pairs of a query and a key, over sequences of these lengths."""
        if self.pattern is None:
            return int((lengths.astype(np.int64) * (lengths + self.memory)).sum())
        return int(_pairs_up_to(self.pattern, int(lengths.max(initial=0)))[lengths].sum())

    def flops(self, lengths: np.ndarray) -> int:
        """Of the forward pass."""
        return 2 * self.products * self.width * self.pairs(lengths)


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Operations of one forward pass."""

    per_token: int
    """In the trunk's matrices, for each token that the model reads."""
    per_target: int
    """In the head, for each token that is predicted."""
    per_sequence: int
    """In what sees one vector of each sequence."""
    attention: tuple[AttentionLayer, ...]

    def forward(self, lengths: np.ndarray, num_targets: int) -> int:
        """Over sequences of these lengths, with so many predicted tokens in all."""
        attended = sum(layer.flops(lengths) for layer in self.attention)
        by_token = self.per_token * int(lengths.sum())
        return by_token + self.per_target * num_targets + self.per_sequence * len(lengths) + attended

    def training(self, lengths: np.ndarray, num_targets: int) -> int:
        """Forward and backward: a product y = W x has two more in its gradient, for W and for x."""
        return 3 * self.forward(lengths, num_targets)


def flops_of(model: Any) -> Flops:
    """Counts the matrices of a language model; it may lie on the meta device.

    Embedding tables are looked up, not multiplied.
    """
    trunk = sum(weights_met(model.trunk))
    heads, pooled = 0, 0
    for name, module in model.named_children():
        if name in PER_SEQUENCE:
            pooled += sum(weights_met(module))
        elif name not in ("trunk", "head", "embedding"):
            heads += sum(weights_met(module))
    # a model without a head for tokens never multiplies the embedding
    predicts = getattr(model, "masked_head", model) is not None
    heads += model.output_weight.numel() if predicts else 0
    return Flops(
        per_token=2 * trunk,
        per_target=2 * heads,
        per_sequence=2 * pooled,
        attention=tuple(_attention_layers(model.trunk)),
    )


def flops_per_token(model: Any, context_length: int, *, predicted: float = 1.0) -> float:
    """Operations of training on one token, in sequences of `context_length`.

    Args:
        predicted: the share of tokens that the objective predicts; 0.15 in BERT.

    GPT-2 small at 1024 tokens: 6 * 123.5 M weights (without positions, norms and biases) + 12 * 12 * 768 * 1024.

    >>> from textmill.models import GPT, GPTConfig
    >>> with torch.device("meta"):
    ...     model = GPT(GPTConfig())
    >>> flops_per_token(model, 1024) == 6 * (12 * 12 * 768**2 + 50257 * 768) + 12 * 12 * 768 * 1024
    True
    """
    flops, length = flops_of(model), np.array([context_length])
    attended = sum(layer.flops(length) for layer in flops.attention) / context_length
    by_sequence = flops.per_sequence / context_length
    return 3 * (flops.per_token + predicted * flops.per_target + by_sequence + attended)


def _attention_layers(trunk: nn.Module) -> Iterator[AttentionLayer]:
    for layer in trunk.modules():
        if isinstance(layer, Attention):
            yield AttentionLayer(layer.out.in_features, layer.pattern)
        elif isinstance(layer, RelativeAttention):
            memory = getattr(trunk, "memory_length", 0)
            yield AttentionLayer(layer.out.in_features, None, products=3, memory=memory)


def weights_met(module: nn.Module) -> Iterator[int]:
    """The weights that one token is multiplied with, matrix by matrix."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            yield layer.weight.numel()
        elif isinstance(layer, RecurrentLayer):
            yield layer.input_weight.numel() + layer.hidden_weight.numel()
        elif isinstance(layer, Experts):
            stacks = (part for part in layer.children() if isinstance(part, StackedLinear))
            yield sum(stack.weight[0].numel() for stack in stacks) * layer.settings.top_k


class Meter:
    """Utilisation of a model on a device."""

    def __init__(self, model: Any, device: torch.device, dtype: torch.dtype) -> None:
        # what is no language model of ours has no figure
        self.flops = flops_of(model) if hasattr(model, "trunk") and hasattr(model, "output_weight") else None
        self.peak = None if self.flops is None else peak_flops(device, dtype)

    def utilisation(self, batch: Any, num_targets: int, seconds: float) -> float | None:
        """MFU of a training step on the batch; None where the operations aren't known."""
        if self.flops is None or self.peak is None or not hasattr(batch, "tokens"):
            return None
        return self.flops.training(lengths(batch), num_targets) / (seconds * self.peak)


def num_predicted(objective: Objective, batch: Any) -> int:
    """How often the head for tokens runs on a batch: what the objective predicts of it."""
    counts = objective.counts(batch)
    keys = [key for key in token_keys(objective) if key in counts]
    return sum(counts[key] for key in keys) if keys else max(counts.values())


@lru_cache(maxsize=64)
def _pairs_up_to(pattern: LayerPattern, longest: int) -> np.ndarray:
    """int64 [longest + 1]: entry T is how many pairs of T tokens see one another."""
    added = torch.zeros(longest, dtype=torch.int64)
    j = torch.arange(longest)[None, :]
    for begin in range(0, longest, ROWS_AT_ONCE):
        i = torch.arange(begin, min(begin + ROWS_AT_ONCE, longest))[:, None]
        sees = pattern.allowed(i, j)
        # token t brings the pairs of its row up to itself, and those of its column before itself
        added[begin : begin + len(i)] += (sees & (j <= i)).sum(1)
        added += (sees & (j > i)).sum(0)
    return np.concatenate(([0], added.numpy().cumsum()))
