"""ModernBERT against transformers, both ways, padded and unpadded; its settings, its files, its mistakes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models.encoders import SIZES, padded, real, shaken, stream, unpadded_hidden

from textmill.config import from_json, to_json
from textmill.errors import ConfigError, FormatError, NotSupportedError
from textmill.folder import load, save_folder
from textmill.models import ModernBert, ModernBertConfig

# a window of 3 tokens on each side, in sequences of up to 20
CONFIG = ModernBertConfig(**SIZES, feed_forward_width=36, window=6)
CHOICES = ModernBertConfig(
    **SIZES, feed_forward_width=20, window=10, global_every=2, feed_forward="swiglu", global_theta=500.0,
    local_theta=77.0, norm_eps=1e-3,
)  # fmt: skip
NONE_GLOBAL_BUT_THE_FIRST = ModernBertConfig(**SIZES, feed_forward_width=36, window=2, global_every=7)


def prediction(model: Any) -> torch.Tensor:
    """Logits of all real tokens, by transformers or by us, from padded rows."""
    tokens = padded(stream()[0])
    with torch.no_grad():
        if isinstance(model, ModernBert):
            return model(tokens, real())[real()]
        logits: torch.Tensor = model.eval()(input_ids=tokens, attention_mask=real().long()).logits[real()]
        return logits


@pytest.mark.parametrize("config", [CONFIG, CHOICES, NONE_GLOBAL_BUT_THE_FIRST])
def test_transformers_opens_our_folder(config: ModernBertConfig, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM

    model = shaken(ModernBert(config))
    save_folder(tmp_path / "ours", model=model)
    theirs, report = AutoModelForMaskedLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert type(theirs).__name__ == "ModernBertForMaskedLM"
    assert not any(report.values())
    expected = prediction(theirs)
    torch.testing.assert_close(prediction(model), expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        # the same without padding, as the model is meant to run
        torch.testing.assert_close(model.logits(unpadded_hidden(model)), expected, atol=1e-5, rtol=1e-5)
    # and back, through its own writer
    theirs.save_pretrained(tmp_path / "theirs")
    folder = load(tmp_path / "theirs")
    torch.testing.assert_close(prediction(folder.model), expected, atol=1e-5, rtol=1e-5)
    assert folder.config.layer_types == config.layer_types
    assert load(tmp_path / "ours").config == config


def test_local_layers_see_their_window_alone() -> None:
    model = shaken(ModernBert(NONE_GLOBAL_BUT_THE_FIRST))
    model.trunk.blocks = model.trunk.blocks[1:]
    tokens = torch.randint(5, 61, (1, 20), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 10] = (changed[0, 10] + 1) % 61
    with torch.no_grad():
        difference = (model(tokens) - model(changed)).abs().amax(-1)[0]
    # two layers, one token on each side in each
    assert [place for place in range(20) if difference[place] > 0] == [8, 9, 10, 11, 12]


def test_a_file_of_theirs_opens(tmp_path: Path) -> None:
    from transformers import ModernBertConfig as TheirConfig
    from transformers import ModernBertForMaskedLM

    sizes: dict[str, Any] = {
        "vocab_size": 61, "max_position_embeddings": 40, "hidden_size": 24, "num_hidden_layers": 4,
        "num_attention_heads": 3, "intermediate_size": 30, "local_attention": 4, "pad_token_id": 0,
        "cls_token_id": 1, "bos_token_id": 1, "sep_token_id": 2, "eos_token_id": 2,
    }  # fmt: skip
    theirs = shaken(ModernBertForMaskedLM(TheirConfig(**sizes)))
    theirs.save_pretrained(tmp_path)
    model = load(tmp_path).model
    torch.testing.assert_close(prediction(model), prediction(theirs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, CHOICES, ModernBertConfig(), NONE_GLOBAL_BUT_THE_FIRST])
def test_settings_round_trip(config: ModernBertConfig) -> None:
    assert ModernBertConfig.from_foreign(config.to_foreign()) == config
    assert from_json(ModernBertConfig, to_json(config)) == config


def test_both_spellings_of_the_settings() -> None:
    """The published files name k and two thetas; transformers 5 lists the layers and nests the thetas."""
    old = {"model_type": "modernbert", "num_hidden_layers": 5, "global_attn_every_n_layers": 2}
    old |= {"global_rope_theta": 500.0, "local_rope_theta": 77.0}
    new = {"model_type": "modernbert", "num_hidden_layers": 5}
    new |= {"layer_types": ["full_attention", "sliding_attention"] * 2 + ["full_attention"]}
    new |= {"rope_parameters": {"full_attention": {"rope_theta": 500.0}, "sliding_attention": {"rope_theta": 77.0}}}
    assert ModernBertConfig.from_foreign(old) == ModernBertConfig.from_foreign(new)
    assert ModernBertConfig.from_foreign(old).global_every == 2


def test_missing_settings_are_the_ecosystems_defaults() -> None:
    from transformers import ModernBertConfig as TheirConfig

    ours = ModernBertConfig.from_foreign({"model_type": "modernbert"})
    assert ours == ModernBertConfig() == ModernBertConfig.from_foreign(TheirConfig().to_dict())


STRETCHED = {"full_attention": {"rope_type": "linear", "factor": 2.0}}


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"norm_bias": True}, "norm_bias"),
        ({"decoder_bias": False}, "decoder_bias"),
        ({"classifier_bias": True}, "classifier_bias"),
        ({"classifier_activation": "silu"}, "classifier_activation"),
        ({"hidden_activation": "tanh"}, "hidden_activation"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"rope_parameters": STRETCHED}, "stretches the rotary positions of full_attention"),
        ({"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}, "layer_types"),
        ({"num_hidden_layers": 3, "layer_types": ["full_attention"]}, "layer_types"),
    ],
)
def test_settings_that_change_the_arithmetic_are_refused(foreign: dict[str, Any], name: str) -> None:
    with pytest.raises(NotSupportedError, match=name):
        ModernBertConfig.from_foreign({"model_type": "modernbert"} | foreign)


def test_wrong_settings_and_input(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="window must be an even number of tokens, half of them on each side, got 7"):
        ModernBertConfig(window=7)
    with pytest.raises(ConfigError, match="global_every must be at least 1, got 0"):
        ModernBertConfig(global_every=0)
    with pytest.raises(FormatError, match="rope_parameters must be an object of objects"):
        ModernBertConfig.from_foreign({"model_type": "modernbert", "rope_parameters": "long"})
    model = ModernBert(CONFIG)
    with pytest.raises(ConfigError, match="positions for 40 tokens, got 41"):
        model(torch.zeros(1, 41, dtype=torch.int64))
    with pytest.raises(ConfigError, match=r"token ids must be in \[0, 61\), got 61 to 61"):
        model(torch.tensor([[61]]))
    with pytest.raises(NotSupportedError, match="ModernBert is an encoder"):
        model.new_cache(1)
    save_folder(tmp_path, model=model)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"model.layers.0.mlp.Wi.weight": torch.ones(71, 24)}, file)
    with pytest.raises(FormatError, match=r"mlp\.Wi\.weight \[71, 24\] don't fit"):
        load(tmp_path, verify=False).model  # noqa: B018


def test_weights_begin_as_published() -> None:
    model = ModernBert(ModernBertConfig(vocab_size=500, width=64, num_layers=8, num_heads=4, context_length=16))
    block = model.trunk.blocks[3]
    assert 0.03 < block.attention.qkv.weight.abs().max() <= 0.04
    # what writes into the stream: divided by sqrt(2 * 8)
    for weight in (block.attention.out.weight, block.feed_forward.down.weight):
        assert 0.0075 < weight.abs().max() <= 0.01
    assert not any(name.endswith("bias") for name, _ in model.named_parameters() if name != "masked_head.bias")
    assert model.trunk.blocks[0].attention_norm is None


def test_gradients_reach_every_weight() -> None:
    model = shaken(ModernBert(CONFIG)).train()
    model.logits(unpadded_hidden(model)).logsumexp(-1).sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())
