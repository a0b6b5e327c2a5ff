"""Predict the tokens that were masked: BERT's first objective.

Legend: N tokens, M masked ones, C rows of a chunk, R sequences, W width, V vocabulary.
Source: Devlin et al. 2018, arXiv:1810.04805, section 3.1, task 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from textmill.data.ragged import RaggedBatch
from textmill.layers.segments import Segments
from textmill.models.base import LanguageModel
from textmill.objectives.base import OverStates, as_tensor
from textmill.ops.cross_entropy import linear_cross_entropy

CHUNK_BYTES = 4 << 20
"""Logits held at once where the best token is looked for."""


def unpadded_states(model: LanguageModel, batch: RaggedBatch) -> Float[Tensor, "N W"]:
    """The hidden state of each token of the batch, no sequence seeing another."""
    tokens = as_tensor(batch.tokens, model)
    types = None if batch.types is None else as_tensor(batch.types, model).unsqueeze(0)
    segments = Segments.of(batch.starts, tokens.device)
    return model.hidden(model.embed(tokens.unsqueeze(0), types), segments=segments)[0]


@dataclass(frozen=True, kw_only=True)
class MaskedToken(OverStates[RaggedBatch]):
    """-log p(the text's token | the masked text), summed over the masked places.

    The head runs at those places alone: a seventh of the tokens, where it costs as much as several layers.
    """

    label_smoothing: float = 0.0
    """What part of the target's probability is spread evenly over the vocabulary."""

    states = staticmethod(unpadded_states)

    @property
    def weights(self) -> Mapping[str, float]:
        return {"loss": 1.0}

    def counts(self, batch: RaggedBatch) -> Mapping[str, int]:
        """Masked places."""
        return {"loss": batch.num_targets()}

    def losses(self, model: LanguageModel, states: Float[Tensor, "N W"], batch: RaggedBatch) -> Mapping[str, Tensor]:
        rows = _head_states(model, states, batch)
        targets = as_tensor(batch.targets, model)
        smoothing = self.label_smoothing
        loss = linear_cross_entropy(rows, model.output_weight, targets, model.output_bias, label_smoothing=smoothing)
        return {"loss": loss}

    def figures(
        self, model: LanguageModel, states: Float[Tensor, "N W"], batch: RaggedBatch
    ) -> tuple[Mapping[str, Tensor], Mapping[str, int]]:
        """The losses without smoothing, and how many masked tokens the model's first guess gets right."""
        rows = _head_states(model, states, batch)
        targets = as_tensor(batch.targets, model)
        loss = linear_cross_entropy(rows, model.output_weight, targets, model.output_bias)
        guesses = likeliest_tokens(rows, model.output_weight, model.output_bias)
        return {"loss": loss}, {"loss": int((guesses == targets).sum())}


def _head_states(model: LanguageModel, states: Tensor, batch: RaggedBatch) -> Float[Tensor, "M W"]:
    return model.head_states(states.index_select(0, as_tensor(batch.places, model)))


def likeliest_tokens(
    rows: Float[Tensor, "M W"], weight: Float[Tensor, "V W"], bias: Float[Tensor, " V"] | None
) -> Int[Tensor, " M"]:
    """The token of the greatest logit of each row; the logits are never held at once.

    >>> likeliest_tokens(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.eye(2), torch.tensor([2.0, 0.0])).tolist()
    [0, 1]
    """
    chunk = max(1, CHUNK_BYTES // (len(weight) * rows.element_size()))
    weight, bias = weight.to(rows.dtype), None if bias is None else bias.to(rows.dtype)
    best = [F.linear(rows_CW, weight, bias).argmax(-1) for rows_CW in torch.split(rows, chunk)]
    return torch.cat(best) if best else torch.empty(0, dtype=torch.int64, device=rows.device)
