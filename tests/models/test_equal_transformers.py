"""Logits equal transformers', both ways: it opens our folder, we open its folder."""

from pathlib import Path
from typing import Any

import pytest
import torch

from textmill.folder import load, save_folder
from textmill.layers.config import RotaryConfig
from textmill.models import GPT, GPTConfig, LanguageModel, Llama, LlamaConfig

SMALL: dict[str, Any] = {"vocab_size": 61, "context_length": 24, "width": 24, "num_layers": 2}
STRETCHED = RotaryConfig(
    theta=100.0, scaling="llama3", factor=4.0, low_frequency_factor=1.0, high_frequency_factor=4.0,
    original_context_length=12,
)  # fmt: skip
OURS: dict[str, tuple[type[LanguageModel], Any, str]] = {
    "gpt2": (GPT, GPTConfig(**SMALL, num_heads=4), "GPT2LMHeadModel"),
    "gpt2-choices": (
        GPT,
        GPTConfig(**SMALL, num_heads=3, tied=False, feed_forward="relu2", feed_forward_width=20, norm_eps=1e-3),
        "GPT2LMHeadModel",
    ),
    "gpt1": (GPT, GPTConfig(**SMALL, num_heads=4, form="gpt1"), "OpenAIGPTLMHeadModel"),
    "llama": (Llama, LlamaConfig(**SMALL, num_heads=4), "LlamaForCausalLM"),
    "llama-grouped-tied": (
        Llama,
        LlamaConfig(**SMALL, num_heads=6, num_kv_heads=2, tied=True, feed_forward="geglu_tanh", rotary=STRETCHED),
        "LlamaForCausalLM",
    ),
    "qwen3": (Llama, LlamaConfig(**SMALL, num_heads=4, num_kv_heads=2, head_dim=8, qk_norm=True), "Qwen3ForCausalLM"),
    "qwen3-tied": (
        Llama,
        LlamaConfig(**SMALL, num_heads=4, qk_norm=True, tied=True, feed_forward="reglu2"),
        "Qwen3ForCausalLM",
    ),
}


def shaken(model: torch.nn.Module) -> None:
    """Large random weights everywhere, so that nothing hides behind zeros and ones."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.2)


def tokens() -> torch.Tensor:
    return torch.randint(0, 61, (2, 20), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("name", list(OURS))
def test_transformers_opens_our_folder(name: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    cls, config, architecture = OURS[name]
    model = cls(config)
    shaken(model)
    save_folder(tmp_path / "ours", model=model, run={"made": "by a test"})
    theirs, report = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert type(theirs).__name__ == architecture
    assert not any(report.values())
    with torch.no_grad():
        expected = theirs.eval()(tokens()).logits
        torch.testing.assert_close(model.eval()(tokens()), expected, atol=1e-4, rtol=0)
        # and back, through its own writer
        theirs.save_pretrained(tmp_path / "theirs")
        folder = load(tmp_path / "theirs")
        assert folder.config.to_foreign() == config.to_foreign()
        torch.testing.assert_close(folder.model(tokens()), expected, atol=1e-4, rtol=0)
        again = load(tmp_path / "ours")
        assert torch.equal(again.model(tokens()), model(tokens()))
        assert again.config.to_foreign() == config.to_foreign()


@pytest.mark.parametrize("name", ["gpt2", "openai-gpt", "llama", "qwen3"])
def test_we_open_folders_made_by_transformers(name: str, tmp_path: Path) -> None:
    import transformers

    gpt = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 24, "vocab_size": 61}
    llama = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 61,
        "intermediate_size": 30, "max_position_embeddings": 24, "head_dim": 6, "rope_theta": 77.0,
    }  # fmt: skip
    # files of a bare trunk have no prefix
    cls, settings = {
        "gpt2": (transformers.GPT2LMHeadModel, transformers.GPT2Config(**gpt)),
        "openai-gpt": (transformers.OpenAIGPTLMHeadModel, transformers.OpenAIGPTConfig(**gpt)),
        "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**llama)),
        "qwen3": (transformers.Qwen3ForCausalLM, transformers.Qwen3Config(**llama)),
    }[name]
    theirs = cls(settings)
    shaken(theirs)
    # in several files with an index
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    with torch.no_grad():
        expected = theirs.eval()(tokens()).logits
        torch.testing.assert_close(load(tmp_path).model(tokens()), expected, atol=1e-4, rtol=0)


def test_a_bare_trunk_with_old_buffers_opens(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = GPT(GPTConfig(**SMALL, num_heads=4))
    save_folder(tmp_path, model=model)
    file = tmp_path / "model.safetensors"
    bare = {name.removeprefix("transformer."): tensor for name, tensor in load_file(file).items()}
    bare |= {"h.0.attn.bias": torch.ones(1, 1, 24, 24).tril(), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    save_file(bare, file)
    with torch.no_grad():
        assert torch.equal(load(tmp_path, verify=False).model(tokens()), model.eval()(tokens()))


def test_gradients_reach_every_weight_of_a_loaded_model(tmp_path: Path) -> None:
    for cls, config, _ in OURS.values():
        save_folder(tmp_path / "model", model=cls(config))
        model = load(tmp_path / "model").model.train()
        model(tokens()).logsumexp(-1).sum().backward()
        assert all(weight.grad is not None for weight in model.parameters())
