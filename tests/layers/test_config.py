"""What a trunk's settings must satisfy."""

from typing import Any

import pytest

from textmill.errors import ConfigError
from textmill.layers.config import AttentionPattern, RotaryConfig, TransformerConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"num_kv_heads": 3}, "num_kv_heads must divide num_heads, got 3 and 4. Fix: use a divisor of 4"),
        ({"head_dim": 5, "positions": "rotary"}, "head_dim must be even, got 5"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"norm_eps": 0.0}, "norm_eps must be > 0"),
        ({"first_norm": False, "norm_position": "post"}, "post-norm blocks have none there"),
        ({"norm": "batch"}, "a causal model would see later tokens"),
        (
            {"local_rotary": RotaryConfig(), "positions": "learned"},
            "local_rotary needs rotary positions and a window pattern, got learned positions and dense attention",
        ),
    ],
)
def test_wrong_settings(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {
        "num_layers": 1, "width": 8, "num_heads": 4, "num_kv_heads": 4, "head_dim": 2, "feed_forward_width": 8,
        "context_length": 8,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        TransformerConfig(**(settings | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 0}, "the attention pattern's window must be at least 1, got 0"),
        ({"global_every": -1}, "global_every must be at least 0, got -1"),
        ({"kind": "fixed", "stride": 4, "summary": 5}, "summary must not be longer than its stride, got 5 and 4"),
    ],
)
def test_wrong_patterns(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AttentionPattern(**change)
