"""Batches from disk, shuffled: ours beside `datasets` and torch's DataLoader. Each side in a process of its own.

Both give tensors of 32 sequences of 256 tokens with their targets. The peer holds the same tokens as an Arrow data set
on the disk, a row for each sequence, in torch's format, and draws it by DataLoader with its default collator in the
main process, or by transformers' `default_data_collator`, which its Trainer uses.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, Worker, in_child, timed

ABOUT = "batches of training sequences from disk, seconds for a million tokens"
GOALS = (
    "datasets in torch's format + DataLoader with its default collator: at least 40x",
    "datasets + DataLoader with transformers' default_data_collator: at least 40x",
)

BATCH_SIZE = 32
CONTEXT_LENGTH = 256
VOCABULARY = 16_384
COLLATORS = {
    "default": "datasets + DataLoader, default collator",
    "transformers": "datasets + DataLoader, default_data_collator",
}


def comparisons(options: Options) -> Iterator[Comparison]:
    num_bytes = 500_000 if options.quick else 10_000_000
    folder = models.kept("loader", [num_bytes, CONTEXT_LENGTH, VOCABULARY], partial(_make, num_bytes))
    for collator, name in COLLATORS.items():
        with (
            Worker("benchmarks.loader:ours", {"folder": str(folder)}) as ours,
            Worker("benchmarks.loader:peer", {"folder": str(folder), "collator": collator}) as peer,
        ):
            yield Comparison(
                name=f"batches from disk against {name}",
                goal=Goal(kind="times", value=40),
                ours=Side(name="textmill", measure=ours.measure),
                peer=Side(name=name, measure=peer.measure),
                check=partial(_check, str(folder), collator),
                unit="s a million tokens",
                sizes={"tokens": peer.facts["tokens"], "batch_size": BATCH_SIZE, "context_length": CONTEXT_LENGTH},
            )


def _check(folder: str, collator: str) -> None:
    """In an epoch, both predict every token of the split as often as it stands there."""
    mine = in_child("benchmarks.loader:count", {"side": "ours", "folder": folder})
    other = in_child("benchmarks.loader:count", {"side": "peer", "folder": folder, "collator": collator})
    if mine["counts"] != other["counts"]:
        raise RefusedError(f"{sum(mine['counts'])} targets by textmill, {sum(other['counts'])} by the peer, or others")


def count(side: str, **arguments: Any) -> dict[str, Any]:
    """How often each id is a target in one epoch."""
    import numpy as np

    epoch, _ = _ours(**arguments) if side == "ours" else _peer(**arguments)
    counts = np.zeros(VOCABULARY, np.int64)
    for _, targets in epoch():
        counts += np.bincount(targets.numpy().reshape(-1), minlength=VOCABULARY)
    return {"counts": counts.tolist()}


def ours(**arguments: Any) -> tuple[dict[str, Any], Callable[[], float]]:
    return _served(*_ours(**arguments), repeats=10)


def peer(**arguments: Any) -> tuple[dict[str, Any], Callable[[], float]]:
    return _served(*_peer(**arguments), repeats=1)


def _served(
    epoch: Callable[[], Iterator[Any]], tokens: int, repeats: int
) -> tuple[dict[str, Any], Callable[[], float]]:
    def work() -> None:
        for _ in range(repeats):
            for _ in epoch():
                pass

    seconds = timed(work)
    return {"tokens": tokens}, lambda: seconds() / repeats / tokens * 1e6


def _ours(folder: str) -> tuple[Callable[[], Iterator[Any]], int]:
    import torch

    from textmill.data.batches import PackedBatches
    from textmill.data.shards import TokenShards

    opened = TokenShards.open(folder + "/shards", split="train")
    batches = PackedBatches(opened, batch_size=BATCH_SIZE, context_length=CONTEXT_LENGTH, seed=0)
    steps = batches.windows_per_epoch // BATCH_SIZE

    def epoch() -> Iterator[Any]:
        # the state moves on: every epoch is another order
        for batch in itertools.islice(batches, steps):
            yield torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)

    return epoch, opened.num_tokens


def _peer(folder: str, collator: str) -> tuple[Callable[[], Iterator[Any]], int]:
    from datasets import load_from_disk
    from torch.utils.data import DataLoader
    from transformers import default_data_collator

    rows = load_from_disk(folder + "/rows")
    if collator == "default":
        loader = DataLoader(rows.with_format("torch"), batch_size=BATCH_SIZE, shuffle=True)
    else:
        loader = DataLoader(rows, batch_size=BATCH_SIZE, shuffle=True, collate_fn=default_data_collator)

    def epoch() -> Iterator[Any]:
        for batch in loader:
            yield batch["input_ids"], batch["labels"]

    return epoch, len(rows) * CONTEXT_LENGTH


def _make(num_bytes: int, folder: Path) -> None:
    """Token shards, and the same tokens as rows of a data set; their number is a multiple of a batch's."""
    import numpy as np
    from datasets import Dataset

    from textmill.data.writer import writing_shards

    tokenizer, text = models.english_tokenizer(num_bytes, "bpe", VOCABULARY)
    ids = tokenizer.encode_array(text)
    ids = ids[: len(ids) // (BATCH_SIZE * CONTEXT_LENGTH) * BATCH_SIZE * CONTEXT_LENGTH]
    with writing_shards(
        folder / "shards", tokenizer_fingerprint=tokenizer.fingerprint(), vocab_size=VOCABULARY, end_of_text_id=None
    ) as writer:
        writer.add_documents(ids, np.array([0, len(ids)]), np.array([len(text)]))
    rows = ids.reshape(-1, CONTEXT_LENGTH).astype(np.int64)
    Dataset.from_dict({"input_ids": rows, "labels": rows}).save_to_disk(folder / "rows")
