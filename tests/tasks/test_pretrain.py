"""Shards and a tokenizer in, a model folder out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from textmill.data.build import build_shards
from textmill.data.spec import ShardSpec
from textmill.errors import ConfigError, DataError
from textmill.folder import load
from textmill.models import GPTConfig, LlamaConfig
from textmill.tasks.pretrain import Job, new_model, pretrain
from textmill.tokenizers import Tokenizer
from textmill.training.config import Machine, TrainingConfig

TEXTS = [f"paragraph {number}: the list of items that number {number} returns".encode() for number in range(30)]
SIZES = {"context_length": 16, "width": 16, "num_layers": 1, "num_heads": 2}
TRAINING = TrainingConfig(steps=3, batch_size=2, context_length=16, warmup_steps=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer and shards."""
    folder = tmp_path_factory.mktemp("made")
    tokenizer = Tokenizer.train(TEXTS, vocab_size=280)
    tokenizer.save(folder / "tokenizer")
    build_shards(TEXTS, tokenizer, folder / "shards", ShardSpec(validation_fraction=0.2))
    return folder


def trained(
    made: Path,
    out: Path,
    *,
    model: GPTConfig | None = None,
    training: TrainingConfig = TRAINING,
    shards: Path | None = None,
    tokenizer: Path | None = None,
) -> Any:
    job = Job(model=model or GPTConfig(**SIZES), initialisation=None, training=training, machine=Machine(), quiet=True)
    return pretrain(
        job,
        shards=shards or made / "shards",
        tokenizer=tokenizer or made / "tokenizer",
        work=out / "training",
        out=out / "model",
    )


def test_the_folder_and_the_figures(made: Path, tmp_path: Path) -> None:
    facts = trained(made, tmp_path)
    folder = load(tmp_path / "model")
    assert folder.config.vocab_size == 280
    assert facts["parameters"] == folder.model.num_parameters()
    assert (facts["steps"], facts["tokens"]) == (3, 3 * 2 * 16)
    assert facts["held_out"]["loss"] > 0
    assert folder.run["task"] == "pretrain"
    assert folder.run["tokenizer"] == folder.tokenizer.fingerprint()
    json.dumps(facts)


def test_a_finished_training_gives_the_same_folder_again(made: Path, tmp_path: Path) -> None:
    first = trained(made, tmp_path)
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    again = trained(made, tmp_path)
    timed = ("told", "training_seconds", "tokens_per_second")
    assert all(again[name] == first[name] for name in first if name not in timed)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_nothing_held_out_is_no_obstacle(made: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(made / "tokenizer")
    build_shards(TEXTS, tokenizer, tmp_path / "shards", ShardSpec(validation_fraction=0.0))
    assert trained(made, tmp_path, shards=tmp_path / "shards")["held_out"] == {}


def test_what_does_not_fit_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training.context_length is 16, the model's context only 8 tokens"):
        trained(made, tmp_path, model=GPTConfig(**{**SIZES, "context_length": 8}))
    Tokenizer.train(["other words"], vocab_size=260).save(tmp_path / "other")
    with pytest.raises(DataError, match="made with another tokenizer"):
        trained(made, tmp_path, tokenizer=tmp_path / "other")
    long = GPTConfig(**{**SIZES, "context_length": 4096})
    with pytest.raises(DataError, match="fewer than one sequence of 4097"):
        trained(made, tmp_path, model=long, training=TrainingConfig(steps=1, batch_size=1, context_length=4096))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("kind", [GPTConfig, LlamaConfig])
def test_new_models_are_drawn_from_their_seed(kind: Any) -> None:
    config = kind(**SIZES, vocab_size=50)
    first, same, other = (new_model(config, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
