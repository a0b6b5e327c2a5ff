"""Tell whether the second sentence of a pair follows the first: BERT's second objective, and ALBERT's.

The data says what the two labels mean: the next sentence or a random one (BERT), two sentences in their order or
swapped (ALBERT). The loss is the same.

Legend: N tokens, R pairs, W width.
Sources: Devlin et al. 2018, arXiv:1810.04805, section 3.1, task 2; Lan et al. 2019, arXiv:1909.11942, section 3.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from textmill.data.ragged import RaggedBatch
from textmill.errors import DataError, NotSupportedError
from textmill.objectives.base import OverStates, as_tensor
from textmill.objectives.masked_token import unpadded_states


@dataclass(frozen=True, kw_only=True)
class SentencePair(OverStates[RaggedBatch]):
    """-log p(label | pair), summed over the pairs, from the hidden state of each one's first token, [CLS].

    With the masked tokens it is BERT's pre-training, in one pass of the trunk:
    `Weighted({"mlm": (MaskedToken(), 1.0), "pair": (SentencePair(), 1.0)})`.
    """

    token_keys = ()
    states = staticmethod(unpadded_states)

    @property
    def weights(self) -> Mapping[str, float]:
        return {"loss": 1.0}

    def counts(self, batch: RaggedBatch) -> Mapping[str, int]:
        """Pairs.

        Raises:
            DataError: the batch has no pairs.
        """
        return {"loss": len(_labels(batch))}

    def losses(self, model: Any, states: Float[Tensor, "N W"], batch: RaggedBatch) -> Mapping[str, Tensor]:
        labels = as_tensor(_labels(batch), model)
        return {"loss": F.cross_entropy(_logits(model, states, batch), labels, reduction="sum")}

    def figures(
        self, model: Any, states: Float[Tensor, "N W"], batch: RaggedBatch
    ) -> tuple[Mapping[str, Tensor], Mapping[str, int]]:
        """The losses, and how many pairs are told rightly."""
        labels, logits = as_tensor(_labels(batch), model), _logits(model, states, batch)
        right = int((logits.argmax(-1) == labels).sum())
        return {"loss": F.cross_entropy(logits, labels, reduction="sum")}, {"loss": right}


def _logits(model: Any, states: Tensor, batch: RaggedBatch) -> Float[Tensor, "R 2"]:
    if not hasattr(model, "pair_logits"):
        raise NotSupportedError(
            f"{type(model).__name__} has no head for sentence pairs", fix="train a Bert, or without the pairs"
        )
    first = states.index_select(0, as_tensor(batch.starts[:-1], model))
    logits: Tensor = model.pair_logits(first)
    # probabilities in fp32 or better, whatever the model works in
    return logits.float() if logits.dtype.itemsize < 4 else logits


def _labels(batch: RaggedBatch) -> Any:
    if batch.labels is None:
        raise DataError(
            "a loss over sentence pairs needs pairs with labels, got a batch of single texts",
            fix="build the batches from sentence pairs",
        )
    return batch.labels
