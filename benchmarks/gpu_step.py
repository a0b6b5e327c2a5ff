"""Training steps on one CUDA device, by both sides' own trainers, in bf16: GPT-2 small and a Llama of 1.1 billion.

Both train the same weights on the same rows of random tokens by AdamW with clipped gradients, without dropout. A
measurement is a run of the trainer, of which the first steps, where something may be compiled, don't count.
"""

import contextlib
import gc
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, SkippedError, Worker

ABOUT = "training steps on one CUDA device against transformers' Trainer and the device's peak, bf16"
GOALS = (
    "GPT-2 small and a Llama of a billion weights, against Trainer: at least 1.6x",
    "the same, both compiled: at least 1.1x",
    "model FLOPs utilisation, compiled: at least 0.5",
)

SIZES: dict[str, dict[str, Any]] = {
    "GPT-2 small": {"kind": "gpt", "settings": {}, "batch_size": 64, "context_length": 1024},
    "Llama 1B": {
        "kind": "llama",
        # TinyLlama's: Zhang et al. 2024, arXiv:2401.02385, table 1
        "settings": {"width": 2048, "num_layers": 22, "num_heads": 32, "num_kv_heads": 4, "feed_forward_width": 5632},
        "batch_size": 16,
        "context_length": 2048,
    },
}
RATE = 1e-4
WARM_UP = 3
"""Steps of a run that don't count."""


def comparisons(options: Options) -> Iterator[Comparison]:
    import torch

    if not torch.cuda.is_available():
        raise SkippedError("there is no CUDA device")
    for name, size in SIZES.items():
        arguments = {**size, "device": "cuda", "steps": 2 if options.quick else 20}
        for compiled, least in ((False, 1.6), (True, 1.1)):
            with (
                Worker("benchmarks.gpu_step:ours", {**arguments, "compiled": compiled}) as ours,
                Worker("benchmarks.gpu_step:peer", {**arguments, "compiled": compiled}) as peer,
            ):
                yield Comparison(
                    name=f"{name}, a step" + (", both compiled" if compiled else ""),
                    goal=Goal(kind="times", value=least),
                    ours=Side(name="textmill", measure=ours.measure),
                    peer=Side(name="transformers' Trainer", measure=peer.measure),
                    check=partial(same_loss, ours.facts, peer.facts),
                    sizes=ours.facts["sizes"],
                )
        with Worker("benchmarks.gpu_step:ours", {**arguments, "compiled": True}) as ours:
            yield Comparison(
                name=f"{name}, model FLOPs utilisation",
                goal=Goal(kind="times", value=0.5),
                ours=Side(name="textmill, compiled", measure=ours.measure),
                peer=Side(name="the device at its peak", measure=partial(float, ours.facts["seconds_at_peak"])),
                sizes=ours.facts["sizes"],
            )


def same_loss(ours: dict[str, Any], peer: dict[str, Any]) -> None:
    """The same first loss, to bf16's precision: the same weights, and rows that differ in their order alone.

    Raises:
        RefusedError: it isn't.
    """
    if abs(ours["loss"] - peer["loss"]) > 0.01 * peer["loss"]:
        raise RefusedError(f"the first loss is {ours['loss']:.4f} by textmill and {peer['loss']:.4f} by transformers")


