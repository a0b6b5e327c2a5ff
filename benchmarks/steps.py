"""What benchmarks of a training step share: our step, and the check that both sides learn the same."""

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import RefusedError, Worker

RATE = 1e-3
BETAS = (0.9, 0.999)
"""Of AdamW on both sides: what transformers' Trainer and torch take by default."""


def our_step(model: Any, objective: Any, batches: Iterator[Any], precision: str) -> tuple[Callable[[], float], str]:
    """One update as `Trainer` makes it (forward, backward, clip, AdamW), which returns its loss; and its precision."""
    import torch

    from textmill.training.config import TrainingConfig
    from textmill.training.cpu import tune
    from textmill.training.groups import roles
    from textmill.training.optimizers import Optimizers
    from textmill.training.precision import Weights, chosen_dtype

    tune()
    dtype = chosen_dtype(precision, torch.device("cpu"))
    weights = Weights(model, dtype)
    settings = TrainingConfig(optimizer="adamw", learning_rate=RATE, weight_decay=0.0, betas=BETAS)
    optimizers = Optimizers(weights.trained, roles(model), settings)

    def step() -> float:
        batch = next(batches)
        loss = objective(model, batch)["loss"] / objective.counts(batch)["loss"]
        loss.backward()
        weights.collect_gradients()
        torch.nn.utils.clip_grad_norm_(list(weights.trained.values()), 1.0)
        optimizers.step(1.0)
        weights.publish()
        weights.drop_gradients()
        return float(loss.detach())

    return step, "bf16" if dtype == torch.bfloat16 else "fp32"


def check_losses(ours: Worker, peer: Worker, tolerance: float) -> None:
    """The fact "losses" of both, step by step, to a part of the peer's.

    Raises:
        RefusedError: they differ by more.
    """
    pairs = zip(ours.facts["losses"], peer.facts["losses"], strict=True)
    for step, (mine, other) in enumerate(pairs):
        if abs(mine - other) > tolerance * other:
            raise RefusedError(f"the loss at step {step} is {mine:.5f} by textmill and {other:.5f} by the peer")
