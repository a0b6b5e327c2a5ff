"""The settings of each architecture, and how they read and write the ecosystem's `config.json`. Free of torch.

A foreign setting that would change the arithmetic and that we don't have raises `NotSupportedError` by name; one that
says how to train, store or run the model is passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from textmill.errors import ConfigError, FormatError, NotSupportedError
from textmill.layers.config import RotaryConfig


@dataclass(frozen=True, kw_only=True)
class Initialisation:
    """How a model's weights are drawn before training. Biases start at 0, norms at 1."""

    std: float = 0.02
    """Standard deviation of the embeddings, and of matrices when `matrices` is "std"."""
    matrices: Literal["std", "fan_in"] = "std"
    """`fan_in`: standard deviation 1 / sqrt(inputs) instead, right for any width."""
    output_projections: Literal["plain", "scaled", "zero"] = "plain"
    """The matrices that write into the residual stream: like the others; divided by sqrt(2 layers) as in GPT-2; or 0,
    so that each block starts as the identity."""
    head: Literal["plain", "zero"] = "plain"
    """The output matrix, where it isn't tied to the embedding."""


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """GPT-2 (Radford et al. 2019) or GPT-1 (Radford et al. 2018): learned positions, LayerNorm, GELU."""

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

    ACTIVATIONS: ClassVar = {
        "gelu_new": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "gelu": "gelu",
        "relu2": "relu2",
    }
    DEFAULT_INIT: ClassVar = Initialisation(output_projections="scaled")

    def __post_init__(self) -> None:
        _check_sizes(self, "vocab_size", "context_length", "width", "num_layers", "num_heads", "feed_forward_width")
        _check_heads(self.width, self.num_heads)
        if self.form == "gpt1":
            if self.feed_forward_width not in (None, 4 * self.width):
                raise ConfigError(
                    f"GPT-1's feed-forward width is 4 times its width, got {self.feed_forward_width}",
                    fix=f"leave it out, or use {4 * self.width}",
                )
            if self.feed_forward != "gelu_tanh" or not self.tied:
                raise ConfigError("GPT-1 has gelu_tanh and tied embeddings", fix='or use form="gpt2"')

    @property
    def model_type(self) -> str:
        return "gpt2" if self.form == "gpt2" else "openai-gpt"

    def to_foreign(self) -> dict[str, Any]:
        """The settings under the names of transformers' GPT2Config or OpenAIGPTConfig."""
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
        gpt1 = foreign.get("model_type") == "openai-gpt"
        refuse_unless(
            foreign, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False
        )
        if gpt1:
            refuse_unless(foreign, afn="gelu", tie_word_embeddings=True)
        read = _Reader(foreign)
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


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """Llama (Touvron et al. 2023, arXiv:2302.13971): RMSNorm, rotary positions, SwiGLU, grouped-query attention."""

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
        _check_sizes(self, "vocab_size", "context_length", "width", "num_layers", "num_heads")
        _check_sizes(self, "num_kv_heads", "head_dim", "feed_forward_width")
        if self.head_dim is None:
            _check_heads(self.width, self.num_heads)

    @property
    def model_type(self) -> str:
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
        """The settings under the names of transformers' LlamaConfig or Qwen3Config."""
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
            "rope_scaling": _rotary_to_foreign(self.rotary),
        }
        return foreign | ({"use_sliding_window": False} if self.qk_norm else {"mlp_bias": False, "pretraining_tp": 1})

    @classmethod
    def from_foreign(cls, foreign: Mapping[str, Any]) -> Self:
        """The settings in a LlamaConfig or Qwen3Config.

        Raises:
            NotSupportedError: a setting that changes the arithmetic and isn't here, by name.
        """
        qwen3 = foreign.get("model_type") == "qwen3"
        refuse_unless(foreign, attention_bias=False, mlp_bias=False, use_sliding_window=False)
        if any(kind != "full_attention" for kind in foreign.get("layer_types") or []):
            raise NotSupportedError(f"layer_types must all be full_attention, got {foreign['layer_types']}")
        read = _Reader(foreign)
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
            rotary=_rotary_from_foreign(foreign),
            attention_dropout=read("attention_dropout", 0.0),
            norm_eps=read("rms_norm_eps", 1e-6),
            tied=read("tie_word_embeddings", False),
        )


