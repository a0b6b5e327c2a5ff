"""Held-out loss at equal wall time: the quickstart against transformers' GPT-2 trained as nanoGPT does.

The peer has as many layers, heads and channels, the same tokenizer, text, context and batch, AdamW with betas 0.9 and
0.99 and weight decay 0.1 on matrices, warm-up and a cosine to a tenth of the rate over its whole time, gradients
clipped to 1, no dropout, bf16. Its rate is the best of four, chosen by its own held-out loss. Ours gets half its time.
Both are measured on all held-out tokens by the same windows; a round is a seed.
"""

import dataclasses
import itertools
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.harness import Comparison, Goal, Options, Side, in_child

ABOUT = "held-out bits per byte of the quickstart in half the time of a GPT-2 trained as nanoGPT does; --minutes 5"
GOALS = ("the peer's final loss, or less, in half its time: at most 1x its bits per byte",)

RATES = (6e-4, 1.2e-3, 2.5e-3, 5e-3)
SEEDS = 3
SHARE_OF_TIME = 0.5
PEER_MINUTES = 5.0
WARMUP_STEPS = 100
EVALUATION_BATCH = 16


def comparisons(options: Options) -> Iterator[Comparison]:
    minutes = options.minutes or (0.05 if options.quick else PEER_MINUTES)
    rates = RATES[1:2] if options.quick else RATES
    models.folder()
    tried = {rate: _peer_loss(minutes, rate, seed=0) for rate in rates}
    best = min(tried, key=lambda rate: tried[rate])
    our_seeds, peer_seeds = itertools.count(), itertools.count()

    def theirs() -> float:
        seed = next(peer_seeds)
        return tried[best] if seed == 0 else _peer_loss(minutes, best, seed)

    yield Comparison(
        name=f"held-out loss, ours in {minutes * SHARE_OF_TIME:g} min, the peer's in {minutes:g} min",
        goal=Goal(kind="share", value=1.0),
        ours=Side(name="textmill quickstart", measure=lambda: _our_loss(minutes * SHARE_OF_TIME, next(our_seeds))),
        peer=Side(name=f"transformers GPT-2, rate {best:g}", measure=theirs),
        unit="bits per byte",
        sizes={"rates tried": " ".join(f"{rate:g}: {loss:.3f}" for rate, loss in tried.items())},
        warm_up=0,
        rounds=2 if options.quick else SEEDS,
    )


def _our_loss(minutes: float, seed: int) -> float:
    return float(in_child("benchmarks.time_to_loss:ours", {"minutes": minutes, "seed": seed})["bits_per_byte"])


def _peer_loss(minutes: float, rate: float, seed: int) -> float:
    arguments = {"minutes": minutes, "rate": rate, "seed": seed}
    return float(in_child("benchmarks.time_to_loss:peer", arguments)["bits_per_byte"])


def ours(minutes: float, seed: int) -> dict[str, Any]:
    """Trains the quickstart's model by the quickstart's settings, but by the clock."""
    import textmill
    from textmill.objectives import NextToken
    from textmill.tasks.pretrain import Job, pretrain

    settings = models.quickstart()
    training = dataclasses.replace(
        settings.training,
        steps=None,
        minutes=minutes,
        seed=seed,
        evaluate_every=None,
        checkpoint_every=None,
        checkpoint_seconds=None,
    )
    with tempfile.TemporaryDirectory() as temporary:
        job = Job(
            model=settings.model,
            initialisation=settings.initialisation,
            training=training,
            machine=settings.machine,
            quiet=True,
        )
        pretrain(
            job,
            shards=models.shards(),
            tokenizer=models.shards().parent / "tokenizer",
            work=Path(temporary) / "training",
            out=Path(temporary) / "model",
        )
        model = textmill.load(Path(temporary) / "model").model
    objective = NextToken()
    return _measured(lambda batch: float(objective(model, batch)["loss"]), training.context_length)


def peer(minutes: float, rate: float, seed: int) -> dict[str, Any]:
    """nanoGPT's loop over transformers' GPT-2."""
    import torch
    from torch.nn.functional import cross_entropy

    from textmill.data.batches import PackedBatches
    from textmill.data.shards import TokenShards

    training = models.quickstart().training
    shards = TokenShards.open(models.shards(), split="train")
    batches = PackedBatches(shards, batch_size=training.batch_size, context_length=training.context_length, seed=seed)
    model = _gpt2(seed)
    decayed = [weight for weight in model.parameters() if weight.dim() >= 2]
    others = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True)

    begun = time.perf_counter()
    for step in itertools.count():
        done = (time.perf_counter() - begun) / (60 * minutes)
        if done >= 1:
            break
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))
        batch = batches.batch(step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            tokens, targets = torch.as_tensor(batch.tokens), torch.as_tensor(batch.targets)
            loss = model(input_ids=tokens, labels=tokens, shift_labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    model.eval()

    def nats(batch: Any) -> float:
        logits = model(input_ids=torch.as_tensor(batch.tokens)).logits
        targets = torch.as_tensor(batch.targets)
        return float(cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum"))

    return {"steps": step, **_measured(nats, training.context_length)}


def _gpt2(seed: int) -> Any:
    """transformers' GPT-2 with the quickstart's layers, heads, width, context and vocabulary."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    settings = models.quickstart()
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=settings.tokenizer.vocab_size,
        n_positions=settings.training.context_length,
        n_embd=settings.model.width,
        n_layer=settings.model.num_layers,
        n_head=settings.model.num_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
    )
    return GPT2LMHeadModel(config).train()


def _measured(nats: Any, context_length: int) -> dict[str, Any]:
    """Bits per byte on all held-out tokens, in fp32."""
    import torch

    from textmill.data.batches import evaluation_batches
    from textmill.data.shards import TokenShards
    from textmill.metrics.language_model import bits_per_byte

    shards = TokenShards.open(models.shards(), split="validation")
    with torch.no_grad():
        total = sum(nats(batch) for batch in evaluation_batches(shards, EVALUATION_BATCH, context_length))
    return {"bits_per_byte": bits_per_byte(total, shards.text_bytes)}
