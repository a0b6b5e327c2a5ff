"""How well a model folder predicts held-out text, beside what needs no model."""

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from textmill.data.batches import evaluation_batches
from textmill.data.build import build_shards
from textmill.data.masked import MaskedBatches, MaskingSpec, MaskingVocabulary
from textmill.data.shards import TokenShards
from textmill.data.spec import ShardSpec
from textmill.data.streams import evaluation_stream
from textmill.errors import DataError
from textmill.estimators.byte_ngram import ByteNgram, ByteNgramConfig
from textmill.folder import ModelFolder, load
from textmill.metrics.compression import gzip_bits_per_byte, xz_bits_per_byte
from textmill.models.carrying import CarryingModel
from textmill.objectives import MaskedToken, NextToken, ReplacedToken
from textmill.objectives.carried import CarriedNextToken
from textmill.tokenizers import Tokenizer
from textmill.training.evaluation import HeldOut
from textmill.training.placement import chosen_device
from textmill.training.precision import chosen_dtype

TOKENS_AT_ONCE = 1 << 14
"""A batch has no more, so that a model with a long context fits into memory; but one whole window."""

STREAMS, STREAM_PIECE = 16, 256
"""A model with a memory reads a split in so many streams, each from its beginning on, and so many tokens of each at
once. More streams would be faster, and forget more; the number is fixed, so that a score depends on the model alone."""

STRIDE_PARTS = 4
"""Windows overlap, so that a token is predicted from at least 3/4 of the context wherever its text is long enough."""


def evaluate_shards(
    folder: ModelFolder,
    shards: Path,
    *,
    split: str = "validation",
    batch_size: int = 16,
    device: str = "auto",
    precision: str = "auto",
) -> Mapping[str, float]:
    """What `HeldOut` measures: loss in nats per token, perplexity, the tokens, and by the kind of model:

    - one that predicts the next token: bits_per_byte and bytes. Every token of the split is predicted exactly once,
      the end-of-text tokens between documents included. One with a memory reads the split in 16 streams.
    - an encoder: accuracy, of masked tokens, a part of the text as in training. The masks are the same every time. Of a
      detector of replaced tokens, accuracy in telling them from the text's; no perplexity.

    The size of a batch changes none of them.

    Raises:
        DataError: the split is empty, or was made with another tokenizer.
    """
    text = TokenShards.open(shards, split)  # type: ignore[arg-type]
    text.check_tokenizer(folder.tokenizer.fingerprint())
    place = chosen_device(device)
    # a copy of its own: the folder's model stays as it is
    model = load(folder.path).model.to(place, chosen_dtype(precision, place))
    held_out = _held_out(model, text, folder.tokenizer, batch_size)
    with torch.inference_mode():
        measured = dict(held_out(model))
    measured["tokens"] = int(measured["tokens"])
    if "bits_per_byte" not in measured:
        return measured
    return {"bits_per_byte": measured.pop("bits_per_byte"), **measured, "bytes": text.text_bytes}


