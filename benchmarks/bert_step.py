"""One training step of a masked language model on ragged text: forward, backward, clip, AdamW. Each side in a process
of its own.

Both sides get the same sequences with the same masks, from the same weights: runs of English of log-normal lengths, at
most 256 tokens, which fill about 40 % of a padded batch. Ours come one after the other, and the head runs at the masked
tokens alone. The peer is transformers' BertForMaskedLM, padded to the longest sequence of the batch, in the plain loop
that its Trainer runs.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.harness import Comparison, Goal, Options, Side, Worker, timed
from benchmarks.steps import BETAS, RATE, check_losses, our_step

ABOUT = "a training step of a BERT on ragged rows, unpadded and with the head at masked tokens, against transformers"
GOALS = (
    "transformers' BertForMaskedLM padded, its default (fp32, dropout 0.1): at least 5.5x",
    "the same in bf16 (autocast), without dropout: at least 3.5x",
)

VOCABULARY = 16_384
LONGEST = 256
MEDIAN_LENGTH, SPREAD = 84, 0.7
"""Of the log-normal lengths, in tokens."""
BATCHES = 2
"""The step goes over so many batches in turn; a measurement takes them all."""
STEPS_CHECKED = 4


def comparisons(options: Options) -> Iterator[Comparison]:
    folder = _prepared(200_000 if options.quick else 4_000_000)
    arguments: dict[str, Any] = {"folder": str(folder), "batch_size": 4 if options.quick else 16}
    sizes = {**arguments, **_facts(arguments)}
    del sizes["folder"]
    for precision, dropout, least in (("fp32", 0.1, 5.5), ("bf16", 0.0, 3.5)):
        theirs = {**arguments, "precision": precision}
        with (
            Worker("benchmarks.bert_step:ours", {**arguments, "precision": "auto"}) as ours,
            Worker("benchmarks.bert_step:peer", {**theirs, "dropout": dropout}) as peer,
        ):
            yield Comparison(
                name=f"BERT training step against transformers {precision}, dropout {dropout:g}",
                goal=Goal(kind="times", value=least),
                ours=Side(name=f"textmill {ours.facts['precision']}, no dropout", measure=ours.measure),
                peer=Side(name=f"transformers {precision}", measure=peer.measure),
                check=partial(_check, theirs, ours),
                sizes=sizes,
                warm_up=2,
            )


def _check(arguments: dict[str, Any], ours: Worker) -> None:
    """Without dropout, the first losses are equal to bf16's precision."""
    with Worker("benchmarks.bert_step:peer", {**arguments, "dropout": 0.0}) as peer:
        check_losses(ours, peer, tolerance=0.01)


def ours(folder: str, batch_size: int, precision: str) -> tuple[dict[str, Any], Callable[[], float]]:
    import textmill
    from textmill.objectives import MaskedToken

    model = textmill.load(Path(folder) / "model").model.train()
    step, name = our_step(model, MaskedToken(), cycle(_batches(folder, batch_size)), precision)
    return _served(step, {"precision": name})


def peer(folder: str, batch_size: int, precision: str, dropout: float) -> tuple[dict[str, Any], Callable[[], float]]:
    import torch
    from transformers import BertForMaskedLM

    probabilities = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    model = BertForMaskedLM.from_pretrained(Path(folder) / "model", dtype=torch.float32, **probabilities).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=BETAS, weight_decay=0.0, fused=True)
    batches = cycle([_padded(batch) for batch in _batches(folder, batch_size)])

    def step() -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = model(**next(batches)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return _served(step, {})


def _served(step: Callable[[], float], facts: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], float]]:
    losses = [step() for _ in range(STEPS_CHECKED)]

    def steps() -> None:
        for _ in range(BATCHES):
            step()

    seconds = timed(steps)
    return {**facts, "losses": losses}, lambda: seconds() / BATCHES


def _batches(folder: str, batch_size: int) -> list[Any]:
    """The first batches of the text, unpadded."""
    from textmill import Tokenizer
    from textmill.data.masked import MaskedBatches, MaskingSpec, MaskingVocabulary
    from textmill.data.shards import TokenShards

    batches = MaskedBatches(
        TokenShards.open(Path(folder) / "shards", split="train"),
        batch_size=batch_size,
        context_length=LONGEST,
        masking=MaskingSpec(),
        vocabulary=MaskingVocabulary.of(Tokenizer.load(Path(folder) / "model")),
    )
    return list(islice(batches, BATCHES))


def _padded(batch: Any) -> dict[str, Any]:
    """The same sequences and masks, padded to the longest, as transformers' collator makes them."""
    import numpy as np
    import torch

    lengths = np.diff(batch.starts)
    real = np.arange(lengths.max()) < lengths[:, None]
    labels = np.full(len(batch.tokens), -100)
    labels[batch.places] = batch.targets
    tokens_BT, labels_BT = np.zeros(real.shape, np.int64), np.full(real.shape, -100)
    tokens_BT[real], labels_BT[real] = batch.tokens, labels
    arrays = {"input_ids": tokens_BT, "attention_mask": real.astype(np.int64), "labels": labels_BT}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _facts(arguments: dict[str, Any]) -> dict[str, Any]:
    """The real tokens of a batch, and what part of the padded batch they fill."""
    batches = _batches(**arguments)
    tokens = sum(len(batch.tokens) for batch in batches)
    places = sum(_padded(batch)["input_ids"].numel() for batch in batches)
    return {"tokens": tokens // BATCHES, "fill": round(tokens / places, 3)}


def _prepared(most_bytes: int) -> Path:
    """A folder with a tokenizer, a model that knows nothing yet, and English text as shards."""
    settings = {"bytes": most_bytes, "vocabulary": VOCABULARY, "lengths": [MEDIAN_LENGTH, SPREAD, LONGEST]}
    return models.kept("bert-step", settings, partial(_make, most_bytes))


def _make(most_bytes: int, folder: Path) -> None:
    import numpy as np

    from textmill.data.writer import writing_shards
    from textmill.folder import save_folder
    from textmill.models import Bert, BertConfig

    tokenizer, text = models.english_tokenizer(most_bytes, "wordpiece", VOCABULARY)
    ids = tokenizer.encode_array(text)
    lengths = np.exp(np.random.default_rng(0).normal(np.log(MEDIAN_LENGTH), SPREAD, len(ids) // 8)).astype(np.int64)
    ends = np.cumsum(np.clip(lengths, 8, LONGEST - 2))
    offsets = np.concatenate(([0], ends[ends <= len(ids)]))
    with writing_shards(
        folder / "shards",
        tokenizer_fingerprint=tokenizer.fingerprint(),
        vocab_size=tokenizer.vocab_size,
        end_of_text_id=None,
    ) as writer:
        writer.add_documents(ids[: offsets[-1]], offsets, np.zeros(len(offsets) - 1, np.int64))
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        context_length=LONGEST,
        width=384,
        num_layers=6,
        num_heads=6,
        heads="masked_token",
        dropout=0.0,
        attention_dropout=0.0,
    )
    save_folder(folder / "model", model=Bert(config, seed=0), tokenizer=tokenizer)
