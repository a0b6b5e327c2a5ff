"""Every wrong setting is named."""

from typing import Any

import pytest

from textmill.errors import ConfigError
from textmill.generation.config import GenerationConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_tokens": -1}, "max_tokens must be >= 0, got -1"),
        ({"temperature": -0.5}, "temperature must be >= 0, got -0.5. Fix: 0 is greedy"),
        ({"temperature": float("nan")}, "temperature must be >= 0, got nan"),
        ({"top_k": -2}, "top_k must be >= 0, got -2"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0"),
        ({"min_p": 1.5}, r"min_p must be in \[0, 1\], got 1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be > 0, got 0.0"),
        ({"stop": ("",)}, "a stop text must not be empty"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GenerationConfig(**settings)
