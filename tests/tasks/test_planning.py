"""Plans: exact where they must be, parts against the whole, and predicted memory against real runs."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from textmill.errors import ConfigError
from textmill.layers.experts_config import ExpertsConfig
from textmill.models.configs import (
    BertConfig,
    GPTConfig,
    LlamaConfig,
    LstmConfig,
    MixtralConfig,
    ModernBertConfig,
    NnlmConfig,
)
from textmill.objectives import NextToken
from textmill.tasks import planning
from textmill.tasks.planning import plan_of
from textmill.tasks.pretrain import Job, new_model
from textmill.training import planning as reckoning
from textmill.training.config import Machine, TrainingConfig
from textmill.training.flops import flops_per_token
from textmill.training.planning import random_ids
from textmill.training.rehearsal import Scene, rehearse
from textmill.training.trainer import Trainer

SIZES: dict[str, Any] = {"width": 16, "num_layers": 4, "num_heads": 2, "context_length": 32, "vocab_size": 50}
MODELS: dict[str, Any] = {
    "gpt": GPTConfig(**SIZES),
    "llama": LlamaConfig(**SIZES, qk_norm=True),
    "mixtral": MixtralConfig(**SIZES, experts=ExpertsConfig(num_experts=4)),
    "bert": BertConfig(**SIZES),
    "detector": BertConfig(**SIZES, heads="replaced_token"),
    "modern_bert": ModernBertConfig(**{**SIZES, "num_layers": 7}, window=8, global_every=3),
    "nnlm": NnlmConfig(width=8, hidden_width=16),
    "lstm": LstmConfig(width=16, num_layers=4),
}


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("textmill.training.peak.SECONDS", 0.01)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def job(model: Any, **training: Any) -> Job:
    values: dict[str, Any] = {"steps": 10, "batch_size": 8, "context_length": 32, "precision": "fp32"} | training
    return Job(model=model, initialisation=None, training=TrainingConfig(**values), machine=Machine(threads=1))


@pytest.mark.parametrize("name", MODELS)
def test_plans_of_all_architectures(name: str) -> None:
    plan = plan_of(job(MODELS[name]), vocab_size=50, num_tokens=512)
    real = new_model(dataclasses.replace(MODELS[name], vocab_size=50), 0)
    assert plan.parameters == real.num_parameters() == sum(plan.parameters_by_role.values())
    memory = plan.memory
    assert memory.tensors == memory.weights + memory.gradients + memory.optimizer + memory.activations
    assert memory.activations > 0
    assert memory.process is not None
    assert memory.process > memory.tensors
    assert (plan.tokens_per_step, plan.steps, plan.tokens, plan.epochs) == (256, 10, 2560, 5.0)
    assert plan.seconds == pytest.approx(10 * plan.seconds_per_step)
    assert plan.mfu == pytest.approx(plan.flops_per_step / plan.seconds_per_step / plan.peak_flops)
    assert plan.disk.shards == 1024
    if name in ("gpt", "llama", "mixtral"):
        assert plan.flops_per_token == pytest.approx(flops_per_token(real, 32))


@pytest.mark.parametrize(("name", "micro"), [*((name, None) for name in MODELS), ("llama", 16)])
def test_memory_from_parts_is_that_of_the_whole(name: str, micro: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textmill.training.rehearsal.LEAST_TOKENS", 64)
    # more rows than the chunk of logits holds, as in a real run
    monkeypatch.setattr("textmill.ops.cross_entropy.cpu.LEAST_CHUNK_ROWS", 8)
    monkeypatch.setattr("textmill.ops.cross_entropy.cpu.CHUNK_BYTES", 4096)
    wanted = job(MODELS[name], batch_size=32, micro_batch_size=micro)
    whole, parts = (plan_of(wanted, vocab_size=50, whole_seconds=seconds) for seconds in (1e9, 0.0))
    assert (whole.time_from, parts.time_from) == (
        "steps of the whole model", "steps of a part of the model, by operations",
    )  # fmt: skip
    assert parts.memory.tensors == pytest.approx(whole.memory.tensors, rel=0.05)
    assert parts.memory.optimizer == pytest.approx(whole.memory.optimizer, rel=1e-3)


@pytest.mark.parametrize("recompute", ["none", "block"])
def test_recompute_and_small_parts_save_memory(recompute: Any) -> None:
    model = GPTConfig(**{**SIZES, "width": 64})
    whole = plan_of(job(model, batch_size=32, recompute=recompute), vocab_size=50)
    parts = plan_of(job(model, batch_size=32, micro_batch_size=4, recompute=recompute), vocab_size=50)
    assert parts.memory.activations < 0.6 * whole.memory.activations
    if recompute == "block":
        kept = plan_of(job(model, batch_size=32), vocab_size=50)
        assert whole.memory.activations < 0.6 * kept.memory.activations


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd"])
def test_disk_is_what_a_run_leaves(tmp_path: Path, optimizer: Any) -> None:
    wanted = job(MODELS["llama"], optimizer=optimizer, keep=2, checkpoint_every=2)
    plan = plan_of(wanted, vocab_size=50)
    ids = random_ids(50, 8, 32)

    class Same:
        def batch(self, step: int) -> Any:
            return planning._rows(ids, 0.0)

    Trainer(new_model(MODELS["llama"], 0), NextToken(), Same(), wanted.training, out=tmp_path).run()
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in (tmp_path / "checkpoints").iterdir()]
    assert len(sizes) == 2
    # beside the tensors: names, and where the run stands
    assert all(0 <= size - plan.disk.checkpoint < 40_000 for size in sizes)
    assert plan.disk.checkpoints == 4 * plan.disk.checkpoint


def test_the_clock_ends_a_run() -> None:
    plan = plan_of(job(MODELS["gpt"], steps=None, minutes=2.0), vocab_size=50)
    assert (plan.steps, plan.seconds, plan.epochs) == (None, 120.0, None)
    assert plan.tokens == pytest.approx(120 * plan.tokens_per_second, rel=0.01)
    both = plan_of(job(MODELS["gpt"], steps=10, minutes=1e6), vocab_size=50)
    assert both.seconds == pytest.approx(10 * both.seconds_per_step)


def test_a_model_beyond_the_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reckoning, "_available_bytes", lambda device: 10_000)
    with pytest.raises(ConfigError, match=r"a plan rehearses steps with .* this machine has 0 GB.*smaller vocabulary"):
        plan_of(job(MODELS["gpt"]), vocab_size=50)


def test_a_plan_leaves_chance_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    plan_of(job(MODELS["gpt"]), vocab_size=50)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_rehearsal_is_the_trainers_step() -> None:
    """Its peak holds at least weights, gradients and state, and what a plain pass keeps for its gradient."""
    config = TrainingConfig(steps=1, batch_size=4, context_length=32, precision="fp32", optimizer="adamw")
    scene = Scene(
        model=lambda _: new_model(MODELS["gpt"], 0),
        batch=lambda rows: planning._rows(random_ids(50, rows, 32), 0.0),
        objective=NextToken(),
        config=config,
        device=torch.device("cpu"),
        evaluates=True,
    )
    found = rehearse(scene, None, 4, 4)
    parameters = new_model(MODELS["gpt"], 0).num_parameters()
    assert found.num_parameters == parameters
    # two moments of each weight, and a count of steps for each tensor
    assert 8 * parameters <= found.state <= 8 * parameters + 4 * 100
    assert found.phases["update"] >= 16 * parameters
    assert set(found.phases) == {"forward", "backward", "update", "evaluation"}


# --- against real runs

LARGE: dict[str, Any] = {"width": 256, "num_layers": 6, "num_heads": 4, "context_length": 128}
TRAINING: dict[str, Any] = {"batch_size": 16, "context_length": 128}
REAL = {
    "gpt": {"kind": "gpt", "model": LARGE, "training": TRAINING},
    "llama in parts": {"kind": "llama", "model": LARGE, "training": {**TRAINING, "micro_batch_size": 8}},
    "llama recomputed": {"kind": "llama", "model": LARGE, "training": {**TRAINING, "recompute": "block"}},
    "llama fp32, AdamW": {
        "kind": "llama", "model": LARGE, "training": {**TRAINING, "precision": "fp32", "optimizer": "adamw"}
    },
    "mixtral": {"kind": "mixtral", "model": LARGE, "training": TRAINING},
    "bert": {"kind": "bert", "model": LARGE, "training": TRAINING},
    "lstm": {"kind": "lstm", "model": {"width": 512, "num_layers": 3}, "training": TRAINING},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plan", "parts"])
@pytest.mark.parametrize("name", REAL)
def test_predicted_memory_is_within_a_tenth_of_a_real_run(name: str, how: str) -> None:
    def told(what: str) -> int:
        script = Path(__file__).with_name("planned_run.py")
        command = [sys.executable, str(script), what, json.dumps(REAL[name])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)

    predicted, real = told(how), told("run")
    print(f"{name}, {how}: predicted {predicted / 1e6:.0f} MB, real {real / 1e6:.0f} MB, {predicted / real:.3f}")
    assert predicted == pytest.approx(real, rel=0.1)
