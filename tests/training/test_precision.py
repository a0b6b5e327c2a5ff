"""bf16 working weights and their fp32 masters."""

import pytest
import torch
from torch import nn

from textmill.errors import ConfigError
from textmill.layers.transformer import Transformer, TransformerConfig
from textmill.training import precision
from textmill.training.precision import Weights, chosen_dtype

CPU = torch.device("cpu")


def small_model() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)))
    return model


@pytest.mark.parametrize(
    ("setting", "fast", "expected"),
    [
        ("fp32", True, torch.float32),
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("bf16", True, torch.bfloat16),
    ],
)
def test_choice(setting: str, fast: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
    assert chosen_dtype(setting, CPU) == expected


def test_bf16_without_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    with pytest.raises(
        ConfigError, match=r"precision=bf16 needs hardware.*this cpu device doesn't.*Fix: use precision=fp32"
    ):
        chosen_dtype("bf16", CPU)


def test_detection_answers() -> None:
    assert precision.has_fast_bf16(CPU) in (True, False)
    assert not precision.has_fast_bf16(torch.device("meta"))


def test_fp32_masters_are_the_model() -> None:
    model = small_model()
    weights = Weights(model, torch.float32)
    assert all(weights.masters[name] is weight for name, weight in model.named_parameters())


def test_bf16_rounds_working_weights_and_restores_exact_ones() -> None:
    model = small_model()
    model[1].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights = Weights(model, torch.bfloat16)
    tensors = (*model.parameters(), *(table for table in model.buffers() if table.is_floating_point()))
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
    assert set(weights.trained) == set(weights.masters) - {"1.weight"}
    assert torch.equal(model[0].weight, before["0.weight"].bfloat16())
    weights.restore()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_small_updates_add_up_in_the_masters() -> None:
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    weights = Weights(model, torch.bfloat16)
    # each is less than half of bf16's spacing at 1, so that bf16 alone would never move
    for _ in range(16):
        with torch.no_grad():
            weights.masters["weight"] += 1e-3
        weights.publish()
    assert model.weight.item() == pytest.approx(1.016, abs=2**-8)
    weights.restore()
    assert model.weight.item() == pytest.approx(1.016, abs=1e-5)


def test_gradients_add_up_in_fp32() -> None:
    model = nn.Linear(1, 1, bias=False)
    weights = Weights(model, torch.bfloat16)
    # 256 + 1 isn't a bf16 number
    for value in (256.0, 1.0):
        model.weight.grad = torch.full((1, 1), value, dtype=torch.bfloat16)
        weights.collect_gradients()
        assert model.weight.grad is None
    assert float(weights.masters["weight"].grad) == 257.0  # type: ignore[arg-type]
    weights.drop_gradients()
    assert weights.masters["weight"].grad is None


def test_running_statistics_are_stored_and_come_back() -> None:
    config = TransformerConfig(
        num_layers=1,
        width=8,
        num_heads=2,
        num_kv_heads=2,
        head_dim=4,
        feed_forward_width=16,
        context_length=8,
        norm="batch",
        causal=False,
    )
    trunk = Transformer(config).train()
    weights = Weights(trunk, torch.float32)
    trunk(torch.randn(2, 8, 8) + 5)
    kept = {name: tensor.clone() for name, tensor in weights.stored().items()}
    assert any("running_mean" in name and tensor.abs().max() > 0.1 for name, tensor in kept.items())
    other = Weights(Transformer(config), torch.float32)
    other.load(kept)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in other.stored().items())
