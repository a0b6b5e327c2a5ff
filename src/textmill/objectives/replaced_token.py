"""Tell of each token whether it is the text's or was replaced: ELECTRA's objective for its discriminator.

Legend: N tokens, W width.
Source: Clark et al. 2020, arXiv:2003.10555, section 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from textmill.data.ragged import RaggedBatch
from textmill.errors import NotSupportedError
from textmill.objectives.base import OverStates, as_tensor
from textmill.objectives.masked_token import unpadded_states


@dataclass(frozen=True, kw_only=True)
class ReplacedToken(OverStates[RaggedBatch]):
    """-log p(replaced or not | the changed text), summed over all tokens; so each of them teaches something.

    A place where the replacement happens to be the text's own token counts as not replaced, as in the paper.
    """

    token_keys = ()
    states = staticmethod(unpadded_states)

    @property
    def weights(self) -> Mapping[str, float]:
        return {"loss": 1.0}

    def counts(self, batch: RaggedBatch) -> Mapping[str, int]:
        """Tokens."""
        return {"loss": len(batch.tokens)}

    def losses(self, model: Any, states: Float[Tensor, "N W"], batch: RaggedBatch) -> Mapping[str, Tensor]:
        logits = _logits(model, states)
        replaced = as_tensor(replaced_tokens(batch), model).to(logits.dtype)
        return {"loss": F.binary_cross_entropy_with_logits(logits, replaced, reduction="sum")}

    def figures(
        self, model: Any, states: Float[Tensor, "N W"], batch: RaggedBatch
    ) -> tuple[Mapping[str, Tensor], Mapping[str, int]]:
        """The losses, and how many tokens are told rightly."""
        logits, replaced = _logits(model, states), as_tensor(replaced_tokens(batch), model)
        loss = F.binary_cross_entropy_with_logits(logits, replaced.to(logits.dtype), reduction="sum")
        return {"loss": loss}, {"loss": int(((logits > 0) == replaced).sum())}


def replaced_tokens(batch: RaggedBatch) -> np.ndarray:
    """bool [N]: whether another token than the text's stands there.

    >>> batch = RaggedBatch(
    ...     tokens=np.array([5, 6, 7]), starts=np.array([0, 3]), places=np.array([0, 2]), targets=np.array([5, 9])
    ... )
    >>> replaced_tokens(batch).tolist()
    [False, False, True]
    """
    replaced = np.zeros(len(batch.tokens), np.bool_)
    replaced[batch.places] = batch.replaced()
    return replaced


def _logits(model: Any, states: Tensor) -> Float[Tensor, " N"]:
    if not hasattr(model, "replaced_logits"):
        raise NotSupportedError(
            f"{type(model).__name__} has no detector of replaced tokens", fix='train a Bert with heads="replaced_token"'
        )
    logits: Tensor = model.replaced_logits(states)
    return logits.float() if logits.dtype.itemsize < 4 else logits
