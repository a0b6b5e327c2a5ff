"""Mixtral: logits equal transformers' both ways, in both layouts of its files; decoding; training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from textmill.config import from_json, override, to_json
from textmill.data.batches import Batch
from textmill.errors import ConfigError, FormatError, NotSupportedError
from textmill.folder import load, save_folder
from textmill.layers.config import RotaryConfig
from textmill.layers.experts_config import ExpertsConfig
from textmill.models import GPT, GPTConfig, Initialisation, Llama, LlamaConfig, Mixtral, MixtralConfig
from textmill.objectives import NextToken
from textmill.objectives.router import with_router_losses

SMALL: dict[str, Any] = {
    "vocab_size": 61, "context_length": 24, "width": 24, "num_layers": 2, "num_heads": 4, "feed_forward_width": 20
}  # fmt: skip
OURS: dict[str, MixtralConfig] = {
    "plain": MixtralConfig(**SMALL),
    "choices": MixtralConfig(
        **SMALL, num_kv_heads=2, head_dim=8, tied=True, feed_forward="geglu_tanh", norm_eps=1e-4,
        rotary=RotaryConfig(theta=77.0), experts=ExpertsConfig(num_experts=5, top_k=3, jitter=0.1, balance=0.03),
    ),
}  # fmt: skip
ALONE = {
    "switch": MixtralConfig(**SMALL, experts=ExpertsConfig(top_k=1, normalise=False, capacity_factor=1.25)),
    "shared": MixtralConfig(**SMALL, experts=ExpertsConfig(num_experts=3, shared_width=7)),
    "qk-norm": MixtralConfig(**SMALL, qk_norm=True),
}


def tokens() -> torch.Tensor:
    return torch.randint(0, 61, (2, 20), generator=torch.Generator().manual_seed(4))


def model_of(config: MixtralConfig) -> Mixtral:
    return Mixtral(config, seed=1, init=Initialisation(std=0.3))


@pytest.mark.parametrize("name", OURS)
def test_transformers_opens_our_folder_and_we_its(name: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    config = OURS[name]
    model = model_of(config).eval()
    save_folder(tmp_path / "ours", model=model)
    theirs, report = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert type(theirs).__name__ == "MixtralForCausalLM"
    assert not any(report.values())
    with torch.no_grad():
        expected = theirs.eval()(tokens()).logits
        torch.testing.assert_close(model(tokens()), expected, atol=1e-5, rtol=1e-5)
        # as published, one tensor an expert; and packed, as inside transformers 5
        for layout in (True, False):
            theirs.save_pretrained(tmp_path / f"theirs-{layout}", save_original_format=layout)
            folder = load(tmp_path / f"theirs-{layout}")
            assert folder.config.to_foreign() == config.to_foreign()
            torch.testing.assert_close(folder.model(tokens()), expected, atol=1e-5, rtol=1e-5)
        again = load(tmp_path / "ours")
        assert torch.equal(again.model(tokens()), model(tokens()))
        assert again.config.to_foreign() == config.to_foreign()


def test_both_layouts_are_there(tmp_path: Path) -> None:
    from safetensors import safe_open
    from transformers import MixtralConfig as Theirs
    from transformers import MixtralForCausalLM

    settings = Theirs(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6, vocab_size=61,
        intermediate_size=32, max_position_embeddings=24, num_local_experts=3,
    )  # fmt: skip
    model = MixtralForCausalLM(settings).eval()
    for layout, example in ((True, "block_sparse_moe.experts.2.w1.weight"), (False, "mlp.experts.gate_up_proj")):
        model.save_pretrained(tmp_path / str(layout), save_original_format=layout)
        with safe_open(tmp_path / str(layout) / "model.safetensors", "pt") as file:
            assert f"model.layers.1.{example}" in file.keys()  # noqa: SIM118
        with torch.no_grad():
            torch.testing.assert_close(
                load(tmp_path / str(layout)).model(tokens()), model(tokens()).logits, atol=1e-5, rtol=1e-5
            )


@pytest.mark.parametrize("name", ALONE)
def test_forms_of_our_own_come_back(name: str, tmp_path: Path) -> None:
    model = model_of(ALONE[name]).eval()
    save_folder(tmp_path, model=model)
    folder = load(tmp_path)
    assert folder.foreign_config["model_type"] == "textmill-mixtral"
    assert folder.config == ALONE[name]
    assert torch.equal(folder.model(tokens()), model(tokens()))


def test_a_gpt_with_experts_comes_back(tmp_path: Path) -> None:
    experts = ExpertsConfig(num_experts=3, shared_width=7)
    model = GPT(GPTConfig(**SMALL, experts=experts), seed=1, init=Initialisation(std=0.3)).eval()
    assert model.trunk.blocks[0].feed_forward.up.bias.shape == (3, 20)
    save_folder(tmp_path, model=model)
    folder = load(tmp_path)
    assert folder.foreign_config["model_type"] == "textmill-gpt"
    assert folder.config == model.config
    assert torch.equal(folder.model(tokens()), model(tokens()))
    with pytest.raises(ConfigError, match="GPT-1 has no experts"):
        GPTConfig(form="gpt1", experts=experts)


def test_experts_are_a_setting_on_the_command_line() -> None:
    config = override(GPTConfig(), ['experts={"num_experts": 4, "top_k": 1, "normalise": false}'])
    assert config.experts == ExpertsConfig(num_experts=4, top_k=1, normalise=False)
    assert override(MixtralConfig(), ["experts.num_experts=16"]).experts.num_experts == 16


@pytest.mark.parametrize("config", [*OURS.values(), *ALONE.values()], ids=[*OURS, *ALONE])
def test_settings_round_trip(config: MixtralConfig) -> None:
    assert from_json(MixtralConfig, to_json(config)) == config
    assert MixtralConfig.from_foreign(config.to_foreign()).to_foreign() == config.to_foreign()


def test_missing_settings_are_the_ecosystems_defaults() -> None:
    from transformers import MixtralConfig as Theirs

    ours = MixtralConfig.from_foreign({"model_type": "mixtral"})
    theirs = MixtralConfig.from_foreign(Theirs().to_dict())
    assert ours == theirs
    assert ours.rotary.theta == 1_000_000.0


def test_a_sliding_window_is_refused() -> None:
    with pytest.raises(NotSupportedError, match="sliding_window"):
        MixtralConfig.from_foreign({"model_type": "mixtral", "sliding_window": 4096})


def test_a_missing_expert_is_named() -> None:
    model = model_of(OURS["plain"])
    weights = model.to_foreign()
    del weights["model.layers.1.block_sparse_moe.experts.3.w2.weight"]
    with pytest.raises(FormatError, match=r"lack model\.layers\.1\.block_sparse_moe\.experts\.3\.w2"):
        model.from_foreign(weights)


def test_one_expert_is_a_llama() -> None:
    model = model_of(MixtralConfig(**SMALL, experts=ExpertsConfig(num_experts=1, top_k=1))).eval()
    llama = Llama(LlamaConfig(**SMALL)).eval()
    state = {name: weight for name, weight in model.state_dict().items() if ".router." not in name}
    stacked = (".gate.weight", ".up.weight", ".down.weight")
    llama.load_state_dict({name: w[0] if name.endswith(stacked) else w for name, w in state.items()})
    with torch.no_grad():
        torch.testing.assert_close(model(tokens()), llama(tokens()), atol=1e-5, rtol=1e-5)


def test_initial_weights_follow_the_settings() -> None:
    init = Initialisation(std=0.1, output_projections="zero")
    model = Mixtral(ALONE["shared"], seed=5, init=init)
    layer = model.trunk.blocks[0].feed_forward
    assert not layer.down.weight.any()
    assert not layer.shared.down.weight.any()
    for weight in (layer.up.weight, layer.gate.weight, layer.router.weight):
        assert float(weight.detach().std()) == pytest.approx(0.1, rel=0.25)
    again = Mixtral(ALONE["shared"], seed=5, init=init)
    assert torch.equal(again.trunk.blocks[1].feed_forward.up.weight, model.trunk.blocks[1].feed_forward.up.weight)


@torch.no_grad()
def test_a_cache_equals_the_whole_pass() -> None:
    # capacity holds while training alone: or a token's output would depend on the batch
    model = model_of(ALONE["switch"]).eval()
    cache, parts = model.new_cache(2), tokens().split([7, 1, 5, 7], dim=1)
    steps = [model.logits(model.hidden(model.embed(part), cache=cache)) for part in parts]
    torch.testing.assert_close(torch.cat(steps, 1), model(tokens()), atol=1e-4, rtol=1e-4)


def test_training_lowers_the_loss_and_spreads_the_load() -> None:
    experts = ExpertsConfig(num_experts=4, top_k=2, balance=0.05)
    model = Mixtral(MixtralConfig(**{**SMALL, "feed_forward_width": 16}, experts=experts), seed=0)
    with torch.no_grad():
        # all tokens have something in common, which two experts like
        model.embedding.weight += 0.1
        for block in model.trunk.blocks:
            block.feed_forward.router.weight[:2] += 0.1
    objective = with_router_losses(NextToken(), model)
    rows = np.random.default_rng(0).integers(0, 61, (8, 17))
    batch = Batch(tokens=rows[:, :-1], targets=rows[:, 1:])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    seen: list[dict[str, float]] = []
    for _ in range(60):
        losses, counts = objective(model, batch), objective.counts(batch)
        means = {key: losses[key] / counts[key] for key in losses}
        torch.stack([objective.weights[key] * mean for key, mean in means.items()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append({key: float(mean.detach()) for key, mean in means.items()})
    assert seen[-1]["loss"] < 0.5 * seen[0]["loss"]
    # 2 layers, so an even spread gives 2, and two of four experts alone 4
    assert seen[0]["balance"] > 3.5
    assert seen[-1]["balance"] < 2.2
    assert all(float(load.share.min()) > 0.1 for load in model.trunk.expert_load())
