"""One training step of a GPT-2: what lies between two updates of the weights. Each side in a process of its own.

6 layers of 384 numbers and 6 heads, 256 tokens of context, 16,384 of vocabulary, embedding and output matrix in one,
batches of 4 sequences. Ours is textmill's `Trainer`, the peer transformers' `Trainer` on its own GPT-2, timed by its
callbacks; and a bare loop over our own model under autocast, which gets our settings of the allocator. All train by
AdamW from the same weights on the same batches.
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.harness import Comparison, Goal, Options, Side, Worker, in_child
from benchmarks.steps import BETAS, RATE, check_losses

ABOUT = (
    "a training step of a GPT-2 against transformers' Trainer and a bare loop; time, and peak memory above the model"
)
GOALS = (
    "transformers' Trainer at its default (fp32, dropout 0.1): at least 1.9x",
    "transformers' Trainer in bf16, no dropout: at least 1.25x",
    "a bare loop over our own model in bf16: at least 1.05x",
    "peak memory above the model, transformers' Trainer in fp32 and in bf16: at most 0.4x",
    "the same above the model, its gradients and AdamW's state, which both sides have: at most 0.4x",
)

VOCABULARY = 16_384
CONTEXT_LENGTH = 256
STEPS = 6
"""Of one measurement, which is the mean time from one step's end to the next."""
STEPS_FOR_MEMORY = 3
ABOVE = {"the model": 0, "the model, its gradients and AdamW's state": 12}
"""What memory is counted above, and the bytes of each parameter that are taken off for it: on both sides and in any
precision an fp32 gradient, and AdamW's two fp32 means."""

Timed = tuple[list[float], list[float]]
"""Of a run: when each step ended, and the losses."""


def comparisons(options: Options) -> Iterator[Comparison]:
    folder = _prepared(500_000 if options.quick else 4_000_000)
    arguments: dict[str, Any] = {"folder": str(folder), "batch_size": 2 if options.quick else 4}
    sizes = {"batch_size": arguments["batch_size"], "context_length": CONTEXT_LENGTH, "vocabulary": VOCABULARY}
    for name, least, other in (
        ("transformers' Trainer, fp32, dropout 0.1", 1.9, {"loop": "trainer", "precision": "fp32", "dropout": 0.1}),
        ("transformers' Trainer, bf16, no dropout", 1.25, {"loop": "trainer", "precision": "bf16", "dropout": 0.0}),
        ("a bare loop, bf16, no dropout", 1.05, {"loop": "bare", "precision": "bf16", "dropout": 0.0}),
    ):
        with (
            Worker("benchmarks.gpt_step:ours", arguments) as ours,
            Worker("benchmarks.gpt_step:peer", {**arguments, **other}) as peer,
        ):
            yield Comparison(
                name=f"GPT training step against {name}",
                goal=Goal(kind="times", value=least),
                ours=Side(name=f"textmill {ours.facts['precision']}, no dropout", measure=ours.measure),
                peer=Side(name=name.partition(",")[0], measure=peer.measure),
                check=partial(_check, {**arguments, **other}, ours),
                sizes=sizes,
            )
    for precision, (name, state_bytes) in itertools.product(("fp32", "bf16"), ABOVE.items()):
        theirs = {**arguments, "loop": "trainer", "precision": precision, "dropout": 0.0}
        yield Comparison(
            name=f"peak memory of a GPT training step above {name}, against {precision}",
            goal=Goal(kind="share", value=0.4),
            ours=Side(name="textmill", measure=partial(_memory, "ours", arguments, state_bytes)),
            peer=Side(
                name=f"transformers' Trainer, {precision}", measure=partial(_memory, "peer", theirs, state_bytes)
            ),
            unit="MB",
            sizes=sizes,
            warm_up=0,
            rounds=2 if options.quick else 3,
        )


def _check(arguments: dict[str, Any], ours: Worker) -> None:
    """Without dropout, the losses of the first steps are equal to bf16's precision."""
    with Worker("benchmarks.gpt_step:peer", {**arguments, "dropout": 0.0}) as peer:
        check_losses(ours, peer, tolerance=0.01)


def ours(folder: str, batch_size: int) -> tuple[dict[str, Any], Callable[[], float]]:
    import torch

    from textmill.training.precision import chosen_dtype

    name = "bf16" if chosen_dtype("auto", torch.device("cpu")) == torch.bfloat16 else "fp32"
    return _served(_ours(folder, batch_size)[1], {"precision": name})


def peer(**arguments: Any) -> tuple[dict[str, Any], Callable[[], float]]:
    return _served(_peer(**arguments)[1], {})


def _served(run: Callable[[int], Timed], facts: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], float]]:
    _, losses = run(STEPS)

    def measure() -> float:
        ends, _ = run(STEPS)
        return (ends[-1] - ends[0]) / (STEPS - 1)

    return {**facts, "losses": losses}, measure


def _memory(side: str, arguments: dict[str, Any], state_bytes: int) -> float:
    """Megabytes above what was resident with the model built, less `state_bytes` for each of its parameters."""
    found = in_child("benchmarks.gpt_step:memory", {"side": side, "arguments": arguments})
    return (found["above_model_bytes"] - state_bytes * found["parameters"]) / 1e6


