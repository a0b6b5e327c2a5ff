"""Llama, and Qwen3."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from textmill.errors import NotSupportedError
from textmill.layers.config import AttentionPattern, RotaryConfig
from textmill.models.configs.foreign import Reader, refuse_unless, rotary_from_foreign, rotary_to_foreign
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.own import own_from_foreign, own_to_foreign
from textmill.models.configs.sizes import check_heads, check_sizes


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """Llama (Touvron et al. 2023, arXiv:2302.13971): RMSNorm, rotary positions, SwiGLU, grouped-query attention."""

    KIND: ClassVar[str] = "llama"
    vocab_size: int = 32_000
    context_length: int = 2048
    """The longest sequence, in tokens."""
    width: int = 4096
    num_layers: int = 32
    num_heads: int = 32
    num_kv_heads: int | None = None
    """Heads of keys and values; None: as many as num_heads."""
    head_dim: int | None = None
    """None: width / num_heads."""
    feed_forward_width: int | None = None
    """None: 8/3 of the width, up to the next multiple of 32, which has the parameters of a plain one of 4 widths."""
    feed_forward: Literal["swiglu", "geglu", "geglu_tanh", "reglu2"] = "swiglu"
    qk_norm: bool = False
    """RMSNorm of each head's queries and keys: Qwen3's form, and saved as such."""
    rotary: RotaryConfig = field(default_factory=RotaryConfig)
    attention: AttentionPattern = field(default_factory=AttentionPattern)
    """Which tokens a token sees; nobody else has this model with another pattern than dense, so it is saved as our
    own."""
    attention_dropout: float = 0.0
    dropout: float = 0.0
    """While training only; the ecosystem's configuration has no place for it."""
    norm_eps: float = 1e-6
    tied: bool = False
    """The output matrix is the embedding's."""

    ACTIVATIONS: ClassVar = {
        "silu": "swiglu",
        "swish": "swiglu",
        "gelu": "geglu",
        "gelu_pytorch_tanh": "geglu_tanh",
        "gelu_new": "geglu_tanh",
        "relu2": "reglu2",
    }
    DEFAULT_INIT: ClassVar = Initialisation()

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "context_length", "width", "num_layers", "num_heads")
        check_sizes(self, "num_kv_heads", "head_dim", "feed_forward_width")
        if self.head_dim is None:
            check_heads(self.width, self.num_heads)

    @property
    def model_type(self) -> str:
        if self.attention.kind != "dense":
            return "textmill-llama"
        return "qwen3" if self.qk_norm else "llama"

    @property
    def resolved_head_dim(self) -> int:
        return self.head_dim or self.width // self.num_heads

    @property
    def resolved_feed_forward_width(self) -> int:
        """
        >>> LlamaConfig(width=256, num_heads=4).resolved_feed_forward_width
        704
        """
        return self.feed_forward_width or -(-8 * self.width // (3 * 32)) * 32

    def to_foreign(self) -> dict[str, Any]:
        """The settings under the names of transformers' LlamaConfig or Qwen3Config, or under ours if sparse."""
        if self.model_type == "textmill-llama":
            return own_to_foreign(self, "TextmillLlama")
        names = {ours: theirs for theirs, ours in reversed(self.ACTIVATIONS.items())}
        foreign: dict[str, Any] = {
            "model_type": self.model_type,
            "architectures": ["Qwen3ForCausalLM" if self.qk_norm else "LlamaForCausalLM"],
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.context_length,
            "hidden_size": self.width,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads or self.num_heads,
            "head_dim": self.resolved_head_dim,
            "intermediate_size": self.resolved_feed_forward_width,
            "hidden_act": names[self.feed_forward],
            "attention_bias": False,
            "attention_dropout": self.attention_dropout,
            "rms_norm_eps": self.norm_eps,
            "tie_word_embeddings": self.tied,
            "rope_theta": self.rotary.theta,
            "rope_scaling": rotary_to_foreign(self.rotary),
        }
        return foreign | ({"use_sliding_window": False} if self.qk_norm else {"mlp_bias": False, "pretraining_tp": 1})

    @classmethod
    def from_foreign(cls, foreign: Mapping[str, Any]) -> Self:
        """The settings in a LlamaConfig or Qwen3Config.

        Raises:
            NotSupportedError: a setting that changes the arithmetic and isn't here, by name.
        """
        if foreign.get("model_type") == "textmill-llama":
            return own_from_foreign(cls, foreign)
        qwen3 = foreign.get("model_type") == "qwen3"
        refuse_unless(foreign, attention_bias=False, mlp_bias=False, use_sliding_window=False)
        if any(kind != "full_attention" for kind in foreign.get("layer_types") or []):
            raise NotSupportedError(f"layer_types must all be full_attention, got {foreign['layer_types']}")
        read = Reader(foreign)
        num_heads = read("num_attention_heads", 32)
        head_dim = read("head_dim", 128) if qwen3 or foreign.get("head_dim") is not None else None
        return cls(
            vocab_size=read("vocab_size", 151_936 if qwen3 else 32_000),
            context_length=read("max_position_embeddings", 32_768 if qwen3 else 2048),
            width=read("hidden_size", 4096),
            num_layers=read("num_hidden_layers", 32),
            num_heads=num_heads,
            num_kv_heads=read("num_key_value_heads", 32 if qwen3 else num_heads),
            head_dim=head_dim,
            feed_forward_width=read("intermediate_size", 22_016 if qwen3 else 11_008),
            feed_forward=read.choice("hidden_act", "silu", cls.ACTIVATIONS),
            qk_norm=qwen3,
            rotary=rotary_from_foreign(foreign),
            attention_dropout=read("attention_dropout", 0.0),
            norm_eps=read("rms_norm_eps", 1e-6),
            tied=read("tie_word_embeddings", False),
        )
