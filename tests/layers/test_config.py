"""What a trunk's settings must satisfy."""

from typing import Any

import pytest

from textmill.errors import ConfigError
from textmill.layers.config import TransformerConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"num_kv_heads": 3}, "num_kv_heads must divide num_heads, got 3 and 4. Fix: use a divisor of 4"),
        ({"head_dim": 5, "positions": "rotary"}, "head_dim must be even, got 5"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"norm_eps": 0.0}, "norm_eps must be > 0"),
    ],
)
def test_wrong_settings(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {
        "num_layers": 1, "width": 8, "num_heads": 4, "num_kv_heads": 4, "head_dim": 2, "feed_forward_width": 8,
        "context_length": 8,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        TransformerConfig(**(settings | change))
