"""`TransformerConfig`: the choices of one trunk. Free of torch, so that commands can show it."""

from dataclasses import dataclass, field
from typing import Literal

from textmill.errors import ConfigError
from textmill.layers.experts_config import ExpertsConfig

NormName = Literal["layer", "rms", "batch"]
NormPosition = Literal["pre", "post"]
PositionName = Literal["learned", "rotary", "none"]
PatternName = Literal["dense", "window", "strided", "fixed", "block"]
RecomputeName = Literal["none", "attention", "feed_forward", "block"]
FeedForwardName = Literal["gelu", "gelu_tanh", "relu", "relu2", "swiglu", "geglu", "geglu_tanh", "reglu2"]


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
class AttentionPattern:
    """Which tokens a token sees, beside causal order. `layers.patterns` has the definitions."""

    kind: PatternName = "dense"
    window: int = 128
    """window, causal: a token sees itself and the window - 1 tokens before it. Otherwise: window // 2 on each side."""
    global_every: int = 0
    """window: layers 0, k, 2k, ... are dense, the others local. 0: all are local."""
    stride: int = 128
    """strided: a token sees the last `stride` tokens, and every stride-th. fixed: the size of a block."""
    summary: int = 8
    """fixed: so many tokens at the end of each block are seen by all later ones (the paper's c)."""
    merged: bool = True
    """strided, fixed: every head sees both parts (True), or even layers the near part and odd ones the far part."""
    block: int = 64
    """block: tokens of a block."""
    local_blocks: int = 1
    """block: neighbours that a block sees on each side, its own always."""
    global_tokens: int = 0
    """block: so many tokens at the beginning see all, and are seen by all."""
    random_blocks: int = 0
    """block: further blocks that a block sees, drawn from `seed` for each layer."""
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"window": 1, "global_every": 0, "stride": 1, "summary": 1, "block": 1, "local_blocks": 0}
        for name, bound in {**least, "global_tokens": 0, "random_blocks": 0}.items():
            if getattr(self, name) < bound:
                raise ConfigError(f"the attention pattern's {name} must be at least {bound}, got {getattr(self, name)}")
        if self.kind == "fixed" and self.summary > self.stride:
            raise ConfigError(
                f"fixed attention's summary must not be longer than its stride, got {self.summary} and {self.stride}",
                fix="the paper uses a summary of 8 to 32 with a stride of 128 or 256",
            )

    def is_local(self, layer: int) -> bool:
        """Whether `layer` follows the pattern; the others are dense.

        >>> [AttentionPattern(kind="window", global_every=3).is_local(layer) for layer in range(4)]
        [False, True, True, False]
        """
        if self.kind == "dense":
            return False
        return not (self.kind == "window" and self.global_every and layer % self.global_every == 0)


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
    norm_bias: bool = True
    """Whether LayerNorm and BatchNorm add a bias."""
    embedding_norm: bool = False
    """A norm on the input vectors, after positions are added (BERT, ModernBERT)."""
    first_norm: bool = True
    """pre: False leaves out the norm before the first attention, where the input is normalised (ModernBERT)."""
    positions: PositionName = "learned"
    rotary: RotaryConfig = field(default_factory=RotaryConfig)
    local_rotary: RotaryConfig | None = None
    """The rotation in local layers of a window pattern, or None for the same as in global ones."""
    attention: AttentionPattern = field(default_factory=AttentionPattern)
    feed_forward: FeedForwardName = "gelu_tanh"
    experts: ExpertsConfig | None = None
    """Many feed-forward layers of feed_forward_width, of which each token uses a few; None: one, which all use."""
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
        self._check_norms()
        if self.local_rotary is not None and (self.positions != "rotary" or self.attention.kind != "window"):
            raise ConfigError(
                "local_rotary needs rotary positions and a window pattern, "
                f"got {self.positions} positions and {self.attention.kind} attention",
                fix='leave local_rotary out, or use positions="rotary" and a pattern of kind="window"',
            )
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.norm_eps <= 0:
            raise ConfigError(f"norm_eps must be > 0, got {self.norm_eps}", fix="use 1e-5")

    def _check_norms(self) -> None:
        if not self.first_norm and self.norm_position == "post":
            raise ConfigError(
                "first_norm=False leaves out the norm before the first attention, and post-norm blocks have none there",
                fix='use norm_position="pre", or first_norm=True',
            )
        if self.norm == "batch" and self.causal:
            raise ConfigError(
                "BatchNorm takes its means over all tokens of a batch, so that a causal model would see later tokens "
                "while it trains",
                fix='use norm="layer" or norm="rms", or causal=False',
            )
