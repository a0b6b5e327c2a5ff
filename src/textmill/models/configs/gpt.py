"""GPT-1 and GPT-2."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from textmill.errors import ConfigError
from textmill.layers.experts_config import ExpertsConfig
from textmill.models.configs.foreign import Reader, refuse_unless
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.own import own_from_foreign, own_to_foreign
from textmill.models.configs.sizes import check_heads, check_sizes


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """GPT-2 (Radford et al. 2019) or GPT-1 (Radford et al. 2018): learned positions, LayerNorm, GELU."""

    KIND: ClassVar[str] = "gpt"
    form: Literal["gpt2", "gpt1"] = "gpt2"
    """`gpt2` puts the norms before the sub-layers and one at the end, `gpt1` after each."""
    vocab_size: int = 50_257
    context_length: int = 1024
    """The longest sequence, in tokens."""
    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    feed_forward_width: int | None = None
    """None: four times the width."""
    feed_forward: Literal["gelu_tanh", "gelu", "relu2"] = "gelu_tanh"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    norm_eps: float = 1e-5
    tied: bool = True
    """The output matrix is the embedding's."""
    experts: ExpertsConfig | None = None
    """Experts in the place of the feed-forward layer; nobody else has this model, so it is saved as our own."""

    ACTIVATIONS: ClassVar = {
        "gelu_new": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "gelu": "gelu",
        "relu2": "relu2",
    }
    DEFAULT_INIT: ClassVar = Initialisation(output_projections="scaled")

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "context_length", "width", "num_layers", "num_heads", "feed_forward_width")
        check_heads(self.width, self.num_heads)
        if self.form == "gpt1":
            if self.feed_forward_width not in (None, 4 * self.width):
                raise ConfigError(
                    f"GPT-1's feed-forward width is 4 times its width, got {self.feed_forward_width}",
                    fix=f"leave it out, or use {4 * self.width}",
                )
            if self.experts is not None:
                raise ConfigError("GPT-1 has no experts", fix='use form="gpt2"')
            if self.feed_forward != "gelu_tanh" or not self.tied:
                raise ConfigError("GPT-1 has gelu_tanh and tied embeddings", fix='or use form="gpt2"')

    @property
    def model_type(self) -> str:
        if self.experts is not None:
            return "textmill-gpt"
        return "gpt2" if self.form == "gpt2" else "openai-gpt"

    def to_foreign(self) -> dict[str, Any]:
        """The settings under the names of transformers' GPT2Config or OpenAIGPTConfig."""
        if self.experts is not None:
            return own_to_foreign(self, "TextmillGPT")
        foreign: dict[str, Any] = {
            "model_type": self.model_type,
            "architectures": ["GPT2LMHeadModel" if self.form == "gpt2" else "OpenAIGPTLMHeadModel"],
            "vocab_size": self.vocab_size,
            "n_positions": self.context_length,
            "n_embd": self.width,
            "n_layer": self.num_layers,
            "n_head": self.num_heads,
            "resid_pdrop": self.dropout,
            "embd_pdrop": self.dropout,
            "attn_pdrop": self.attention_dropout,
            "layer_norm_epsilon": self.norm_eps,
            "tie_word_embeddings": self.tied,
        }
        if self.form == "gpt1":
            # there the name "gelu" means the tanh approximation
            return foreign | {"afn": "gelu"}
        names = {ours: theirs for theirs, ours in reversed(self.ACTIVATIONS.items())}
        return foreign | {"n_inner": self.feed_forward_width, "activation_function": names[self.feed_forward]}

    @classmethod
    def from_foreign(cls, foreign: Mapping[str, Any]) -> Self:
        """The settings in a GPT2Config or OpenAIGPTConfig.

        Raises:
            NotSupportedError: a setting that changes the arithmetic and isn't here, by name.
        """
        if foreign.get("model_type") == "textmill-gpt":
            return own_from_foreign(cls, foreign)
        gpt1 = foreign.get("model_type") == "openai-gpt"
        refuse_unless(
            foreign, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False
        )
        if gpt1:
            refuse_unless(foreign, afn="gelu", tie_word_embeddings=True)
        read = Reader(foreign)
        return cls(
            form="gpt1" if gpt1 else "gpt2",
            vocab_size=read("vocab_size", 40_478 if gpt1 else 50_257),
            context_length=read("n_positions", 512 if gpt1 else 1024),
            width=read("n_embd", 768),
            num_layers=read("n_layer", 12),
            num_heads=read("n_head", 12),
            feed_forward_width=None if foreign.get("n_inner") is None else read("n_inner", 0),
            feed_forward="gelu_tanh" if gpt1 else read.choice("activation_function", "gelu_new", cls.ACTIVATIONS),
            dropout=read("resid_pdrop", 0.1),
            attention_dropout=read("attn_pdrop", 0.1),
            norm_eps=read("layer_norm_epsilon", 1e-5),
            tied=read("tie_word_embeddings", True),
        )
