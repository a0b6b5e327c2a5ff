"""Documents into token shards: encode, mark the end of each, and write to the split that its content decides."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from textmill.cores import usable_cores
from textmill.corpus.sentences import SENTENCES, SentenceForm
from textmill.data.sentences import SentenceTable, sentence_table
from textmill.data.spec import ShardSpec
from textmill.data.split import split_documents
from textmill.data.writer import Split, SplitCounts, writing_shards
from textmill.errors import DataError

BATCH_BYTES = 1 << 20
"""Text that is encoded at once."""


class Encoder(Protocol):
    """The part of a tokenizer that building needs; `encode_documents` is used where it is there."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def end_of_text_id(self) -> int | None: ...
    def encode_array(self, data: bytes) -> np.ndarray: ...
    def fingerprint(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What was written."""

    train: SplitCounts
    validation: SplitCounts

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of text per token, end-of-text tokens counted as tokens."""
        return (self.train.text_bytes + self.validation.text_bytes) / (self.train.tokens + self.validation.tokens)


def build_shards(
    documents: Iterable[bytes],
    tokenizer: Encoder,
    out: str | os.PathLike[str],
    spec: ShardSpec | None = None,
    progress: Callable[[int], None] | None = None,
) -> ShardReport:
    """Writes both splits of the documents as a folder of token shards, which appears when all is done.

    Each document's ids are followed by the tokenizer's end-of-text id, if it has one. From two documents on, each split
    gets at least one (see `split_documents`). Where `spec.sentences` says how to find sentences, each is encoded by
    itself and the shards remember where it lies.

    Args:
        progress: is told the bytes of text done so far.

    Raises:
        DataError: there is no document.
        OutputError: the folder can't be written, or holds something else.
    """
    spec = ShardSpec() if spec is None else spec
    with (
        # made in Python while the kernels encode, which leaves the GIL free
        ThreadPoolExecutor(1) as aside,
        writing_shards(
            out,
            tokenizer_fingerprint=aside.submit(tokenizer.fingerprint).result,
            vocab_size=tokenizer.vocab_size,
            end_of_text_id=tokenizer.end_of_text_id,
            max_tokens_per_file=spec.max_tokens_per_file,
            sentences=spec.sentences != "none",
        ) as writer,
    ):
        done = 0
        batches = _batches(split_documents(documents, spec.validation_fraction, spec.split_seed))
        for split, encoded in _encoded(batches, tokenizer, None if spec.sentences == "none" else spec.sentences):
            writer.add_documents(encoded.ids, encoded.offsets, encoded.sizes, split=split, sentences=encoded.sentences)
            done += int(encoded.sizes.sum())
            if progress is not None:
                progress(done)
        if done == 0:
            raise DataError("the corpus holds no document", fix="check the input: every file is empty or white space")
    return ShardReport(train=writer.counts["train"], validation=writer.counts["validation"])


def _batches(documents: Iterable[tuple[bytes, bool]]) -> Iterator[tuple[Split, list[bytes]]]:
    """Documents of one split, about BATCH_BYTES at a time, each split's in their order."""
    batches: dict[Split, list[bytes]] = {"train": [], "validation": []}
    sizes: dict[Split, int] = {"train": 0, "validation": 0}
    for document, held_out in documents:
        split: Split = "validation" if held_out else "train"
        batches[split].append(document)
        sizes[split] += len(document)
        if sizes[split] >= BATCH_BYTES:
            yield split, batches[split]
            batches[split], sizes[split] = [], 0
    yield from ((split, batch) for split, batch in batches.items() if batch)


@dataclass(frozen=True)
class _Encoded:
    ids: np.ndarray
    offsets: np.ndarray
    """Where each document begins in the ids, and the number of all."""
    sizes: np.ndarray
    """UTF-8 bytes of each document."""
    sentences: SentenceTable | None


def _encoded(
    batches: Iterable[tuple[Split, list[bytes]]], tokenizer: Encoder, form: SentenceForm | None
) -> Iterator[tuple[Split, _Encoded]]:
    """The batches encoded, in their order, while later ones are being read: the kernels release the GIL."""
    threads = usable_cores()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Split, Future[_Encoded]]] = deque()
        for split, batch in batches:
            waiting.append((split, pool.submit(_encode_batch, batch, tokenizer, form)))
            if len(waiting) > threads:
                first, future = waiting.popleft()
                yield first, future.result()
        for split, future in waiting:
            yield split, future.result()


def _encode_batch(documents: list[bytes], tokenizer: Encoder, form: SentenceForm | None) -> _Encoded:
    sentences = None
    if form is None:
        ids, offsets = _encode(documents, tokenizer)
    else:
        parts = [SENTENCES[form](document) for document in documents]
        ids, offsets = _encode([sentence for part in parts for sentence in part], tokenizer)
        sentences, offsets = sentence_table([len(part) for part in parts], offsets)
    if tokenizer.end_of_text_id is not None:
        ids, offsets = with_end_of_text(ids, offsets, tokenizer.end_of_text_id)
        if sentences is not None:
            # before document d stand d marks
            marks = np.repeat(np.arange(len(documents)), sentences.counts + 1)
            sentences = SentenceTable(sentences.counts, sentences.bounds + marks)
    return _Encoded(ids, offsets, np.fromiter(map(len, documents), np.int64, len(documents)), sentences)


def _encode(documents: list[bytes], tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """The documents' ids one after the other, and where each begins, with the number of all at the end."""
    encode_documents = getattr(tokenizer, "encode_documents", None)
    if encode_documents is not None:
        ids, offsets = encode_documents(documents)
        return ids, offsets
    parts = [tokenizer.encode_array(document) for document in documents]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return np.concatenate(parts), offsets


def with_end_of_text(ids: np.ndarray, offsets: np.ndarray, end_of_text_id: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids and offsets of the same documents with one more id after each.

    >>> with_end_of_text(np.array([5, 6, 7]), np.array([0, 2, 3]), 0)
    (array([5, 6, 0, 7, 0]), array([0, 3, 5]))
    """
    new_offsets = offsets + np.arange(len(offsets))
    out = np.full(len(ids) + len(offsets) - 1, end_of_text_id, ids.dtype)
    own = np.ones(len(out), np.bool_)
    own[new_offsets[1:] - 1] = False
    out[own] = ids
    return out, new_offsets
