"""Token ids to the disk: a folder of shard files and their list, there as a whole or not at all.

shards.json             what the folder holds
train-00000.tokens      ids, document table and perhaps sentence table (see layout.py)
validation-00000.tokens
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from textmill.data.layout import (
    ALIGNMENT,
    HEADER_BYTES,
    SENTENCE_VERSION,
    VERSION,
    FileHeader,
    dtype_for,
    header_block,
    trailer,
)
from textmill.data.sentences import SentenceTable, joined
from textmill.files import claim_output, replacing_folder, write_json

Split = Literal["train", "validation"]
SPLITS: tuple[Split, Split] = ("train", "validation")
MANIFEST = "shards.json"
FORMAT = "textmill token shards"


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """What one split of a folder holds."""

    files: int
    tokens: int
    documents: int
    text_bytes: int


@contextlib.contextmanager
def writing_shards(
    folder: str | os.PathLike[str],
    *,
    tokenizer_fingerprint: str | Callable[[], str],
    vocab_size: int,
    end_of_text_id: int | None,
    max_tokens_per_file: int = 1 << 28,
    sentences: bool = False,
) -> Iterator["ShardWriter"]:
    """A writer whose shards become `folder` when the block ends well; else nothing is left of them.

    What stood in the folder is replaced then, and only if it was shards.

    Args:
        tokenizer_fingerprint: the fingerprint, or what gives it when all is written.
        sentences: documents come with their sentences, which are written too.

    Raises:
        OutputError: disk full, read-only, or the folder holds something that is no shards.
    """
    assert max_tokens_per_file >= 1
    assert vocab_size >= 1
    if os.path.exists(folder):
        claim_output(folder, marker=MANIFEST)
    with replacing_folder(folder) as temporary:
        writer = ShardWriter(temporary, vocab_size, max_tokens_per_file, sentences)
        try:
            yield writer
            fingerprint = tokenizer_fingerprint if isinstance(tokenizer_fingerprint, str) else tokenizer_fingerprint()
            about = {
                "format": FORMAT,
                "version": SENTENCE_VERSION if sentences else VERSION,
                "tokenizer_fingerprint": fingerprint,
                "vocab_size": vocab_size,
                "end_of_text_id": end_of_text_id,
            }
            writer.close(about)
        finally:
            writer.abandon()


class ShardWriter:
    """Takes documents of token ids for both splits; made by `writing_shards`.

    Memory: one batch, and 16 bytes per document of the file being written; with sentences 16 more, and 8 per sentence.
    """

    def __init__(self, folder: Path, vocab_size: int, max_tokens_per_file: int, sentences: bool = False) -> None:
        self.counts: dict[Split, SplitCounts] = {}
        self._folder, self._vocab_size, self._max_tokens = folder, vocab_size, max_tokens_per_file
        self._sentences = sentences
        self._splits = {name: _SplitFiles(folder, name, vocab_size) for name in SPLITS}

    def add(self, ids: np.ndarray, *, split: Split = "train", text_bytes: int = 0) -> None:
        """Writes one document."""
        self.add_documents(ids, np.array([0, len(ids)]), np.array([text_bytes]), split=split)

    def add_documents(
        self,
        ids: np.ndarray,
        offsets: np.ndarray,
        text_bytes: np.ndarray,
        *,
        split: Split = "train",
        sentences: SentenceTable | None = None,
    ) -> None:
        """Writes documents that lie one after the other in `ids`: document i is ids[offsets[i]:offsets[i + 1]].

        Args:
            text_bytes: the UTF-8 length of each document's text.
            sentences: where they lie in `ids`; for a writer of sentences, and for no other.
        """
        assert (sentences is not None) == self._sentences, "a writer of sentences takes them with all documents"
        assert sentences is None or sentences.fits(offsets), "sentences outside their documents"
        assert len(offsets) == len(text_bytes) + 1
        assert len(ids) == offsets[-1]
        assert len(ids) == 0 or (ids.min() >= 0 and ids.max() < self._vocab_size), "an id outside the vocabulary"
        files = self._splits[split]
        if files.tokens and files.tokens + len(ids) > self._max_tokens:
            files.end_file()
        files.write(ids, offsets, text_bytes, sentences)

    def close(self, about: Mapping[str, Any]) -> None:
        """Ends the files and writes the manifest, headed by `about`."""
        splits: dict[str, Any] = {}
        for name, split in self._splits.items():
            split.end_file()
            self.counts[name] = SplitCounts(
                files=len(split.entries),
                tokens=sum(entry["tokens"] for entry in split.entries),
                documents=sum(entry["documents"] for entry in split.entries),
                text_bytes=sum(entry["text_bytes"] for entry in split.entries),
            )
            splits[name] = split.entries
        write_json(self._folder / MANIFEST, {**about, "splits": splits})

    def abandon(self) -> None:
        """Closes what is still open."""
        for split in self._splits.values():
            split.abandon()


class _SplitFiles:
    """The files of one split, one of them open."""

    def __init__(self, folder: Path, name: str, vocab_size: int) -> None:
        self.entries: list[dict[str, Any]] = []
        self.tokens = 0
        self._folder, self._name, self._vocab_size = folder, name, vocab_size
        self._dtype = dtype_for(vocab_size)
        self._file: IO[bytes] | None = None

    def write(
        self, ids: np.ndarray, offsets: np.ndarray, text_bytes: np.ndarray, sentences: SentenceTable | None
    ) -> None:
        if self._file is None:
            self._begin_file()
            assert self._file is not None
        data = ids.astype(np.dtype(self._dtype).newbyteorder("<")).data
        self._file.write(data)
        self._sum.update(data)
        self._starts.append(offsets[:-1].astype("<i8") + self.tokens)
        self._bytes.append(text_bytes.astype("<i8"))
        if sentences is not None:
            self._sentences.append(sentences.moved(self.tokens))
        self.tokens += len(ids)

    def end_file(self) -> None:
        """Closes the open file, if there is one, with its document table, header and trailer."""
        if self._file is None:
            return
        documents = np.concatenate(self._starts).tobytes() + np.concatenate(self._bytes).tobytes()
        table = joined(self._sentences) if self._sentences else None
        sentences = b"" if table is None else _little_endian(table.counts) + _little_endian(table.bounds)
        header = FileHeader(
            dtype=self._dtype,
            tokens=self.tokens,
            documents=len(documents) // 16,
            text_bytes=int(sum(part.sum() for part in self._bytes)),
            vocab_size=self._vocab_size,
            tokens_sha256=self._sum.hexdigest(),
            documents_sha256=hashlib.sha256(documents).hexdigest(),
            sentences=None if table is None else table.num_sentences,
            sentences_sha256=None if table is None else hashlib.sha256(sentences).hexdigest(),
        )
        block = header_block(header)
        self._file.write(bytes(-header.tokens_end % ALIGNMENT) + documents + sentences + trailer(block))
        self._file.seek(0)
        self._file.write(block)
        self._file.close()
        self._file = None
        self.entries.append(
            {
                "name": self._file_name(),
                "tokens": header.tokens,
                "documents": header.documents,
                "text_bytes": header.text_bytes,
                "header_sha256": hashlib.sha256(block).hexdigest(),
            }
        )
        self.tokens = 0

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()

    def _begin_file(self) -> None:
        self._file = open(self._folder / self._file_name(), "wb")  # noqa: SIM115  the folder is a temporary one
        self._file.write(bytes(HEADER_BYTES))
        self._sum = hashlib.sha256()
        self._starts: list[np.ndarray] = []
        self._bytes: list[np.ndarray] = []
        self._sentences: list[SentenceTable] = []

    def _file_name(self) -> str:
        return f"{self._name}-{len(self.entries):05d}.tokens"


def _little_endian(numbers: np.ndarray) -> bytes:
    return numbers.astype("<i8").tobytes()
