"""`TransformerConfig`: the choices of one trunk. Free of torch, so that commands can show it."""

from dataclasses import dataclass, field
from typing import Literal

from textmill.errors import ConfigError

NormName = Literal["layer", "rms"]
NormPosition = Literal["pre", "post"]
PositionName = Literal["learned", "rotary", "none"]
FeedForwardName = Literal["gelu", "gelu_tanh", "relu2", "swiglu", "geglu", "geglu_tanh", "reglu2"]


@dataclass(frozen=True, kw_only=True)
class RotaryConfig:
    """Rotary positions: RoFormer, Su et al. 2021, arXiv:2104.09864, and the two ways in use of stretching them."""

    theta: float = 10_000.0
    """Wavelengths run from 2 pi to 2 pi theta tokens."""
    scaling: Literal["none", "linear", "llama3"] = "none"
    """`linear`: every position divided by `factor`. `llama3`: only the long wavelengths, with a ramp between."""
    factor: float = 1.0
    low_frequency_factor: float = 1.0
    """llama3: wavelengths above original_context_length / this are divided by `factor`."""
    high_frequency_factor: float = 4.0
    """llama3: wavelengths below original_context_length / this stay as they are."""
    original_context_length: int = 8192
    """llama3: the context length before stretching."""

    def __post_init__(self) -> None:
        if self.theta <= 0 or self.factor <= 0:
            raise ConfigError(f"rotary theta and factor must be > 0, got {self.theta} and {self.factor}")
        if self.scaling == "llama3" and self.low_frequency_factor >= self.high_frequency_factor:
            raise ConfigError(
                f"low_frequency_factor must be below high_frequency_factor, got {self.low_frequency_factor} "
                f"and {self.high_frequency_factor}",
                fix="Llama 3 uses 1 and 4",
            )


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """One Transformer trunk: how many layers of what size, and which of the parts."""

    num_layers: int
    width: int
    """Numbers in the residual stream, per token."""
    num_heads: int
    num_kv_heads: int
    """Heads of keys and values; each serves num_heads / num_kv_heads query heads."""
    head_dim: int
    feed_forward_width: int
    context_length: int
    """The longest sequence, in tokens."""
    norm: NormName = "layer"
    norm_position: NormPosition = "pre"
    norm_eps: float = 1e-5
    positions: PositionName = "learned"
    rotary: RotaryConfig = field(default_factory=RotaryConfig)
    feed_forward: FeedForwardName = "gelu_tanh"
    qk_norm: bool = False
    """RMSNorm of each query's and key's head, before the rotation."""
    bias: bool = True
    """Biases in the matrix products."""
    causal: bool = True
    """Each token sees itself and what came before; otherwise all tokens."""
    dropout: float = 0.0
    """Share of the sub-layer outputs and embeddings set to zero while training."""
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = ("num_layers", "width", "num_heads", "num_kv_heads", "head_dim", "feed_forward_width", "context_length")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.num_heads % self.num_kv_heads:
            raise ConfigError(
                f"num_kv_heads must divide num_heads, got {self.num_kv_heads} and {self.num_heads}",
                fix=f"use a divisor of {self.num_heads}",
            )
        if self.positions == "rotary" and self.head_dim % 2:
            raise ConfigError(
                f"rotary positions turn pairs of numbers, so head_dim must be even, got {self.head_dim}",
                fix="choose width and num_heads so that width / num_heads is even",
            )
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.norm_eps <= 0:
            raise ConfigError(f"norm_eps must be > 0, got {self.norm_eps}", fix="use 1e-5")
