"""Quality for time: our recipe in a third of the time that transformers' GPT-2 has, trained as nanoGPT does.

Three corpora of about a megabyte: Shakespeare's plays, articles of Wikipedia, and the built-in one. On each, both sides
have the same tokenizer, text, layers, heads, width, context and batch, and both are measured on all held-out tokens by
the same windows; a round is a seed.

The peer: AdamW with betas 0.9 and 0.99 and weight decay 0.1 on matrices, warm-up and a cosine to a tenth of the rate
over its whole time, gradients clipped to 1, no dropout, bf16; the best of four rates, and of nanoGPT's published
settings for a CPU (4 layers of 128, 64 tokens, batches of 12, rate 0.001). As nanoGPT does, it keeps the weights that
measure best along the way: here on the very text of the final figure, and the time that takes isn't counted.

Ours: `recipe`, one rule for all corpora, tried out on parts of the training text.

What a run measured stays in the cache until its comparison is done, so that a benchmark that was cut goes on.
"""

import dataclasses
import itertools
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import models, texts
from benchmarks.harness import CACHE, Comparison, Goal, Options, Side, in_child
from textmill import config

ABOUT = "held-out bits per byte in a third of the time of a GPT-2 trained as nanoGPT does, 3 corpora; --minutes 5"
GOALS = ("the peer's best held-out loss, or less, in a third of its time: at most 1x its bits per byte",)

CORPORA = {
    "tinyshakespeare": "tinyshakespeare/input.txt.xz",
    "wiki-demo": "wiki-demo/wiki_demo.txt.xz",
    "builtin": None,
}
SEEDS = 3
SHARE_OF_TIME = 1 / 3
PEER_MINUTES = 5.0
RATES = (6e-4, 1.2e-3, 2.5e-3, 5e-3)
PUBLISHED = {"rate": 1e-3, "width": 128, "heads": 4, "context_length": 64, "batch_size": 12}
"""nanoGPT's README, "I only have a macbook"; without the settings that ours share."""
WARMUP_STEPS = 100
MEASUREMENTS = 10
"""Of the peer, along its way."""
EVALUATION_BATCH = 16
TOKENS_A_MINUTE = 600_000
"""About what our recipe trains on, on two cores."""


def comparisons(options: Options) -> Iterator[Comparison]:
    minutes = options.minutes or (0.05 if options.quick else PEER_MINUTES)
    for corpus in CORPORA:
        name = f"held-out loss on {corpus}, ours in {minutes * SHARE_OF_TIME:.3g} min, the peer's in {minutes:g} min"
        if options.only not in name or (CORPORA[corpus] and texts.data_folder() is None):
            continue
        folder = _prepared(corpus)
        runs = _Runs(folder, {"corpus": corpus, "minutes": minutes})
        yield _comparison(name, runs, minutes, options)
        runs.forget()


def _comparison(name: str, runs: "_Runs", minutes: float, options: Options) -> Comparison:
    candidates: list[dict[str, Any]] = [{"rate": rate} for rate in (RATES[1:2] if options.quick else RATES)]
    candidates += [] if options.quick else [PUBLISHED]
    tried = [runs.peer(minutes=minutes, seed=0, **candidate) for candidate in candidates]
    best = min(range(len(tried)), key=lambda number: tried[number])
    names = ["published" if "width" in candidate else f"{candidate['rate']:g}" for candidate in candidates]
    our_seeds, peer_seeds = itertools.count(), itertools.count()
    return Comparison(
        name=name,
        goal=Goal(kind="share", value=1.0),
        ours=Side(name="textmill", measure=lambda: runs.ours(minutes=minutes * SHARE_OF_TIME, seed=next(our_seeds))),
        peer=Side(
            name=f"transformers GPT-2, rate {names[best]}",
            measure=lambda: runs.peer(minutes=minutes, seed=next(peer_seeds), **candidates[best]),
        ),
        unit="bits per byte",
        sizes={"rates tried": " ".join(f"{rate}: {loss:.3f}" for rate, loss in zip(names, tried, strict=True))},
        warm_up=0,
        rounds=2 if options.quick else options.seeds or SEEDS,
    )


class _Runs:
    """Runs each training once, in a process of its own, and remembers its bits per byte in a file."""

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.folder = str(folder)
        self.file = CACHE / "time-to-quality" / f"{about['corpus']}-{config.fingerprint(about)[:12]}.json"
        self.done: dict[str, float] = json.loads(self.file.read_text()) if self.file.exists() else {}

    def ours(self, **arguments: Any) -> float:
        return self._run("ours", arguments)

    def peer(self, **arguments: Any) -> float:
        return self._run("peer", arguments)

    def _run(self, side: str, arguments: dict[str, Any]) -> float:
        key = f"{side} {json.dumps(arguments, sort_keys=True)}"
        if key not in self.done:
            found = in_child(f"benchmarks.time_to_quality:{side}", {"folder": self.folder, **arguments})
            self.done[key] = float(found["bits_per_byte"])
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(self.done, indent=1))
        return self.done[key]

    def forget(self) -> None:
        """All of it is measured: the next benchmark starts anew."""
        self.file.unlink(missing_ok=True)


