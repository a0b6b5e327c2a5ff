"""Roles, rates by depth, rules by name."""

import pytest
from torch import nn

from textmill.errors import ConfigError
from textmill.models import GPT, GPTConfig, Llama, LlamaConfig
from textmill.training.config import GroupRule, TrainingConfig
from textmill.training.groups import parameter_settings, roles


def gpt(num_layers: int = 1) -> GPT:
    return GPT(GPTConfig(vocab_size=7, width=4, num_layers=num_layers, num_heads=1, context_length=3))


def rates(config: TrainingConfig, model: nn.Module) -> dict[str, float]:
    return {name: found.learning_rate for name, found in parameter_settings(roles(model), config).items()}


def test_roles() -> None:
    tied = roles(gpt())
    assert tied["embedding.weight"] == "embedding"
    assert tied["trunk.positions.weight"] == "embedding"
    assert {role for name, role in tied.items() if name.endswith("bias") or "norm" in name} == {"vector"}
    assert "head" not in tied.values()
    settings = LlamaConfig(vocab_size=7, width=4, num_layers=1, num_heads=1, context_length=3, tied=False)
    llama = Llama(settings)
    assert roles(llama)["head.weight"] == "head"
    assert {name.split(".")[-2] for name, role in roles(llama).items() if role == "matrix"} >= {"qkv", "out"}
    llama.requires_grad_(False)
    assert roles(llama) == {}


def test_roles_of_recurrent_and_stacked_weights() -> None:
    assert set(roles(nn.LSTM(3, 4)).items()) == {
        ("weight_ih_l0", "matrix"), ("weight_hh_l0", "matrix"), ("bias_ih_l0", "vector"), ("bias_hh_l0", "vector"),
    }  # fmt: skip
    experts = nn.ParameterDict({"up": nn.Parameter(nn.init.ones_(nn.Linear(4, 6).weight.expand(2, 6, 4).clone()))})
    experts["up_bias"] = nn.Parameter(nn.Linear(4, 6).weight.detach())
    assert roles(experts) == {"up": "matrix", "up_bias": "vector"}


def test_rates_fall_with_depth() -> None:
    config = TrainingConfig(optimizer="adamw", learning_rate=1.0, layer_decay=0.5)
    found = rates(config, gpt(num_layers=3))
    assert found["embedding.weight"] == found["trunk.positions.weight"] == 0.5**4
    for layer in range(3):
        block = {rate for name, rate in found.items() if name.startswith(f"trunk.blocks.{layer}.")}
        assert block == {0.5 ** (3 - layer)}
    assert found["trunk.norm.weight"] == 1.0


def test_rates_fall_for_each_role() -> None:
    config = TrainingConfig(learning_rate=1.0, matrix_learning_rate=8.0, layer_decay=0.5)
    found = rates(config, gpt())
    assert found["trunk.blocks.0.attention.qkv.weight"] == 4.0
    assert found["trunk.blocks.0.attention.qkv.bias"] == 0.5


def test_later_rules_count_and_leave_the_rest() -> None:
    config = TrainingConfig(
        optimizer="adamw", learning_rate=1.0, weight_decay=0.1, layer_decay=0.5,
        groups=(GroupRule(pattern=r"blocks\.0\.", weight_decay=0.7), GroupRule(pattern="qkv", learning_rate=0.3)),
    )  # fmt: skip
    found = parameter_settings(roles(gpt()), config)
    assert (found["trunk.blocks.0.attention.qkv.weight"].learning_rate,
            found["trunk.blocks.0.attention.qkv.weight"].weight_decay) == (0.3, 0.7)  # fmt: skip
    assert found["trunk.blocks.0.attention.out.weight"].learning_rate == 0.5
    assert found["trunk.blocks.0.attention_norm.weight"].weight_decay == 0.7
    assert found["trunk.norm.weight"].weight_decay == 0.0
    again = TrainingConfig(
        groups=(GroupRule(pattern="norm", role="matrix"), GroupRule(pattern="norm", role="vector")), optimizer="adamw"
    )
    assert parameter_settings(roles(gpt()), again)["trunk.norm.weight"].role == "vector"


def test_a_role_brings_its_decay() -> None:
    config = TrainingConfig(optimizer="adamw", groups=(GroupRule(pattern="up", role="vector"),))
    assert parameter_settings({"up": "matrix"}, config)["up"].weight_decay == 0.0


def test_a_rule_that_matches_nothing() -> None:
    config = TrainingConfig(groups=(GroupRule(pattern="bloks", weight_decay=0.0),))
    with pytest.raises(ConfigError, match=r"no trained parameter has a name with 'bloks' in it.*names look like embed"):
        parameter_settings(roles(gpt()), config)


def test_layer_decay_needs_layers() -> None:
    with pytest.raises(ConfigError, match=r"layer_decay=0\.9 needs layers that are named blocks\.0\."):
        parameter_settings({"weight": "matrix"}, TrainingConfig(layer_decay=0.9))
