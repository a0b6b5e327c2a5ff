"""A Llama with a sparse pattern: the trunk follows it, and its folder keeps it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from textmill.errors import FormatError
from textmill.folder import load, save_folder
from textmill.layers.config import AttentionPattern
from textmill.layers.experts_config import ExpertsConfig
from textmill.models import Llama, LlamaConfig, Mixtral, MixtralConfig

SIZES = {"vocab_size": 30, "context_length": 24, "width": 16, "num_layers": 2, "num_heads": 2}
TOKENS = torch.arange(24)[None] % 30


@torch.no_grad()
def test_a_window_over_everything_is_dense_attention() -> None:
    dense = Llama(LlamaConfig(**SIZES), seed=1).eval()  # type: ignore[arg-type]
    wide = Llama(replace(dense.config, attention=AttentionPattern(kind="window", window=24)), seed=1).eval()
    narrow = Llama(replace(dense.config, attention=AttentionPattern(kind="window", window=3)), seed=1).eval()
    assert torch.allclose(wide(TOKENS), dense(TOKENS), atol=1e-6)
    # two layers of three tokens reach four back
    changed = TOKENS.clone()
    changed[0, 10] = 29
    moved = (narrow(changed) != narrow(TOKENS)).any(-1)[0].nonzero()[:, 0].tolist()
    assert moved == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("qk_norm", [False, True])
def test_saved_under_our_name_and_loaded(qk_norm: bool, tmp_path: Path) -> None:
    pattern = AttentionPattern(kind="strided", stride=4)
    model = Llama(LlamaConfig(**SIZES, qk_norm=qk_norm, attention=pattern), seed=2).eval()  # type: ignore[arg-type]
    folder = save_folder(tmp_path / "model", model=model)
    assert folder.foreign_config["model_type"] == "textmill-llama"
    again = load(tmp_path / "model")
    assert again.config == model.config
    with torch.no_grad():
        assert torch.equal(again.model(TOKENS), model(TOKENS))
    with pytest.raises(FormatError, match="attention"):
        LlamaConfig.from_foreign({**folder.foreign_config, "attention": {"kind": "spiral"}})


def test_a_sparse_mixture_is_ours_too(tmp_path: Path) -> None:
    pattern = AttentionPattern(kind="window", window=4)
    config = MixtralConfig(**SIZES, attention=pattern, experts=ExpertsConfig(num_experts=3))  # type: ignore[arg-type]
    assert config.model_type == "textmill-mixtral"
    assert replace(config, attention=AttentionPattern()).model_type == "mixtral"
    model = Mixtral(config, seed=3).eval()
    save_folder(tmp_path / "model", model=model)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "model").model(TOKENS), model(TOKENS))
