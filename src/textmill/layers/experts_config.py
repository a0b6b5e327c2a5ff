"""`ExpertsConfig`: the choices of a mixture of experts. Free of torch, so that commands can show it."""

import warnings
from dataclasses import dataclass

from textmill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig:
    """A feed-forward layer of many experts, of which each token uses a few. `layers.experts` has the formulas."""

    num_experts: int = 8
    top_k: int = 2
    """Experts that each token uses."""
    normalise: bool = True
    """True: the weights of a token's experts sum to 1 (Mixtral). False: each weighs what the softmax over all experts
    gives it (Switch)."""
    capacity_factor: float | None = None
    """While training, an expert takes at most ceil(factor * tokens * top_k / num_experts) rows of a batch; the choices
    beyond that are left out, and such a token passes by on the residual stream. None: none is left out."""
    jitter: float = 0.0
    """While training, the router's input is multiplied by numbers drawn from [1 - jitter, 1 + jitter]."""
    shared_width: int | None = None
    """Feed-forward width of one more expert that every token uses, with weight 1 (DeepSeekMoE). None: there is none."""
    balance: float = 0.01
    """Weight of the load-balancing loss while training."""
    router_z: float = 0.001
    """Weight of the router's z-loss while training."""

    def __post_init__(self) -> None:
        if self.num_experts < 1:
            raise ConfigError(f"num_experts must be at least 1, got {self.num_experts}", fix="Mixtral has 8")
        if not 1 <= self.top_k <= self.num_experts:
            raise ConfigError(
                f"top_k must be from 1 to the number of experts, got {self.top_k} of {self.num_experts}",
                fix="use 1 or 2",
            )
        if self.capacity_factor is not None and not self.capacity_factor > 0:
            raise ConfigError(
                f"capacity_factor must be > 0, got {self.capacity_factor}", fix="use 1.25, or None to drop nothing"
            )
        if not 0 <= self.jitter < 1:
            raise ConfigError(f"jitter must be in [0, 1), got {self.jitter}", fix="Switch uses 0.01")
        if self.shared_width is not None and self.shared_width < 1:
            raise ConfigError(f"shared_width must be at least 1, got {self.shared_width}", fix="use None for none")
        for name in ("balance", "router_z"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}", fix="0 turns it off")
        if self.normalise and self.top_k == 1 < self.num_experts:
            warnings.warn(
                "with top_k=1 and normalise=True every weight is 1, so the router learns nothing from the text; "
                "use normalise=False",
                stacklevel=3,
            )
