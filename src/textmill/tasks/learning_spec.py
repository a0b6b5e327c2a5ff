"""What a model is to learn, and from which form of the text: the settings alone, free of torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from textmill.data.masking_spec import MaskingSpec
from textmill.data.pair_spec import PairSpec
from textmill.errors import ConfigError
from textmill.models.configs import BertConfig, ModernBertConfig

ObjectiveName = Literal["auto", "next-token", "masked-token", "sentence-pairs", "replaced-token"]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """The objective, and how text becomes batches for it."""

    objective: ObjectiveName = "auto"
    """auto: what the architecture's paper trains it by: masked tokens and sentence pairs for a Bert with both heads,
    masked tokens for other encoders, the next token for all else."""
    documents: Literal["joined", "separate", "packed"] = "joined"
    """next-token, what shares a row. joined: windows over the documents one after the other, an end-of-text mark
    between. separate: the same windows, but no document sees another. packed: whole documents side by side, cut only
    where one is longer than a row; about one place in a hundred stays empty."""
    masking: MaskingSpec = field(default_factory=MaskingSpec)
    """masked-token, sentence-pairs, replaced-token: which tokens are hidden or replaced."""
    pairs: PairSpec = field(default_factory=PairSpec)
    """sentence-pairs: how they are made."""
    label_smoothing: float = 0.0
    """next-token, masked-token, sentence-pairs: the part of a target token's probability that is spread over the
    vocabulary."""
    z_loss: float = 0.0
    """next-token: adds this times log(Z)^2."""
    activation: float = 0.0
    """Recurrent models: adds this times the mean square of the last layer's outputs (AR of AWD-LSTM; 2 there)."""
    temporal_activation: float = 0.0
    """Recurrent models: adds this times the mean square of their change from token to token (TAR; 1 there)."""

    def __post_init__(self) -> None:
        for name in ("z_loss", "activation", "temporal_activation"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}", fix="use 0 to leave it out")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}", fix="0.1 is usual")

    def chosen(self, model: Any) -> str:
        """The objective that a model of these settings learns by.

        Raises:
            ConfigError: the model isn't made for it, or a setting is for another objective.
        """
        can = objectives_of(model)
        name = can[0] if self.objective == "auto" else self.objective
        if name not in can:
            raise ConfigError(
                f"this {type(model).__name__.removesuffix('Config')} can't learn by {name}",
                fix="use " + " or ".join(can) + _other_heads(model, name),
            )
        self._check_settings_of(name)
        return name

    def _check_settings_of(self, objective: str) -> None:
        """Refuses what the objective would pass over in silence, and masks that leave nothing to predict."""
        for name, objectives in _SETTINGS_OF.items():
            value = getattr(self, name)
            if objective not in objectives and value != type(self).__dataclass_fields__[name].default:
                raise ConfigError(
                    f"{name} is a setting of {' and '.join(objectives)}, got {name}={value} for {objective}",
                    fix=f"leave {name} out",
                )
        masks_tokens = objective in ("masked-token", "sentence-pairs")
        if masks_tokens and (self.masking.fraction == 0 or self.masking.max_predictions == 0):
            raise ConfigError(
                f"{objective} needs tokens to predict, got masking.fraction={self.masking.fraction} and "
                f"masking.max_predictions={self.masking.max_predictions}",
                fix="BERT predicts 0.15 of the tokens",
            )


_SETTINGS_OF = {
    "documents": ("next-token",),
    "label_smoothing": ("next-token", "masked-token", "sentence-pairs"),
    "z_loss": ("next-token",),
    "activation": ("next-token",),
    "temporal_activation": ("next-token",),
}
"""The objectives that heed a setting."""


def objectives_of(model: Any) -> tuple[str, ...]:
    """By what a model of these settings can be trained, its paper's way first.

    >>> from textmill.models.configs import BertConfig, GPTConfig
    >>> objectives_of(GPTConfig()), objectives_of(BertConfig())
    (('next-token',), ('sentence-pairs', 'masked-token'))

    Raises:
        ConfigError: a Bert with no head that can be trained on text alone.
    """
    if isinstance(model, BertConfig):
        if model.heads not in _BY_HEADS:
            raise ConfigError(
                f"a Bert with heads={model.heads} has nothing to pre-train",
                fix="use heads=pretraining, masked_token or replaced_token",
            )
        return _BY_HEADS[model.heads]
    return ("masked-token",) if isinstance(model, ModernBertConfig) else ("next-token",)


_BY_HEADS = {
    "pretraining": ("sentence-pairs", "masked-token"),
    "masked_token": ("masked-token",),
    "replaced_token": ("replaced-token",),
}


def _other_heads(model: Any, objective: str) -> str:
    """How a Bert gets what the objective needs."""
    heads = [heads for heads, objectives in _BY_HEADS.items() if objectives[0] == objective]
    return f", or model.heads={heads[0]}" if isinstance(model, BertConfig) and heads else ""
