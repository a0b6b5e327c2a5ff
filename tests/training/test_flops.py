"""Operations against torch's own count, and utilisation against its definition."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from textmill.data.batches import Batch
from textmill.data.ragged import RaggedBatch
from textmill.layers.config import AttentionPattern
from textmill.layers.experts_config import ExpertsConfig
from textmill.layers.patterns import LayerPattern, pattern_mask
from textmill.models import GPT, Bert, BertConfig, GPTConfig, Llama, LlamaConfig, Mixtral, MixtralConfig, Nnlm
from textmill.models.configs import LstmConfig, NnlmConfig, TransformerXlConfig
from textmill.models.lstm import Lstm
from textmill.models.transformer_xl import TransformerXl
from textmill.objectives import MaskedToken, NextToken, ReplacedToken, SentencePair, Weighted
from textmill.training import peak
from textmill.training.flops import AttentionLayer, Meter, flops_of, flops_per_token, num_predicted

SIZES: dict[str, Any] = {"vocab_size": 61, "width": 32, "num_layers": 3, "num_heads": 4, "context_length": 24}
EXPERTS = ExpertsConfig(num_experts=4, top_k=2, shared_width=16)
MODELS: dict[str, Any] = {
    "gpt2": lambda: GPT(GPTConfig(**SIZES)),
    "gpt1": lambda: GPT(GPTConfig(**SIZES, form="gpt1")),
    "llama": lambda: Llama(LlamaConfig(**SIZES, num_kv_heads=2, qk_norm=True)),
    "tied": lambda: Llama(LlamaConfig(**SIZES, tied=True)),
    "mixtral": lambda: Mixtral(MixtralConfig(**SIZES, experts=EXPERTS)),
    "bert": lambda: Bert(BertConfig(**SIZES, heads="masked_token")),
    "nnlm": lambda: Nnlm(NnlmConfig(vocab_size=61, width=8, hidden_width=16)),
}


def counted(function: Any) -> int:
    """By torch, over matrix products; with gradients, because torch doesn't count the kernel of attention without."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", MODELS)
def test_forward_equals_torchs_count(name: str) -> None:
    model = MODELS[name]()
    tokens = torch.randint(0, 61, (2, 20))
    # the weighted sum of the experts' outputs is no product with weights, but is made by one
    combined = 3 * 40 * 2 * 2 * 32 if name == "mixtral" else 0
    assert flops_of(model).forward(np.array([20, 20]), 40) + combined == counted(lambda: model(tokens))


def test_pairs_of_sentences_equal_torchs_count() -> None:
    model = Bert(BertConfig(**SIZES))
    flops, pair = flops_of(model), counted(lambda: model.pair_logits(torch.ones(5, 32)))
    assert flops.forward(np.ones(5, np.int64), 0) - flops.per_token * 5 - 3 * 4 * 32 * 5 == pair


def test_a_model_that_predicts_no_tokens() -> None:
    flops = flops_of(Bert(BertConfig(**SIZES, heads="replaced_token")))
    assert flops.per_target == 2 * (32 * 32 + 32)


def test_an_lstm_by_its_gates() -> None:
    model = Lstm(LstmConfig(vocab_size=61, width=8, hidden_width=16, num_layers=2))
    # four gates of each layer, from its input and from its state: 8 -> 16 -> 8
    assert flops_per_token(model, 30) == 6 * (4 * 16 * (8 + 16) + 4 * 8 * (16 + 8) + 61 * 8)


def test_transformer_xl_sees_its_memory() -> None:
    model = TransformerXl(
        TransformerXlConfig(vocab_size=61, width=8, num_layers=2, num_heads=2, memory_length=5, segment_length=30)
    )
    flops = flops_of(model)
    assert flops.attention == (AttentionLayer(8, None, products=3, memory=5),) * 2
    assert flops.attention[0].flops(np.array([3, 2])) == 6 * 8 * (3 * 8 + 2 * 7)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    "pattern",
    [
        AttentionPattern(kind="window", window=6),
        AttentionPattern(kind="strided", stride=4),
        AttentionPattern(kind="block", block=4, local_blocks=0, random_blocks=1),
    ],
)
def test_pairs_are_those_of_the_mask(pattern: AttentionPattern, causal: bool) -> None:
    layer = AttentionLayer(8, LayerPattern(pattern, 0, causal, 40))
    masks = [pattern_mask(pattern, 0, T, T, causal=causal, context_length=40) for T in (40, 7, 1, 0)]
    assert layer.pairs(np.array([40, 7, 1, 0])) == sum(int(mask.sum()) for mask in masks)


def test_many_rows_at_once_are_counted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = LayerPattern(AttentionPattern(kind="strided", stride=4), 0, False, 41)
    monkeypatch.setattr("textmill.training.flops.ROWS_AT_ONCE", 3)
    mask = pattern_mask(pattern.pattern, 0, 41, 41, causal=False)
    assert AttentionLayer(8, pattern).pairs(np.array([41])) == int(mask.sum())


def test_utilisation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textmill.training.flops.peak_flops", lambda device, dtype: 1e9)
    model = GPT(GPTConfig(**SIZES))
    meter = Meter(model, torch.device("cpu"), torch.float32)
    tokens = np.zeros((4, 24), np.int64)
    found = meter.utilisation(Batch(tokens=tokens, targets=tokens), 96, 0.5)
    assert found == pytest.approx(96 * flops_per_token(model, 24) / 0.5e9)
    # documents that don't see one another are fewer pairs
    apart = Batch(tokens=tokens, targets=tokens, starts=np.array([0, 12, 24, 48, 72, 96]))
    assert meter.flops is not None
    saved = 3 * 3 * 4 * 32 * (24**2 - 2 * 12**2)
    assert meter.utilisation(apart, 96, 0.5) == pytest.approx(found - saved / 0.5e9)
    assert Meter(torch.nn.Linear(2, 2), torch.device("cpu"), torch.float32).utilisation(apart, 96, 0.5) is None


def test_predictions_by_objective() -> None:
    batch = RaggedBatch(
        tokens=np.arange(7), starts=np.array([0, 4, 7]), places=np.array([1, 5]), targets=np.array([7, 8]),
        types=np.zeros(7, np.int64), labels=np.array([0, 1]),
    )  # fmt: skip
    both = Weighted({"masked": (MaskedToken(), 1.0), "pair": (SentencePair(), 1.0)})
    assert [num_predicted(each, batch) for each in (MaskedToken(), both, ReplacedToken())] == [2, 2, 7]
    rows = Batch(tokens=np.zeros((2, 3), np.int64), targets=np.array([[1, 2, -100], [1, 1, 1]]))
    assert num_predicted(NextToken(), rows) == 5


# --- the machine


def test_peak_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_MEASURED", {})
    monkeypatch.setattr(peak, "SECONDS", 0.01)
    found = peak.peak_flops(torch.device("cpu"), torch.float32)
    assert 1e9 < found < 1e14
    assert peak.peak_flops(torch.device("cpu"), torch.float32) == found
    assert len(peak._MEASURED) == 1


@pytest.mark.parametrize(
    ("name", "bf16"),
    [("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA L40S", 362e12), ("NVIDIA L4", 121e12)],
)
def test_peaks_by_name(name: str, bf16: float) -> None:
    assert peak.by_name(name, torch.bfloat16) == bf16
    assert peak.by_name("a card that nobody knows", torch.bfloat16) is None
    assert peak.by_name(name, torch.float64) is None
