"""BERT."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from textmill.errors import ConfigError, NotSupportedError
from textmill.models.configs.foreign import Reader, refuse_unless
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.own import own_from_foreign, own_to_foreign
from textmill.models.configs.sizes import check_heads, check_sizes

Heads = Literal["pretraining", "masked_token", "replaced_token", "pooler", "none"]


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """BERT (Devlin et al. 2018, arXiv:1810.04805): an encoder whose tokens see the whole text on both sides.

    The defaults are BERT-base's.
    """

    KIND: ClassVar[str] = "bert"
    vocab_size: int = 30_522
    context_length: int = 512
    """The longest sequence, in tokens."""
    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    feed_forward_width: int | None = None
    """None: four times the width."""
    feed_forward: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    num_types: int = 2
    """Kinds of tokens: those of the first sentence and those of the second."""
    norm_position: Literal["post", "pre"] = "post"
    """`post`, as published: a norm after each sub-layer's sum. `pre`: one before each sub-layer and one at the end,
    which trains without warm-up and which the ecosystem has no name for."""
    heads: Heads = "pretraining"
    """What stands on the trunk. `pretraining`: masked token, pooler and sentence pair. `masked_token`: that alone.
    `replaced_token`: ELECTRA's detector. `pooler`: tanh(dense([CLS])). `none`: the trunk alone."""
    dropout: float = 0.1
    attention_dropout: float = 0.1
    norm_eps: float = 1e-12

    ACTIVATIONS: ClassVar = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
    ARCHITECTURES: ClassVar[Mapping[str, Heads]] = {
        "BertForPreTraining": "pretraining",
        "BertForMaskedLM": "masked_token",
        "BertModel": "pooler",
    }
    DEFAULT_INIT: ClassVar = Initialisation(truncation=2.0)
    """As in the published program: normal, standard deviation 0.02, nothing beyond two of them."""

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "context_length", "width", "num_layers", "num_heads", "feed_forward_width")
        check_sizes(self, "num_types")
        check_heads(self.width, self.num_heads)
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}", fix="BERT uses 0.1")

    @property
    def tied(self) -> bool:
        """The output matrix is the embedding's, always."""
        return True

    @property
    def model_type(self) -> str:
        """`bert` where the ecosystem has the same arithmetic, else a name of our own."""
        published = self.norm_position == "post" and self.heads != "replaced_token"
        return "bert" if published else "textmill-bert"

    def to_foreign(self) -> dict[str, Any]:
        """The settings under the names of transformers' BertConfig, or under ours where it has no such model."""
        if self.model_type != "bert":
            return own_to_foreign(self, "TextmillBert")
        names = {ours: theirs for theirs, ours in reversed(self.ACTIVATIONS.items())}
        architectures = {heads: name for name, heads in self.ARCHITECTURES.items()} | {"none": "BertModel"}
        return {
            "model_type": self.model_type,
            "architectures": [architectures[self.heads]],
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.context_length,
            "hidden_size": self.width,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.feed_forward_width or 4 * self.width,
            "hidden_act": names[self.feed_forward],
            "type_vocab_size": self.num_types,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.attention_dropout,
            "layer_norm_eps": self.norm_eps,
            "position_embedding_type": "absolute",
            "tie_word_embeddings": True,
        }

    @classmethod
    def from_foreign(cls, foreign: Mapping[str, Any]) -> Self:
        """The settings in a BertConfig.

        Raises:
            NotSupportedError: a setting that changes the arithmetic and isn't here, by name.
        """
        if foreign.get("model_type") == "textmill-bert":
            return own_from_foreign(cls, foreign)
        refuse_unless(
            foreign,
            position_embedding_type="absolute",
            is_decoder=False,
            add_cross_attention=False,
            tie_word_embeddings=True,
        )
        read = Reader(foreign)
        return cls(
            vocab_size=read("vocab_size", 30_522),
            context_length=read("max_position_embeddings", 512),
            width=read("hidden_size", 768),
            num_layers=read("num_hidden_layers", 12),
            num_heads=read("num_attention_heads", 12),
            feed_forward_width=read("intermediate_size", 3072),
            feed_forward=read.choice("hidden_act", "gelu", cls.ACTIVATIONS),
            num_types=read("type_vocab_size", 2),
            heads=cls._heads(read("architectures", ["BertForPreTraining"])),
            dropout=read("hidden_dropout_prob", 0.1),
            attention_dropout=read("attention_probs_dropout_prob", 0.1),
            norm_eps=read("layer_norm_eps", 1e-12),
        )

    @classmethod
    def _heads(cls, architectures: list[Any]) -> Heads:
        for name in architectures:
            if name in cls.ARCHITECTURES:
                return cls.ARCHITECTURES[name]
        raise NotSupportedError(
            f"the model's config.json sets architectures to {architectures!r:.80}; supported are "
            + ", ".join(cls.ARCHITECTURES),
            fix="save the model without the head of its task",
        )
