"""One training step of the quickstart's model: forward, backward, clip, AdamW. Each side in a process of its own.

The optimiser is AdamW on both sides, so that both do the same sums. The peer is transformers' own class of the same
architecture with the same weights, in the plain loop that its Trainer runs.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks import models
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, Worker, in_child, timed

ABOUT = "a training step of the quickstart's model against transformers; time and peak memory above the model"
GOALS = (
    "transformers' default (fp32): at least 1.7x",
    "transformers at the same precision (bf16 autocast): at least 1.0x",
    "peak memory above the model, same precision: at most 0.6x",
)

RATE = 1e-3
STEPS_FOR_MEMORY = 3


def comparisons(options: Options) -> Iterator[Comparison]:
    arguments = _sizes(options)
    for peer_precision, least in (("fp32", 1.7), ("bf16", 1.0)):
        with (
            Worker("benchmarks.train_step:ours", {**arguments, "precision": "auto"}) as ours,
            Worker("benchmarks.train_step:peer", {**arguments, "precision": peer_precision}) as peer,
        ):
            yield Comparison(
                name=f"training step against transformers {peer_precision}",
                goal=Goal(kind="times", value=least),
                ours=Side(name=f"textmill {ours.facts['precision']}", measure=ours.measure),
                peer=Side(name=f"transformers {peer_precision}", measure=peer.measure),
                check=partial(_check, ours, peer),
                sizes={**ours.facts["sizes"]},
                warm_up=3,
            )
    yield Comparison(
        name="peak memory of a training step above the model",
        goal=Goal(kind="share", value=0.6),
        ours=Side(name="textmill", measure=partial(_memory, "ours", {**arguments, "precision": "auto"})),
        peer=Side(name="transformers bf16", measure=partial(_memory, "peer", {**arguments, "precision": "bf16"})),
        unit="MB",
        sizes={key: arguments[key] for key in ("batch_size", "context_length")},
        warm_up=0,
    )


def _sizes(options: Options) -> dict[str, Any]:
    training = models.quickstart().training
    batch_size = training.micro_batch_size or training.batch_size
    return {
        "folder": str(models.folder()),
        "shards": str(models.shards()),
        "batch_size": 2 if options.quick else batch_size,
        "context_length": training.context_length,
    }


def _check(ours: Worker, peer: Worker) -> None:
    """The same loss before training, and after the three steps that both made: to bf16's precision."""
    for when in ("loss_before", "loss_after"):
        mine, other = ours.facts[when], peer.facts[when]
        if abs(mine - other) > 0.02 * other:
            raise RefusedError(f"{when} is {mine:.4f} by textmill and {other:.4f} by transformers")


def _memory(side: str, arguments: dict[str, Any]) -> float:
    return in_child("benchmarks.train_step:memory", {"side": side, "arguments": arguments})["above_model_bytes"] / 1e6


def memory(side: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Peak resident memory of a few steps, above what was resident with the model built and data opened."""
    from benchmarks.child import forget_peak, peak_bytes, resident_bytes

    step, _ = {"ours": _ours, "peer": _peer}[side](**arguments)
    forget_peak()
    before = resident_bytes()
    for _ in range(STEPS_FOR_MEMORY):
        step()
    return {"above_model_bytes": peak_bytes() - before}


def ours(**arguments: Any) -> tuple[dict[str, Any], Callable[[], float]]:
    return _served(*_ours(**arguments))


def peer(**arguments: Any) -> tuple[dict[str, Any], Callable[[], float]]:
    return _served(*_peer(**arguments))


def _served(step: Callable[[], float], facts: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], float]]:
    losses = [step() for _ in range(4)]
    return {**facts, "loss_before": losses[0], "loss_after": losses[3]}, timed(step)


def _ours(
    folder: str, shards: str, batch_size: int, context_length: int, precision: str
) -> tuple[Callable[[], float], dict[str, Any]]:
    import torch

    import textmill
    from textmill.objectives import NextToken
    from textmill.training.config import TrainingConfig
    from textmill.training.cpu import tune
    from textmill.training.optimizers import Optimizers, roles
    from textmill.training.precision import Weights, chosen_dtype

    tune()
    batch = _batch(shards, batch_size, context_length)
    model = textmill.load(folder).model.train()
    dtype = chosen_dtype(precision, torch.device("cpu"))
    weights = Weights(model, dtype)
    settings = TrainingConfig(optimizer="adamw", learning_rate=RATE, weight_decay=0.0, betas=(0.9, 0.999))
    optimizers = Optimizers(weights.trained, roles(model), settings)
    objective = NextToken()
    count = objective.counts(batch)["loss"]

    def step() -> float:
        loss = objective(model, batch)["loss"] / count
        loss.backward()
        weights.collect_gradients()
        torch.nn.utils.clip_grad_norm_(list(weights.trained.values()), 1.0)
        optimizers.step(1.0)
        weights.publish()
        weights.drop_gradients()
        return float(loss.detach())

    name = "bf16" if dtype == torch.bfloat16 else "fp32"
    parameters = sum(weight.numel() for weight in model.parameters())
    sizes = {"parameters": parameters, "batch_size": batch_size, "context_length": context_length}
    return step, {"precision": name, "sizes": sizes}


def _peer(
    folder: str, shards: str, batch_size: int, context_length: int, precision: str
) -> tuple[Callable[[], float], dict[str, Any]]:
    import torch
    from transformers import AutoModelForCausalLM

    batch = _batch(shards, batch_size, context_length)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
    tokens, targets = torch.as_tensor(batch.tokens), torch.as_tensor(batch.targets)

    def step() -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            # targets are shifted already, as Trainer's collator may do it too
            loss = model(input_ids=tokens, labels=tokens, shift_labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step, {}


def _batch(shards: str, batch_size: int, context_length: int) -> Any:
    from textmill.data.batches import PackedBatches
    from textmill.data.shards import TokenShards

    opened = TokenShards.open(shards, split="train")
    return PackedBatches(opened, batch_size=batch_size, context_length=context_length, seed=0).batch(0)
