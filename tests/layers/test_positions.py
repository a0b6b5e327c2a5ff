"""Rotations against complex numbers and loops, frequencies against transformers."""

import math

import pytest
import torch

from textmill.errors import ConfigError
from textmill.layers.config import RotaryConfig
from textmill.layers.positions import Rotary, rotary_frequencies, rotate


def test_rotation_turns_each_pair() -> None:
    torch.manual_seed(0)
    rotary = Rotary(6, 9, RotaryConfig(theta=50.0))
    x = torch.randn(9, 1, 1, 6)
    got = rotate(x, *rotary.at(slice(0, 9), torch.float32))
    for position in range(9):
        for pair in range(3):
            number = complex(x[position, 0, 0, pair], x[position, 0, 0, pair + 3])
            angle = position * 50.0 ** (-2 * pair / 6)
            turned = number * complex(math.cos(angle), math.sin(angle))
            assert got[position, 0, 0, pair].item() == pytest.approx(turned.real, abs=1e-5)
            assert got[position, 0, 0, pair + 3].item() == pytest.approx(turned.imag, abs=1e-5)


def test_positions_by_row_and_precision() -> None:
    rotary = Rotary(4, 8, RotaryConfig())
    cos, _ = rotary.at(torch.tensor([[0, 3], [5, 1]]), torch.bfloat16)
    assert cos.shape == (2, 2, 1, 1, 4)
    assert cos.dtype == torch.bfloat16
    exact = rotary.cos.clone()
    rotary.to(torch.bfloat16).to(torch.float32)
    assert torch.equal(rotary.cos, exact)
    assert not rotary.state_dict()


@pytest.mark.parametrize("scaling", ["none", "linear", "llama3"])
def test_frequencies_equal_transformers(scaling: str) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    parameters = {"rope_type": "default" if scaling == "none" else scaling, "rope_theta": 500.0}
    if scaling != "none":
        parameters["factor"] = 4.0
    if scaling == "llama3":
        parameters |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    theirs = LlamaConfig(
        hidden_size=32, num_attention_heads=2, max_position_embeddings=256, rope_parameters=parameters, head_dim=16
    )
    ours = RotaryConfig(
        theta=500.0, scaling=scaling, factor=4.0 if scaling != "none" else 1.0, original_context_length=64  # type: ignore[arg-type]
    )  # fmt: skip
    torch.testing.assert_close(rotary_frequencies(16, ours), LlamaRotaryEmbedding(theirs).inv_freq)


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match="theta and factor must be > 0"):
        RotaryConfig(theta=-1)
    with pytest.raises(ConfigError, match="low_frequency_factor must be below"):
        RotaryConfig(scaling="llama3", low_frequency_factor=4.0)