def ours(**arguments: Any) -> tuple[dict[str, Any], Callable[[], float]]:
    """The facts of our side, and the seconds of a step."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    import torch

    from textmill.training.flops import flops_per_token
    from textmill.training.peak import peak_flops

    # our trainer would go on without the compiler
    warnings.filterwarnings("error", message="torch.compile failed")
    model = _model(**arguments)
    rows, time_steps, device = arguments["batch_size"], arguments["context_length"], torch.device(arguments["device"])
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    facts = {
        "loss": _train(model, steps=1, **_without(arguments, "steps"))[0],
        "seconds_at_peak": rows * time_steps * flops_per_token(model, time_steps) / peak_flops(device, dtype),
        "sizes": {"parameters": model.num_parameters(), "batch_size": rows, "context_length": time_steps},
    }
    return facts, lambda: _train(model, **arguments)[1]


def _train(
    model: Any, *, batch_size: int, context_length: int, device: str, compiled: bool, steps: int, **_rest: Any
) -> tuple[float, float]:
    """The loss of the first step, and the seconds of a step after the warm-up, of a run of our trainer."""
    import numpy as np
    import torch

    from textmill.data.batches import Batch
    from textmill.objectives import NextToken
    from textmill.training.config import TrainingConfig
    from textmill.training.hooks import Hook, StepRecord
    from textmill.training.placement import OneDevice
    from textmill.training.trainer import Trainer

    tokens = _rows(model.config.vocab_size, batch_size, context_length)
    # the last token of a row has no target, as in transformers
    targets = np.concatenate((tokens[:, 1:], np.full((batch_size, 1), -100)), 1)
    clock = _Clock(steps)

    class Watch(Hook):
        def on_step(self, record: StepRecord) -> None:
            clock.tick(record.loss)

    class Same:
        def batch(self, step: int) -> Batch:  # noqa: ARG002
            return Batch(tokens=tokens, targets=targets)

    settings = TrainingConfig(
        steps=WARM_UP + steps + 1,
        batch_size=batch_size,
        context_length=context_length,
        optimizer="adamw",
        learning_rate=RATE,
        weight_decay=0.0,
        betas=(0.9, 0.999),
        warmup_steps=0,
        schedule="constant",
        precision="bf16" if device == "cuda" else "fp32",
        compile=compiled,
        checkpoint_seconds=None,
        evaluate_every=None,
    )
    placement = OneDevice(torch.device(device))
    with tempfile.TemporaryDirectory() as out:
        parts = model, NextToken(), Same(), settings
        trainer = Trainer(*parts, out=Path(out), hooks=[Watch()], placement=placement)
        # it ends before the checkpoint that ends a run
        with contextlib.suppress(_EnoughError):
            trainer.run()
    del trainer
    _free(device)
    return clock.loss, clock.seconds


def peer(**arguments: Any) -> tuple[dict[str, Any], Callable[[], float]]:
    """The facts of transformers' side, and the seconds of a step."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    from transformers import AutoConfig, AutoModelForCausalLM

    twin = _model(**arguments)
    foreign = twin.config.to_foreign()
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(foreign.pop("model_type"), **foreign))
    unexpected = model.load_state_dict(twin.to_foreign(), strict=False).unexpected_keys
    assert not unexpected, unexpected
    model.tie_weights()
    del twin
    facts = {"loss": _train_peer(model, steps=1, **_without(arguments, "steps"))[0]}
    return facts, lambda: _train_peer(model, **arguments)[1]


def _train_peer(
    model: Any, *, batch_size: int, context_length: int, device: str, compiled: bool, steps: int, **_rest: Any
) -> tuple[float, float]:
    """The same, of a run of transformers' Trainer."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    tokens = torch.from_numpy(_rows(model.config.vocab_size, batch_size, context_length))
    clock = _Clock(steps)
    # transformers divides by the labels that count, the first one too, though nothing predicts it
    labels = tokens.index_fill(1, torch.tensor([0]), -100)
    rows = [{"input_ids": row, "labels": label} for row, label in zip(tokens, labels, strict=True)]

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_more: Any) -> None:  # noqa: ARG002
            clock.tick()

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out,
            max_steps=WARM_UP + steps + 1,
            per_device_train_batch_size=batch_size,
            learning_rate=RATE,
            weight_decay=0.0,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            max_grad_norm=1.0,
            bf16=device == "cuda",
            use_cpu=device == "cpu",
            torch_compile=compiled,
            logging_strategy="no",
            logging_first_step=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=device == "cuda",
            remove_unused_columns=False,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=rows * (WARM_UP + steps + 1), callbacks=[Watch()])
        with contextlib.suppress(_EnoughError):
            trainer.train()
        loss = next(float(line["loss"]) for line in trainer.state.log_history if "loss" in line)
    del trainer
    _free(device)
    return loss, clock.seconds


class _EnoughError(Exception):
    """All steps that count are done."""


class _Clock:
    """Counts the steps of a run, and ends it."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done = steps, 0
        self.loss = self.seconds = self.begun = 0.0

    def tick(self, loss: float = 0.0) -> None:
        """A step is done."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if self.done == 0:
            self.loss = loss
        self.done += 1
        if self.done == WARM_UP:
            self.begun = time.perf_counter()
        if self.done == WARM_UP + self.steps:
            self.seconds = (time.perf_counter() - self.begun) / self.steps
            raise _EnoughError


def _model(*, kind: str, settings: dict[str, Any], context_length: int, **_rest: Any) -> Any:
    """The model of ours, with the weights of seed 0."""
    from textmill.models import GPT, GPTConfig, Llama, LlamaConfig

    if kind == "gpt":
        return GPT(GPTConfig(context_length=context_length, **settings), seed=0)
    return Llama(LlamaConfig(context_length=context_length, **settings), seed=0)


def _rows(vocabulary: int, batch_size: int, context_length: int) -> Any:
    """int64 [batch_size, context_length]: random tokens, the same in both processes."""
    import numpy as np

    return np.random.default_rng(0).integers(vocabulary, size=(batch_size, context_length))


def _without(arguments: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if key != name}


def _free(device: str) -> None:
    """Gives the memory of a run back, which the other process may need."""
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()
