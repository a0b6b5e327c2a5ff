"""Predict each token from those before it: the objective of language models since Bengio et al. 2003."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from textmill.data.batches import Batch
from textmill.errors import NotSupportedError
from textmill.layers.segments import Segments
from textmill.models.base import LanguageModel
from textmill.objectives.base import Figures, as_tensor
from textmill.ops.cross_entropy import linear_cross_entropy


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """-log p(target | tokens up to there), summed over the targets that count; the logits are never held at once."""

    label_smoothing: float = 0.0
    """What part of the target's probability is spread evenly over the vocabulary."""
    z_loss: float = 0.0
    """Adds this times log(Z)^2, which keeps logits from drifting; 1e-4 in PaLM."""

    @property
    def weights(self) -> Mapping[str, float]:
        return {"loss": 1.0}

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Targets that count."""
        return {"loss": batch.num_targets()}

    def __call__(self, model: LanguageModel, batch: Batch) -> Mapping[str, Tensor]:
        """The sum over the batch's targets, in nats. Where the batch has `starts`, no stretch sees another.

        Raises:
            NotSupportedError: the model is an encoder.
        """
        if model.is_encoder:
            raise NotSupportedError(
                f"{type(model).__name__} is an encoder: each token sees the next one, and nothing is left to predict",
                fix="train and measure it by MaskedToken",
            )
        tokens = as_tensor(batch.tokens, model)
        if batch.starts is None:
            hidden = model.hidden(model.embed(tokens))
        else:
            segments = Segments.of(batch.starts, tokens.device)
            hidden = model.hidden(model.embed(tokens.view(1, -1)), segments=segments)
        loss = linear_cross_entropy(
            model.head_states(hidden.flatten(0, 1)),
            model.output_weight,
            as_tensor(batch.targets, model).flatten(),
            model.output_bias,
            softcap=getattr(model, "logit_softcap", None),
            label_smoothing=self.label_smoothing,
            z_loss=self.z_loss,
        )
        return {"loss": loss}

    def measure(self, model: LanguageModel, batch: Batch) -> Figures:
        """The losses without smoothing and z-loss, so that perplexities are those of the model's probabilities."""
        return replace(self, label_smoothing=0.0, z_loss=0.0)(model, batch), {}
