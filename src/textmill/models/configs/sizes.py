"""Sizes that a model can have."""

from typing import Any

from textmill.errors import ConfigError

_MOST_LAYERS = 1 << 10
_MOST = 1 << 24
"""Larger sizes are a damaged or hostile file; building the model would end in an overflow or without memory."""


def check_sizes(config: Any, *names: str) -> None:
    for name in names:
        value, most = getattr(config, name), _MOST_LAYERS if name == "num_layers" else _MOST
        if value is not None and not 1 <= value <= most:
            problem = f"at least 1, got {value}" if value < 1 else f"at most {most}, got {value:.6g}"
            raise ConfigError(f"{name} must be {problem}", fix=f"set {name} to a size that fits in memory")


def check_heads(width: int, num_heads: int) -> None:
    if width % num_heads:
        raise ConfigError(
            f"num_heads must divide width, got {num_heads} heads and width {width}",
            fix=f"use a width of {-(-width // num_heads) * num_heads}, or another number of heads",
        )
