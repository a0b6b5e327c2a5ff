"""ModernBERT."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from textmill.errors import ConfigError, FormatError, NotSupportedError
from textmill.layers.config import RotaryConfig
from textmill.models.configs.foreign import Reader, refuse_unless, rotary_from_foreign
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.sizes import check_heads, check_sizes

GLOBAL, LOCAL = "full_attention", "sliding_attention"


@dataclass(frozen=True, kw_only=True)
class ModernBertConfig:
    """ModernBERT (Warner et al. 2024, arXiv:2412.13663): an encoder of rotary positions, GeGLU and local attention.

    The defaults are ModernBERT-base's. Matrices and norms have no biases.
    """

    KIND: ClassVar[str] = "modern-bert"
    vocab_size: int = 50_368
    context_length: int = 8192
    """The longest sequence, in tokens."""
    width: int = 768
    num_layers: int = 22
    num_heads: int = 12
    feed_forward_width: int = 1152
    """Of each half of the gated layer."""
    feed_forward: Literal["geglu", "geglu_tanh", "swiglu"] = "geglu"
    global_every: int = 3
    """Layers 0, k, 2k, ... see the whole text, the others see what is near."""
    window: int = 128
    """How many tokens a local layer sees: half of them before a token, half after, and itself."""
    global_theta: float = 160_000.0
    """The rotary theta of the global layers."""
    local_theta: float = 10_000.0
    """The rotary theta of the local layers."""
    dropout: float = 0.0
    attention_dropout: float = 0.0
    norm_eps: float = 1e-5

    ACTIVATIONS: ClassVar = {
        "gelu": "geglu",
        "gelu_new": "geglu_tanh",
        "gelu_pytorch_tanh": "geglu_tanh",
        "silu": "swiglu",
        "swish": "swiglu",
    }
    DEFAULT_INIT: ClassVar = Initialisation(output_projections="scaled", truncation=2.0)
    """The paper's, Megatron's: what writes into the stream is divided by sqrt(2 layers)."""

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "context_length", "width", "num_layers", "num_heads", "feed_forward_width")
        check_sizes(self, "global_every")
        check_heads(self.width, self.num_heads)
        if self.window < 2 or self.window % 2:
            raise ConfigError(
                f"window must be an even number of tokens, half of them on each side, got {self.window}",
                fix="ModernBERT uses 128",
            )

    @property
    def tied(self) -> bool:
        """The output matrix is the embedding's, always."""
        return True

    @property
    def model_type(self) -> str:
        return "modernbert"

    @property
    def layer_types(self) -> list[str]:
        """
        >>> ModernBertConfig(num_layers=4).layer_types
        ['full_attention', 'sliding_attention', 'sliding_attention', 'full_attention']
        """
        return [LOCAL if layer % self.global_every else GLOBAL for layer in range(self.num_layers)]

    def to_foreign(self) -> dict[str, Any]:
        """The settings under the names of transformers' ModernBertConfig, in its old and its new spelling."""
        names = {ours: theirs for theirs, ours in reversed(self.ACTIVATIONS.items())}
        return {
            "model_type": self.model_type,
            "architectures": ["ModernBertForMaskedLM"],
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.context_length,
            "hidden_size": self.width,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.feed_forward_width,
            "hidden_activation": names[self.feed_forward],
            "local_attention": self.window,
            "global_attn_every_n_layers": self.global_every,
            "layer_types": self.layer_types,
            "global_rope_theta": self.global_theta,
            "local_rope_theta": self.local_theta,
            "rope_parameters": {
                GLOBAL: {"rope_type": "default", "rope_theta": self.global_theta},
                LOCAL: {"rope_type": "default", "rope_theta": self.local_theta},
            },
            "embedding_dropout": self.dropout,
            "mlp_dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "norm_eps": self.norm_eps,
            "norm_bias": False,
            "attention_bias": False,
            "mlp_bias": False,
            "classifier_bias": False,
            "classifier_activation": "gelu",
            "decoder_bias": True,
            "tie_word_embeddings": True,
            # its defaults are ids of the published vocabulary, which a smaller one doesn't have
            "pad_token_id": None,
            "cls_token_id": None,
            "sep_token_id": None,
        }

    @classmethod
    def from_foreign(cls, foreign: Mapping[str, Any]) -> Self:
        """The settings in a ModernBertConfig.

        Raises:
            NotSupportedError: a setting that changes the arithmetic and isn't here, by name.
        """
        refuse_unless(
            foreign,
            attention_bias=False,
            mlp_bias=False,
            norm_bias=False,
            classifier_bias=False,
            classifier_activation="gelu",
            decoder_bias=True,
            tie_word_embeddings=True,
        )
        read = Reader(foreign)
        num_layers = read("num_hidden_layers", 22)
        return cls(
            vocab_size=read("vocab_size", 50_368),
            context_length=read("max_position_embeddings", 8192),
            width=read("hidden_size", 768),
            num_layers=num_layers,
            num_heads=read("num_attention_heads", 12),
            feed_forward_width=read("intermediate_size", 1152),
            feed_forward=read.choice("hidden_activation", "gelu", cls.ACTIVATIONS),
            global_every=_global_every(read, num_layers),
            window=read("local_attention", 128),
            global_theta=_theta(foreign, GLOBAL, "global_rope_theta", 160_000.0),
            local_theta=_theta(foreign, LOCAL, "local_rope_theta", 10_000.0),
            dropout=read("mlp_dropout", 0.0),
            attention_dropout=read("attention_dropout", 0.0),
            norm_eps=read("norm_eps", 1e-5),
        )


def _global_every(read: Reader, num_layers: int) -> int:
    """Which layers are global: said by a number, or by the list of all layers' kinds."""
    kinds, every = read("layer_types", []), read("global_attn_every_n_layers", 0)
    if not kinds:
        return every or 3
    every = every or next((layer for layer in range(1, len(kinds)) if kinds[layer] == GLOBAL), max(1, len(kinds)))
    if kinds != [LOCAL if layer % every else GLOBAL for layer in range(num_layers)]:
        raise NotSupportedError(
            f"the model's config.json sets layer_types to {kinds!r:.80}; supported is {GLOBAL} at layers 0, k, 2k, ...",
            fix="choose another model",
        )
    return every


def _theta(foreign: Mapping[str, Any], kind: str, name: str, default: float) -> float:
    """The rotary theta of one kind of layer: transformers 5's `rope_parameters` by kind, or the setting `name`."""
    by_kind = foreign.get("rope_parameters") or {}
    if not isinstance(by_kind, Mapping) or not isinstance(by_kind.get(kind, {}), Mapping):
        raise FormatError(f"config.json: rope_parameters must be an object of objects, got {by_kind!r:.80}")
    theta = Reader(foreign)(name, default)
    rotary = rotary_from_foreign({"rope_parameters": {"rope_theta": theta, **by_kind.get(kind, {})}})
    if rotary != RotaryConfig(theta=rotary.theta):
        raise NotSupportedError(f"the model's config.json stretches the rotary positions of {kind}")
    return rotary.theta
