"""From a file of text to the first batch of a training run, in a fresh process, nothing prepared.

Both sides read the same JSON lines, encode them with GPT-2's vocabulary, mark each document's end, pack all into rows
of one length and make the first batch. Numba's compiled kernels are kept from the warm-up, as they are on any machine
after the first use. Numba would also load a package that only another benchmark's peer brings along (awkward, for
gigatoken); where textmill alone is installed, there is none, and so it is left out.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import texts, vocabularies
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, in_child

ABOUT = "50 MB of text to the first training batch, whole processes, cold"
GOALS = ("datasets map + group_texts with tokenizers: at least 20x",)

BATCH_SIZE = 8
CONTEXT_LENGTH = 256
END_OF_TEXT = 50256


def comparisons(options: Options) -> Iterator[Comparison]:
    file = texts.mixed_file(500_000 if options.quick else 50_000_000)
    arguments = {"file": str(file), "vocabulary": str(vocabularies.gpt2_file())}
    yield Comparison(
        name="text to first batch",
        goal=Goal(kind="times", value=20),
        ours=Side(name="textmill", measure=partial(_seconds, "ours", arguments)),
        peer=Side(name="datasets + tokenizers", measure=partial(_seconds, "peer", arguments)),
        check=partial(_check, arguments),
        sizes={"bytes": file.stat().st_size},
    )


def _seconds(side: str, arguments: dict[str, Any]) -> float:
    return in_child(f"benchmarks.first_batch:{side}", arguments)["process_seconds"]


def _check(arguments: dict[str, Any]) -> None:
    """Both made batches of the same shape, out of the same number of tokens."""
    mine, other = (in_child(f"benchmarks.first_batch:{side}", arguments | {"count": True}) for side in ("ours", "peer"))
    for key in ("tokens", "shape"):
        if mine[key] != other[key]:
            raise RefusedError(f"{key}: {mine[key]} by textmill, {other[key]} by datasets")


def ours(file: str, vocabulary: str, count: bool = False) -> dict[str, Any]:
    from numba.core import entrypoints

    from textmill import Tokenizer
    from textmill.corpus import read_documents
    from textmill.data.batches import PackedBatches
    from textmill.data.build import build_shards
    from textmill.data.shards import TokenShards
    from textmill.data.spec import ShardSpec

    # numba's own mark that extensions were looked for
    entrypoints._already_initialized = True
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / "shards"
        tokenizer = Tokenizer.load(vocabulary)
        report = build_shards(read_documents([file]), tokenizer, shards, ShardSpec(validation_fraction=0))
        opened = TokenShards.open(shards, split="train")
        batches = PackedBatches(opened, batch_size=BATCH_SIZE, context_length=CONTEXT_LENGTH, seed=0)
        shape = list(batches.batch(0).tokens.shape)
    return {"shape": shape, "tokens": report.train.tokens if count else None}


def peer(file: str, vocabulary: str, count: bool = False) -> dict[str, Any]:
    """As transformers' own run_clm.py does it."""
    from datasets import load_dataset
    from torch.utils.data import DataLoader
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=vocabulary, eos_token="<|endoftext|>", split_special_tokens=True)
    tokenizer.model_max_length = 1 << 40

    def tokenize(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        ids = tokenizer(rows["text"], return_attention_mask=False)["input_ids"]
        return {"input_ids": [[*row, END_OF_TEXT] for row in ids]}

    def group(rows: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = [token for row in rows["input_ids"] for token in row]
        whole = len(joined) // CONTEXT_LENGTH * CONTEXT_LENGTH
        return {"input_ids": [joined[i : i + CONTEXT_LENGTH] for i in range(0, whole, CONTEXT_LENGTH)]}

    with tempfile.TemporaryDirectory() as folder:
        raw = load_dataset("json", data_files=file, split="train", cache_dir=folder)
        encoded = raw.map(tokenize, batched=True, remove_columns=raw.column_names)
        num_tokens = sum(map(len, encoded["input_ids"])) if count else None
        grouped = encoded.map(group, batched=True).with_format("torch")
        batch = next(iter(DataLoader(grouped, batch_size=BATCH_SIZE, shuffle=True)))["input_ids"]
    return {"shape": list(batch.shape), "tokens": num_tokens}
