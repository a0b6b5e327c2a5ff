"""Settings: their checks, and what is refused of the ecosystem's."""

from typing import Any

import pytest

from textmill.config import from_json, to_json
from textmill.errors import ConfigError, FormatError, NotSupportedError
from textmill.layers.config import RotaryConfig
from textmill.models.configs import GPTConfig, LlamaConfig

CONFIGS = [
    GPTConfig(),
    GPTConfig(form="gpt1"),
    GPTConfig(feed_forward="gelu", feed_forward_width=100, dropout=0.2, attention_dropout=0.1, tied=False),
    LlamaConfig(qk_norm=True, num_kv_heads=8, head_dim=128, feed_forward_width=10, tied=True),
    LlamaConfig(num_kv_heads=4, head_dim=64, feed_forward_width=10, rotary=RotaryConfig(scaling="linear", factor=2.0)),
    LlamaConfig(num_kv_heads=4, head_dim=64, feed_forward_width=10, rotary=RotaryConfig(scaling="llama3", factor=2.0)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_round_trips(config: GPTConfig | LlamaConfig) -> None:
    assert type(config).from_foreign(config.to_foreign()) == config
    assert from_json(type(config), to_json(config)) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"width": 10, "num_heads": 4},
            "must divide width, got 4 heads and width 10. Fix: use a width of 12",
        ),
        ({"vocab_size": 0}, "vocab_size must be at least 1"),
        ({"form": "gpt1", "feed_forward_width": 8}, "GPT-1's feed-forward width is 4 times"),
        ({"form": "gpt1", "tied": False}, "GPT-1 has gelu_tanh and tied embeddings"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GPTConfig(**settings)


@pytest.mark.parametrize(
    ("cls", "foreign", "name"),
    [
        (GPTConfig, {"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        (GPTConfig, {"model_type": "gpt2", "scale_attn_weights": False}, "scale_attn_weights"),
        (GPTConfig, {"model_type": "gpt2", "add_cross_attention": True}, "add_cross_attention"),
        (GPTConfig, {"model_type": "gpt2", "activation_function": "silu"}, "activation_function"),
        (GPTConfig, {"model_type": "openai-gpt", "afn": "relu"}, "afn"),
        (LlamaConfig, {"model_type": "llama", "attention_bias": True}, "attention_bias"),
        (LlamaConfig, {"model_type": "llama", "mlp_bias": True}, "mlp_bias"),
        (LlamaConfig, {"model_type": "llama", "hidden_act": "tanh"}, "hidden_act"),
        (LlamaConfig, {"model_type": "llama", "rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_type"),
        (LlamaConfig, {"model_type": "llama", "partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        (LlamaConfig, {"model_type": "llama", "quantization_config": {"bits": 4}}, "quantization_config"),
        (LlamaConfig, {"model_type": "qwen3", "use_sliding_window": True}, "use_sliding_window"),
        (LlamaConfig, {"model_type": "qwen3", "layer_types": ["sliding_attention"]}, "layer_types"),
    ],
)
def test_settings_that_change_the_arithmetic_are_refused(cls: Any, foreign: dict[str, Any], name: str) -> None:
    with pytest.raises(NotSupportedError, match=name):
        cls.from_foreign(foreign)


def test_a_setting_of_the_wrong_type() -> None:
    with pytest.raises(FormatError, match="n_layer must be like 12, got 'many'"):
        GPTConfig.from_foreign({"model_type": "gpt2", "n_layer": "many"})
    with pytest.raises(FormatError, match="rope_scaling must be an object"):
        LlamaConfig.from_foreign({"model_type": "llama", "rope_scaling": "long"})


def test_missing_settings_are_the_ecosystems_defaults() -> None:
    from transformers import GPT2Config, OpenAIGPTConfig, Qwen3Config
    from transformers import LlamaConfig as TheirLlama

    for theirs in (GPT2Config(), OpenAIGPTConfig(), TheirLlama(), Qwen3Config()):
        cls = GPTConfig if theirs.model_type in ("gpt2", "openai-gpt") else LlamaConfig
        assert cls.from_foreign({"model_type": theirs.model_type}) == cls.from_foreign(
            theirs.to_dict() | ({} if theirs.model_type != "llama" else {"head_dim": None})
        )
