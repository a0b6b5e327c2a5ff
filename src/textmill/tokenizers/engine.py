"""Bytes to ids for one pipeline: the model's encoder, and a thread's own working memory."""

import operator
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from textmill.errors import DataError
from textmill.ops.bpe import BpeEncoder, FlatIds
from textmill.ops.memory import PADDING, padded
from textmill.ops.split import splitter
from textmill.tokenizers.flat import DocumentEncoder, EncoderPool, encode_documents
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.pipeline import Buffer, Pipeline

MOST_BYTES = (1 << 31) - 1 - PADDING
"""The longest text: offsets inside a block are 32-bit numbers."""
_OWN_TEXT_BYTES = 1 << 16
_ZEROS = bytes(PADDING)
_NO_BYTE = "give valid UTF-8 text; if it is, use a vocabulary that has all the bytes"


def check_size(data: Buffer) -> None:
    """Checks that offsets in the text fit into 32 bits.

    Raises:
        DataError: longer than `MOST_BYTES`.
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"a text may have at most {MOST_BYTES} bytes, got {len(data)}", fix="cut it into documents")


def bpe_encoder(model: BpeModel, vocab_size: int) -> BpeEncoder:
    """The encoder of a byte-level BPE model. A byte without a token gets an id from `vocab_size` on."""
    if model.merges is None:
        return BpeEncoder.from_ranks(model.tokens)
    ids = model.tokens
    byte_ids = np.array([ids.get(bytes([byte]), vocab_size + byte) for byte in range(256)], dtype=np.int32)
    merges = np.empty((len(model.merges), 3), dtype=np.int32)
    lefts, rights = [pair[0] for pair in model.merges], [pair[1] for pair in model.merges]
    for column, tokens in enumerate((lefts, rights, map(operator.add, lefts, rights))):
        merges[:, column] = np.fromiter(map(ids.__getitem__, tokens), np.int32, len(merges))
    return BpeEncoder.from_merges(byte_ids, merges, ids if model.whole_pieces else None)


class Workspace(threading.local):
    """The memory that one thread encodes in; small texts allocate nothing but their result.

    Each thread, and each forked process, works on its own clone of the encoder, so none waits for another's lock.
    """

    def __init__(self, pipeline: Pipeline, encoder: BpeEncoder) -> None:
        split = pipeline.byte_level_split
        assert split is not None
        assert isinstance(pipeline.model, BpeModel)
        self.splitter = splitter(split)
        self.vocab_size = pipeline.vocab_size
        self.lacks_bytes = any(bytes([byte]) not in pipeline.model.tokens for byte in range(256))
        self.encoder = encoder
        self.text = np.zeros(_OWN_TEXT_BYTES + PADDING, dtype=np.uint8)
        # the same memory: filling a slice of a view costs a third of what it costs in an array
        self._view = self.text.data
        self.flat = DocumentEncoder(self.splitter, self.encoder)

    def buffer(self, data: Buffer) -> np.ndarray:
        """The data as a padded buffer: the thread's own if it fits, good until the next call.

        Raises:
            DataError: longer than `MOST_BYTES`.
        """
        check_size(data)
        size = len(data)
        if size > _OWN_TEXT_BYTES:
            return padded(data)
        self._view[:size] = data
        self._view[size : size + PADDING] = _ZEROS
        return self.text

    def another(self) -> DocumentEncoder:
        """An encoder for another thread."""
        return DocumentEncoder(self.splitter, self.encoder)

    def encode(self, buffer: np.ndarray, start: int, stop: int) -> list[np.ndarray]:
        """int32 ids of `buffer[start:stop]`, in blocks."""
        into = FlatIds(stop - start)
        self.flat.encode_text(buffer, np.array([start, stop], dtype=np.int64), into)
        return [self._checked(into.take())]

    def encode_documents(
        self, documents: Sequence[Buffer], pool: EncoderPool, threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all documents, int64 offsets); see `flat.encode_documents`."""
        if documents:
            check_size(max(documents, key=len))
        ids, offsets = encode_documents(documents, self.flat, pool, threads=threads)
        return self._checked(ids), offsets

    def encode_with_ends(self, buffer: np.ndarray, start: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(int32 ids, int64 byte at which each token ends, in the buffer), a block at a time."""
        for ids in self.encode(buffer, start, stop):
            yield ids, self.encoder.bounds(ids)[1:].astype(np.int64) + start

    def byte_spans(self, data: Buffer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(int32 ids, int32 first byte of each token, int32 byte after its last). The tokens tile the data."""
        (ids,) = self.encode(self.buffer(data), 0, len(data))
        bounds = self.encoder.bounds(ids)
        return ids, bounds[:-1], bounds[1:]

    def character_spans(self, data: Buffer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(int32 ids, int32 starts, int32 ends): token i has a byte of each of the characters starts[i] to ends[i] - 1.

        In a text of ASCII alone the two arrays share their memory.
        """
        if isinstance(data, bytes) and data.isascii():
            return self.byte_spans(data)
        (ids,) = self.encode(self.buffer(data), 0, len(data))
        return ids, *self.encoder.character_spans(ids)

    def _checked(self, ids: np.ndarray) -> np.ndarray:
        """The ids, if every byte had a token.

        Raises:
            DataError: one hadn't. Many vocabularies leave out the bytes that valid UTF-8 never has. (`tokenizers` drops
                such a byte, or puts the unknown token in its place; textmill loses nothing in silence.)
        """
        if self.lacks_bytes and len(ids) and int(ids.max()) >= self.vocab_size:
            byte = int(ids.max()) - self.vocab_size
            raise DataError(f"the vocabulary has no token for byte 0x{byte:02X}", fix=_NO_BYTE)
        return ids
