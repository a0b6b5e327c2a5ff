"""TrainingConfig checks itself, and loads without torch."""

import subprocess
import sys
from typing import Any

import pytest

from textmill.config import from_json, to_json
from textmill.errors import ConfigError
from textmill.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": None}, "a run needs an end, got neither steps nor minutes.*set steps, minutes or both"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"micro_batch_size": 0}, "micro_batch_size must be at least 1, got 0"),
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"learning_rate": 0.0}, r"learning_rate must be > 0, got 0\.0"),
        ({"head_learning_rate": -1.0}, r"head_learning_rate must be > 0, got -1\.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be > 0, got nan"),
        ({"minutes": 0.0}, r"minutes must be > 0, got 0\.0"),
        ({"weight_decay": -0.1}, r"weight_decay must be at least 0, got -0\.1"),
        ({"final_fraction": 1.5}, r"final_fraction must be from 0 to 1, got 1\.5"),
        ({"betas": (0.9,)}, r"betas must be two numbers, got \[0\.9\]"),
        ({"betas": (0.9, 1.0)}, r"betas must be in \[0, 1\), got 1\.0"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1\.0"),
    ],
)
def test_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**values)


def test_json_round_trip() -> None:
    config = TrainingConfig(steps=7, minutes=2.5, optimizer="adamw", betas=(0.8, 0.99))
    assert from_json(TrainingConfig, to_json(config)) == config


def test_tokens_per_step() -> None:
    assert TrainingConfig(batch_size=3, context_length=5).tokens_per_step == 15


def test_watching_decides_nothing() -> None:
    assert TrainingConfig(keep=3, evaluate_every=7).deciding() == TrainingConfig().deciding()
    assert TrainingConfig(seed=3).deciding() != TrainingConfig().deciding()


def test_loads_without_torch() -> None:
    program = "import sys, textmill.training.config as c; c.TrainingConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
