"""TrainingConfig checks itself, and loads without torch."""

import subprocess
import sys
from typing import Any

import pytest

from textmill.config import from_json, override, to_json
from textmill.errors import ConfigError
from textmill.training.config import GroupRule, TrainingConfig


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
        ({"patience": 0}, "patience must be at least 1, got 0"),
        (
            {"patience": 2, "evaluate_every": None},
            "patience counts measurements, got patience=2 and evaluate_every=None",
        ),
        ({"min_delta": -0.1}, r"min_delta must be at least 0, got -0\.1"),
        ({"l1": -1.0}, r"l1 must be at least 0, got -1\.0"),
        ({"l2": float("nan")}, "l2 must be at least 0, got nan"),
        ({"epsilon": 0.0}, r"epsilon must be > 0, got 0\.0"),
        ({"layer_decay": 0.0}, r"layer_decay must be > 0, got 0\.0"),
        ({"layer_decay": 1.1}, r"layer_decay must be from 0 to 1, got 1\.1"),
        (
            {"optimizer": "adam", "weight_decay": 0.1},
            r"adam has no decay beside the gradient, got weight_decay=0\.1.*l2",
        ),
        (
            {"optimizer": "adam", "groups": (GroupRule(pattern="x", weight_decay=0.2),)},
            r"adam has no decay beside the gradient, got weight_decay=0\.2",
        ),
    ],
)
def test_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pattern": "("}, r"pattern must be a regular expression, got '\('"),
        ({"pattern": "norm"}, "the group 'norm' changes nothing.*a learning_rate, a weight_decay or a role"),
        ({"pattern": "norm", "learning_rate": 0.0}, r"learning_rate must be > 0, got 0\.0"),
        ({"pattern": "norm", "weight_decay": -1.0}, r"weight_decay must be at least 0, got -1\.0"),
    ],
)
def test_a_rule_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GroupRule(**values)


def test_the_decay_that_is_meant() -> None:
    assert TrainingConfig().decay == TrainingConfig(optimizer="sgd").decay == 0.1
    assert TrainingConfig(optimizer="adam").decay == TrainingConfig(optimizer="adam", weight_decay=0.0).decay == 0.0
    assert TrainingConfig(weight_decay=0.0).decay == 0.0


def test_json_round_trip() -> None:
    rules = (GroupRule(pattern="norm", weight_decay=0.1), GroupRule(pattern="router", role="vector"))
    config = TrainingConfig(steps=7, minutes=2.5, optimizer="adamw", betas=(0.8, 0.99), groups=rules)
    assert from_json(TrainingConfig, to_json(config)) == config


def test_rules_from_the_command_line() -> None:
    config = override(TrainingConfig(), ['groups=[{"pattern": "norm", "learning_rate": 1e-4}]'])
    assert config.groups == (GroupRule(pattern="norm", learning_rate=1e-4),)
    with pytest.raises(ConfigError, match="has no setting 'rate'"):
        override(TrainingConfig(), ['groups=[{"pattern": "norm", "rate": 1}]'])


def test_tokens_per_step() -> None:
    assert TrainingConfig(batch_size=3, context_length=5).tokens_per_step == 15


def test_watching_decides_nothing() -> None:
    watched = TrainingConfig(keep=3, evaluate_every=7, patience=2, min_delta=0.1, keep_best=True)
    assert watched.deciding() == TrainingConfig().deciding()
    assert TrainingConfig(seed=3).deciding() != TrainingConfig().deciding()


def test_loads_without_torch() -> None:
    program = "import sys, textmill.training.config as c; c.TrainingConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