def memory(side: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Peak resident memory of a few steps, above what was resident with the model built and data opened."""
    from benchmarks.child import forget_peak, peak_bytes, resident_bytes

    make = _ours if side == "ours" else _peer
    # what libraries and compiled kernels take is none of a model's: a tiny one loads them
    make(**{**arguments, "folder": arguments["folder"] + "/tiny"})[1](1)
    model, run = make(**arguments)
    # in memory, not in a file that is mapped
    for weight in model.parameters():
        weight.data = weight.data.clone()
    forget_peak()
    before = resident_bytes()
    run(STEPS_FOR_MEMORY)
    parameters = sum(weight.numel() for weight in model.parameters())
    return {"above_model_bytes": peak_bytes() - before, "parameters": parameters}


def _ours(folder: str, batch_size: int) -> tuple[Any, Callable[[int], Timed]]:
    import textmill
    from textmill.objectives import NextToken
    from textmill.training.config import TrainingConfig
    from textmill.training.cpu import tune
    from textmill.training.hooks import Hook, StepRecord
    from textmill.training.trainer import Trainer

    class Watch(Hook):
        def __init__(self) -> None:
            self.ends: list[float] = []
            self.losses: list[float] = []

        def on_step(self, record: StepRecord) -> None:
            self.ends.append(time.perf_counter())
            self.losses.append(record.loss)

    tune()
    model = textmill.load(folder + "/model").model
    batches = _batches(folder, batch_size)

    def run(steps: int) -> Timed:
        watch = Watch()
        settings = TrainingConfig(
            steps=steps,
            batch_size=batch_size,
            context_length=CONTEXT_LENGTH,
            optimizer="adamw",
            learning_rate=RATE,
            weight_decay=0.0,
            betas=BETAS,
            schedule="linear",
            warmup_steps=0,
            final_fraction=0.0,
            evaluate_every=None,
            checkpoint_seconds=None,
        )
        with tempfile.TemporaryDirectory() as out:
            Trainer(model, NextToken(), batches, settings, out=Path(out), hooks=[watch]).run()
        return watch.ends, watch.losses

    return model, run


def _peer(
    folder: str, batch_size: int, loop: str, precision: str, dropout: float
) -> tuple[Any, Callable[[int], Timed]]:
    if loop == "bare":
        return _bare_loop(folder, batch_size)
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    probabilities = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
    model = AutoModelForCausalLM.from_pretrained(folder + "/model", dtype=torch.float32, **probabilities)
    rows = []
    for batch in itertools.islice(_batches(folder, batch_size), STEPS):
        tokens, targets = torch.as_tensor(batch.tokens), torch.as_tensor(batch.targets)
        # targets are shifted already; the model passes over the labels, which the trainer counts
        rows += [{"input_ids": a, "labels": a, "shift_labels": b} for a, b in zip(tokens, targets, strict=True)]
    watch = Watch()

    def run(steps: int) -> Timed:
        watch.ends.clear()
        with tempfile.TemporaryDirectory() as out:
            arguments = TrainingArguments(
                output_dir=out,
                max_steps=steps,
                per_device_train_batch_size=batch_size,
                learning_rate=RATE,
                bf16=precision == "bf16",
                use_cpu=True,
                # our batches come in an order already
                train_sampling_strategy="sequential",
                remove_unused_columns=False,
                logging_steps=1,
                save_strategy="no",
                disable_tqdm=True,
            )
            trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[watch])
            trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return list(watch.ends), [float(loss) for loss in losses]

    return model, run


def _bare_loop(folder: str, batch_size: int) -> tuple[Any, Callable[[int], Timed]]:
    """torch's autocast, all logits at once, over textmill's own model."""
    import torch
    from torch.nn.functional import cross_entropy

    import textmill
    from textmill.training.cpu import tune

    tune()
    model = textmill.load(folder + "/model").model.train()
    batches = list(itertools.islice(_batches(folder, batch_size), STEPS))

    def run(steps: int) -> Timed:
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=BETAS, weight_decay=0.0, fused=True)
        ends, losses = [], []
        for step, batch in enumerate(batches[:steps]):
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 - step / steps)
            tokens, targets = torch.as_tensor(batch.tokens), torch.as_tensor(batch.targets)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
            ends.append(time.perf_counter())
        return ends, losses

    return model, run


def _batches(folder: str, batch_size: int) -> Any:
    from textmill.data.batches import PackedBatches
    from textmill.data.shards import TokenShards

    opened = TokenShards.open(folder + "/shards", split="train")
    return PackedBatches(opened, batch_size=batch_size, context_length=CONTEXT_LENGTH, seed=0)


def _prepared(most_bytes: int) -> Path:
    """A folder with a tokenizer, a model that knows nothing yet, and English text as shards."""
    settings = {"bytes": most_bytes, "vocabulary": VOCABULARY, "context_length": CONTEXT_LENGTH, "form": 2}
    return models.kept("gpt-step", settings, partial(_make, most_bytes))


def _make(most_bytes: int, folder: Path) -> None:
    _make_one(folder, most_bytes, VOCABULARY, width=384, num_layers=6, num_heads=6)
    _make_one(folder / "tiny", 50_000, 300, width=8, num_layers=1, num_heads=1)


def _make_one(folder: Path, most_bytes: int, vocabulary: int, **sizes: int) -> None:
    from textmill.data.build import build_shards
    from textmill.data.spec import ShardSpec
    from textmill.folder import save_folder
    from textmill.models import GPT, GPTConfig

    tokenizer, text = models.english_tokenizer(most_bytes, "bpe", vocabulary)
    build_shards([text], tokenizer, folder / "shards", ShardSpec(validation_fraction=0))
    config = GPTConfig(vocab_size=tokenizer.vocab_size, context_length=CONTEXT_LENGTH, **sizes)
    save_folder(folder / "model", model=GPT(config, seed=0), tokenizer=tokenizer)
