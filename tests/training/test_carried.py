"""A run whose memory goes from batch to batch, cut in the middle of an epoch, goes on to the bit."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from textmill.data.shards import TokenShards
from textmill.data.streams import StreamBatches, evaluation_stream
from textmill.data.writer import writing_shards
from textmill.models import (
    Gru,
    GruConfig,
    Lstm,
    LstmConfig,
    Nnlm,
    NnlmConfig,
    Rnn,
    RnnConfig,
    TransformerXl,
    TransformerXlConfig,
)
from textmill.models.carrying import CarryingModel
from textmill.objectives.carried import CarriedNextToken
from textmill.training.config import TrainingConfig
from textmill.training.evaluation import HeldOut
from textmill.training.hooks import Hook, StepRecord
from textmill.training.trainer import Trainer

DROPOUTS = {"embedding_dropout": 0.1, "input_dropout": 0.1, "layer_dropout": 0.1, "output_dropout": 0.1}
XL: Any = {"vocab_size": 20, "width": 8, "num_layers": 2, "num_heads": 2, "memory_length": 7, "dropout": 0.1}
MODELS = {
    "lstm": lambda: Lstm(LstmConfig(vocab_size=20, width=8, weight_drop=0.2, **DROPOUTS), seed=3),
    "gru": lambda: Gru(GruConfig(vocab_size=20, width=8), seed=3),
    "rnn": lambda: Rnn(RnnConfig(vocab_size=20, width=8), seed=3),
    "transformer-xl": lambda: TransformerXl(TransformerXlConfig(**XL), seed=3),
    "nnlm": lambda: Nnlm(NnlmConfig(vocab_size=20, width=4, hidden_width=6, order=4, dropout=0.1), seed=3),
}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """More threads than tiny tensors need only wait for one another; and bf16 everywhere."""
    monkeypatch.setattr("textmill.training.precision.has_fast_bf16", lambda device: True)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    folder = tmp_path_factory.mktemp("shards") / "s"
    with writing_shards(folder, tokenizer_fingerprint="x", vocab_size=20, end_of_text_id=None) as writer:
        writer.add(np.random.default_rng(0).integers(0, 20, 170), split="train")
    return TokenShards.open(folder)


class CutError(Exception):
    """Ends a run in the middle."""


class Scissors(Hook):
    def on_step(self, record: StepRecord) -> None:
        if record.step == 9:
            raise CutError


def settings(**changes: Any) -> TrainingConfig:
    values = {"steps": 12, "batch_size": 5, "context_length": 5, "warmup_steps": 2, "checkpoint_every": 4}
    return TrainingConfig(**{**values, "optimizer": "adamw", "precision": "fp32", **changes})


def trainer(out: Path, shards: TokenShards, config: TrainingConfig, model: CarryingModel, **arguments: Any) -> Trainer:
    batches = StreamBatches(shards, batch_size=5, context_length=5, seed=1)
    # a run crosses an epoch's end, and is cut between two of an epoch's batches
    assert batches.batches_per_epoch == 7
    objective = arguments.pop("objective", None) or CarriedNextToken()
    return Trainer(model, objective, batches, config, out=out, **arguments)


def assert_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("precision", "rows"), [("fp32", None), ("fp32", 2), ("bf16", 3)])
def test_goes_on_to_the_bit(name: str, precision: str, rows: int | None, shards: TokenShards, tmp_path: Path) -> None:
    config = settings(precision=precision, micro_batch_size=rows)
    whole, cut, rest = (MODELS[name]() for _ in range(3))
    trainer(tmp_path / "whole", shards, config, whole).run()
    with pytest.raises(CutError):
        trainer(tmp_path / "cut", shards, config, cut, hooks=[Scissors()]).run()
    assert (tmp_path / "cut" / "checkpoints" / "step-00000008" / "objective.safetensors").is_file()
    trainer(tmp_path / "cut", shards, config, rest).run()
    assert_same(whole.state_dict(), rest.state_dict())


def test_without_its_memory_the_run_would_end_elsewhere(shards: TokenShards, tmp_path: Path) -> None:
    """What is in the file counts."""
    ends = []
    for zeroed in (False, True):
        model, objective = MODELS["gru"](), CarriedNextToken()
        with pytest.raises(CutError):
            trainer(tmp_path / str(zeroed), shards, settings(), model, hooks=[Scissors()]).run()
        rest = MODELS["gru"]()
        if zeroed:
            load = objective.load_state
            objective.load_state = lambda state, load=load: load({k: v * 0 for k, v in state.items()})  # type: ignore[method-assign]
        trainer(tmp_path / str(zeroed), shards, settings(), rest, objective=objective).run()
        ends.append(rest.embedding.weight.detach().clone())
    assert not torch.equal(*ends)


def test_measuring_on_the_way_changes_nothing(shards: TokenShards, tmp_path: Path) -> None:
    """Though the objective is the very same."""
    plain, measured = MODELS["lstm"](), MODELS["lstm"]()
    trainer(tmp_path / "plain", shards, settings(), plain).run()
    objective = CarriedNextToken()
    held_out = HeldOut(objective=objective, batches=lambda: evaluation_stream(shards, 2, 9))
    config = settings(evaluate_every=1)
    result = trainer(tmp_path / "m", shards, config, measured, objective=objective, evaluate=held_out).run()
    assert result.metrics["tokens"] == 170
    assert_same(plain.state_dict(), measured.state_dict())


def test_accumulation_equals_one_big_batch(shards: TokenShards, tmp_path: Path) -> None:
    whole, parts = MODELS["gru"](), MODELS["gru"]()
    trainer(tmp_path / "whole", shards, settings(learning_rate=1e-3), whole).run()
    trainer(tmp_path / "parts", shards, settings(learning_rate=1e-3, micro_batch_size=2), parts).run()
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], weight, rtol=2e-5, atol=2e-5)


def test_a_torn_memory_is_passed_over(shards: TokenShards, tmp_path: Path) -> None:
    model = MODELS["rnn"]()
    trainer(tmp_path, shards, settings(keep=2), model).run()
    (tmp_path / "checkpoints" / "step-00000012" / "objective.safetensors").write_bytes(b"torn")
    again = MODELS["rnn"]()
    with pytest.warns(UserWarning, match=r"passing over a damaged checkpoint: .*objective\.safetensors"):
        trainer(tmp_path, shards, settings(keep=2), again).run()
    assert_same(model.state_dict(), again.state_dict())


@pytest.mark.parametrize("name", MODELS)
def test_learns(name: str, tmp_path: Path) -> None:
    """A text in which each id says the next."""
    folder = tmp_path / "s"
    with writing_shards(folder, tokenizer_fingerprint="x", vocab_size=20, end_of_text_id=None) as writer:
        writer.add(np.arange(400) * 7 % 19, split="train")
    shards = TokenShards.open(folder)
    config = settings(steps=120, learning_rate=0.02, checkpoint_every=None)
    batches = StreamBatches(shards, batch_size=5, context_length=5, seed=1)
    held_out = HeldOut(objective=CarriedNextToken(), batches=lambda: evaluation_stream(shards, 4, 10))
    model = MODELS[name]()
    before = held_out(model)["loss"]
    assert before == pytest.approx(np.log(20), rel=0.05)
    result = Trainer(model, CarriedNextToken(), batches, config, out=tmp_path, evaluate=held_out).run()
    assert result.metrics["loss"] < 0.5 * before