def _held_out(model: Any, text: TokenShards, tokenizer: Tokenizer, batch_size: int) -> HeldOut:
    """The measurement that fits the model."""
    length = min(model.config.context_length, TOKENS_AT_ONCE)
    if model.is_encoder:
        detector = getattr(model.config, "heads", None) == "replaced_token"
        batches = MaskedBatches(
            text,
            batch_size=batch_size,
            context_length=length,
            masking=MaskingSpec(unit="replaced" if detector else "token"),
            vocabulary=MaskingVocabulary.of(tokenizer),
        )
        return HeldOut(objective=ReplacedToken() if detector else MaskedToken(), batches=batches.in_order)
    if isinstance(model, CarryingModel):
        rows = max(1, min(STREAMS, text.num_tokens // STREAM_PIECE))
        return HeldOut(
            objective=CarriedNextToken(),
            batches=lambda: evaluation_stream(text, rows, STREAM_PIECE),
            num_bytes=text.text_bytes,
        )
    length = min(length, max(1, text.num_tokens))
    stride = max(1, length // STRIDE_PARTS)
    rows = min(batch_size, max(1, min(TOKENS_AT_ONCE // length, -(-text.num_tokens // stride))))
    return HeldOut(
        objective=NextToken(),
        batches=lambda: evaluation_batches(text, rows, length, stride=stride),
        num_bytes=text.text_bytes,
    )


def evaluate_text(
    folder: ModelFolder,
    documents: Iterable[bytes],
    *,
    batch_size: int = 16,
    device: str = "auto",
    precision: str = "auto",
) -> Mapping[str, float]:
    """The same on any text. The ids go through a temporary folder, so the text may be larger than memory.

    Raises:
        DataError: there is no document.
    """
    with tempfile.TemporaryDirectory(prefix="textmill-") as scratch:
        shards = Path(scratch) / "shards"
        build_shards(documents, folder.tokenizer, shards, ShardSpec(validation_fraction=0.0))
        return evaluate_shards(folder, shards, split="train", batch_size=batch_size, device=device, precision=precision)


def baselines(shards: Path, tokenizer: Tokenizer, *, most_bytes: int) -> dict[str, Any]:
    """Bits per byte of the held-out text by what was given the same training text and needs no neural network.

    Args:
        most_bytes: learn from at most this much of the training text, measure on at most an eighth of it; where that
            cuts something, the result says so under "cut".
    """
    train = list(_up_to(documents(shards, "train", tokenizer), most_bytes))
    held_out = list(_up_to(documents(shards, "validation", tokenizer), most_bytes // 8))
    if not held_out:
        raise DataError("no text was held out to measure on", fix="set shards.validation_fraction to 0.05")
    text, known = b"\n\n".join(held_out), b"\n\n".join(train)
    ngram = ByteNgramConfig()
    return {
        "gzip": gzip_bits_per_byte(text),
        "xz": xz_bits_per_byte(text),
        "xz, after the training text": xz_bits_per_byte(text, train=known),
        f"{ngram.order}-gram of bytes (Kneser-Ney)": ByteNgram(ngram).fit(train).bits_per_byte(held_out),
    } | _cut(shards, sum(map(len, train)), sum(map(len, held_out)))


def documents(shards: Path, split: str, tokenizer: Tokenizer) -> Iterator[bytes]:
    """The documents of a split, decoded from their tokens: byte-level tokens give the text back exactly."""
    tokens = TokenShards.open(shards, split, verify=False)  # type: ignore[arg-type]
    ends = np.append(tokens.document_starts, tokens.num_tokens)[1:]
    marks = 0 if tokenizer.end_of_text_id is None else 1
    for start, end in zip(tokens.document_starts.tolist(), ends.tolist(), strict=True):
        yield tokenizer.decode_bytes(tokens.window(start, end - start - marks))


def beginnings(shards: Path, tokenizer: Tokenizer, num: int, *, most_characters: int = 40) -> Sequence[str]:
    """How `num` held-out documents begin, cut after a word: prompts the model has not seen."""
    found = []
    for document in itertools.islice(documents(shards, "validation", tokenizer), num):
        text = document.decode("utf-8", "ignore").strip()
        head = text[:most_characters]
        if len(text) > most_characters and " " in head:
            head = head[: head.rindex(" ")]
        found.append(head)
    return found


def _up_to(texts: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    """Whole texts as long as they fit; the first one, cut where it alone is too long."""
    size = 0
    for text in texts:
        if size == 0 and len(text) > most_bytes:
            yield text[:most_bytes]
            return
        size += len(text)
        if size > most_bytes:
            return
        yield text


def _cut(shards: Path, learned: int, measured: int) -> dict[str, Any]:
    """What the limit left out, in bytes."""
    whole = [TokenShards.open(shards, split, verify=False).text_bytes for split in ("train", "validation")]
    return {} if [learned, measured] == whole else {"cut": {"learned_bytes": learned, "measured_bytes": measured}}