def refuse_unless(foreign: Mapping[str, Any], **expected: Any) -> None:
    """Raises `NotSupportedError` for the first of these settings that is present with another value."""
    for name, value in expected.items():
        if foreign.get(name) not in (None, value):
            raise NotSupportedError(
                f"the model's config.json sets {name} to {foreign[name]!r}, which changes its arithmetic; "
                f"only {value!r} is supported",
                fix="choose another model",
            )
    if foreign.get("quantization_config") is not None:
        raise NotSupportedError("the model's config.json sets quantization_config", fix="use the unquantised weights")


class _Reader:
    """Reads settings of a foreign configuration with the type of their default."""

    def __init__(self, foreign: Mapping[str, Any]) -> None:
        self.foreign = foreign

    def __call__(self, name: str, default: Any) -> Any:
        value = self.foreign.get(name)
        if value is None:
            return default
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(default, float) and number:
            return float(value)
        if type(value) is not type(default):
            raise FormatError(f"config.json: {name} must be like {default!r}, got {value!r}")
        return value

    def choice(self, name: str, default: str, table: Mapping[str, str]) -> Any:
        value = self(name, default)
        if value not in table:
            raise NotSupportedError(
                f"the model's config.json sets {name} to {value!r}; supported are {', '.join(sorted(table))}"
            )
        return table[value]


def _rotary_to_foreign(rotary: RotaryConfig) -> dict[str, Any] | None:
    if rotary.scaling == "none":
        return None
    foreign: dict[str, Any] = {"rope_type": rotary.scaling, "factor": rotary.factor}
    if rotary.scaling == "llama3":
        foreign |= {
            "low_freq_factor": rotary.low_frequency_factor,
            "high_freq_factor": rotary.high_frequency_factor,
            "original_max_position_embeddings": rotary.original_context_length,
        }
    return foreign


def _rotary_from_foreign(foreign: Mapping[str, Any]) -> RotaryConfig:
    """Both spellings: `rope_theta` beside `rope_scaling`, and transformers 5's `rope_parameters`."""
    scaling = foreign.get("rope_parameters") or foreign.get("rope_scaling") or {}
    if not isinstance(scaling, Mapping):
        raise FormatError(f"config.json: rope_scaling must be an object, got {scaling!r}")
    read = _Reader(scaling)
    theta = read("rope_theta", _Reader(foreign)("rope_theta", 10_000.0))
    if foreign.get("partial_rotary_factor", scaling.get("partial_rotary_factor")) not in (None, 1, 1.0):
        raise NotSupportedError("the model's config.json sets partial_rotary_factor", fix="choose another model")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind in ("default", None):
        return RotaryConfig(theta=theta)
    if kind == "linear":
        return RotaryConfig(theta=theta, scaling="linear", factor=read("factor", 1.0))
    if kind == "llama3":
        return RotaryConfig(
            theta=theta,
            scaling="llama3",
            factor=read("factor", 8.0),
            low_frequency_factor=read("low_freq_factor", 1.0),
            high_frequency_factor=read("high_freq_factor", 4.0),
            original_context_length=read("original_max_position_embeddings", 8192),
        )
    raise NotSupportedError(
        f"the model's config.json sets rope_type to {kind!r}; supported are default, linear, llama3"
    )


_MOST_LAYERS = 1 << 10
_MOST = 1 << 24
"""Larger sizes are a damaged or hostile file; building the model would end in an overflow or without memory."""


def _check_sizes(config: Any, *names: str) -> None:
    for name in names:
        value, most = getattr(config, name), _MOST_LAYERS if name == "num_layers" else _MOST
        if value is not None and not 1 <= value <= most:
            problem = f"at least 1, got {value}" if value < 1 else f"at most {most}, got {value:.6g}"
            raise ConfigError(f"{name} must be {problem}", fix=f"set {name} to a size that fits in memory")


def _check_heads(width: int, num_heads: int) -> None:
    if width % num_heads:
        raise ConfigError(
            f"num_heads must divide width, got {num_heads} heads and width {width}",
            fix=f"use a width of {-(-width // num_heads) * num_heads}, or another number of heads",
        )
