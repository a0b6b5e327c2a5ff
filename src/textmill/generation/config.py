"""`GenerationConfig`: how text is drawn from a model. Free of torch."""

from dataclasses import dataclass
from typing import Literal

from textmill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """The settings of `generate`. The order they act in: repetition penalty, temperature, top-k, top-p, min-p."""

    max_tokens: int = 200
    """At most so many new tokens."""
    temperature: float = 0.8
    """0: always the likeliest token. Below 1: likely tokens more often. Above: less often."""
    top_k: int = 0
    """Draw from the k likeliest tokens; 0: from all."""
    top_p: float = 0.95
    """Draw from the fewest likeliest tokens that hold this share of the probability; 1: from all."""
    min_p: float = 0.0
    """Draw only from tokens at least this many times as likely as the likeliest."""
    repetition_penalty: float = 1.0
    """Above 1: tokens that stand in the text already become less likely."""
    stop: tuple[str, ...] = ()
    """Texts that end the output; they are not part of it."""
    seed: int = 0
    """Same seed, same prompt, same settings: same text, in any batch."""
    overflow: Literal["slide", "stop"] = "slide"
    """When the text outgrows the model's context: forget the older half and go on, or refuse such a length at once."""
    ignore_end_of_text: bool = False
    """Go on after the model has ended its text."""

    def __post_init__(self) -> None:
        if self.max_tokens < 0:
            raise ConfigError(f"max_tokens must be >= 0, got {self.max_tokens}", fix="200 is a few sentences")
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"temperature must be >= 0, got {self.temperature}", fix="0 is greedy, 0.8 is usual")
        if self.top_k < 0:
            raise ConfigError(f"top_k must be >= 0, got {self.top_k}", fix="0 draws from all tokens")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be in (0, 1], got {self.top_p}", fix="1 draws from all tokens")
        if not 0 <= self.min_p <= 1:
            raise ConfigError(f"min_p must be in [0, 1], got {self.min_p}", fix="0 draws from all tokens")
        if not 0 < self.repetition_penalty < float("inf"):
            raise ConfigError(f"repetition_penalty must be > 0, got {self.repetition_penalty}", fix="1 is none")
        if "" in self.stop:
            raise ConfigError("a stop text must not be empty", fix="leave it out")