def recipe(corpus_tokens: int, minutes: float) -> Any:
    """The quickstart's settings by the clock, with dropout where the text is read so often that it would be learnt by
    heart: none below 6 epochs, 0.1 from there, 0.2 from 15 on. (At 4 epochs dropout was measured to harm.)"""
    settings = models.quickstart()
    epochs = minutes * TOKENS_A_MINUTE / corpus_tokens
    dropout = 0.0 if epochs < 6 else 0.1 if epochs < 15 else 0.2
    training = dataclasses.replace(
        settings.training,
        steps=None,
        minutes=minutes,
        evaluate_every=None,
        checkpoint_every=None,
        checkpoint_seconds=None,
    )
    return dataclasses.replace(settings, training=training, model=dataclasses.replace(settings.model, dropout=dropout))


def ours(folder: str, minutes: float, seed: int) -> dict[str, Any]:
    """Trains by `recipe`."""
    import textmill
    from textmill.data.shards import TokenShards
    from textmill.objectives import NextToken
    from textmill.tasks.pretrain import Job, pretrain

    shards = Path(folder) / "shards"
    settings = recipe(TokenShards.open(shards, split="train").num_tokens, minutes)
    training = dataclasses.replace(settings.training, seed=seed)
    with tempfile.TemporaryDirectory() as temporary:
        job = Job(
            model=settings.model,
            initialisation=settings.initialisation,
            training=training,
            machine=settings.machine,
            quiet=True,
        )
        facts = pretrain(
            job,
            shards=shards,
            tokenizer=Path(folder) / "tokenizer",
            work=Path(temporary) / "training",
            out=Path(temporary) / "model",
        )
        model = textmill.load(Path(temporary) / "model").model
    objective = NextToken()
    loss = _measured(folder, lambda batch: float(objective(model, batch)["loss"]), training.context_length)
    return {"bits_per_byte": loss, "steps": facts["steps"]}


def peer(
    folder: str,
    minutes: float,
    rate: float,
    seed: int,
    width: int | None = None,
    heads: int | None = None,
    context_length: int | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """nanoGPT's loop over transformers' GPT-2; sizes that are None are our recipe's."""
    import torch

    from textmill.data.batches import PackedBatches
    from textmill.data.shards import TokenShards

    settings = models.quickstart()
    length = context_length or settings.training.context_length
    shards = TokenShards.open(Path(folder) / "shards", split="train")
    batches = PackedBatches(
        shards, batch_size=batch_size or settings.training.batch_size, context_length=length, seed=seed
    )
    sizes = {"n_embd": width or settings.model.width, "n_head": heads or settings.model.num_heads}
    model = _gpt2(seed, vocab_size=shards.vocab_size, n_positions=length, n_layer=settings.model.num_layers, **sizes)
    decayed = [weight for weight in model.parameters() if weight.dim() >= 2]
    others = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True)

    measured: list[float] = []
    spent = 0.0
    for step in itertools.count():
        begun = time.perf_counter()
        done = spent / (60 * minutes)
        if done * MEASUREMENTS >= len(measured) + 1:
            measured.append(_measured(folder, partial(_nats, model), length))
            begun = time.perf_counter()
        if done >= 1:
            break
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))
        batch = batches.batch(step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            tokens, targets = torch.as_tensor(batch.tokens), torch.as_tensor(batch.targets)
            # targets are shifted already
            loss = model(input_ids=tokens, labels=tokens, shift_labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        spent += time.perf_counter() - begun
    return {"bits_per_byte": min(measured), "steps": step, "along": measured}


def _gpt2(seed: int, **sizes: int) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**sizes, **dropout, use_cache=False)).train()


def _nats(model: Any, batch: Any) -> float:
    """The peer's loss on a batch, summed; without dropout, training and measuring are the same."""
    import torch
    from torch.nn.functional import cross_entropy

    logits = model(input_ids=torch.as_tensor(batch.tokens)).logits
    targets = torch.as_tensor(batch.targets)
    return float(cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum"))


def _measured(folder: str, nats: Callable[[Any], float], context_length: int) -> float:
    """Bits per byte on all held-out tokens, in fp32."""
    import torch

    from textmill.data.batches import evaluation_batches
    from textmill.data.shards import TokenShards
    from textmill.metrics.language_model import bits_per_byte

    shards = TokenShards.open(Path(folder) / "shards", split="validation")
    with torch.no_grad():
        total = sum(nats(batch) for batch in evaluation_batches(shards, EVALUATION_BATCH, context_length))
    return bits_per_byte(total, shards.text_bytes)


def _prepared(corpus: str) -> Path:
    """A folder with the corpus as token shards and the tokenizer that was trained on its training part."""
    settings = models.quickstart()
    data, file = texts.data_folder(), CORPORA[corpus]
    if file is not None and data is not None:
        # a tenth, as nanoGPT holds out: these texts are short
        held_out = dataclasses.replace(settings.shards, validation_fraction=0.1)
        settings = dataclasses.replace(settings, corpus=str(data / file), shards=held_out)
    about = [corpus, config.fingerprint(settings.tokenizer), config.fingerprint(settings.shards)]
    return models.kept(f"corpus-{corpus}", about, partial(_make, settings))


def _make(settings: Any, folder: Path) -> None:
    from textmill.recipes.text import shards_stage, tokenizer_stage

    for stage in (tokenizer_stage(settings), shards_stage(settings)):
        stage.run(folder, {}, lambda _done, _total: None)
