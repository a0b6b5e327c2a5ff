"""The engine of sentencepiece models: a text is one sentence, normalised by a kernel, whose words are cached."""

import threading
from collections.abc import Sequence

import numpy as np

from textmill.errors import NotSupportedError
from textmill.ops.character_bpe import CharacterBpeEncoder
from textmill.ops.memory import padded
from textmill.ops.normalize import SentencePieceNormalizer, read_charsmap
from textmill.ops.normalize.reference import BlankRules
from textmill.ops.unigram.encode import UnigramEncoder
from textmill.ops.unigram.lattice import UnigramLattice
from textmill.tokenizers.engine import check_size
from textmill.tokenizers.engines import Place, Spans, draw
from textmill.tokenizers.group_encoding import GROUP_BYTES, DocumentGroups
from textmill.tokenizers.pipeline import Buffer
from textmill.tokenizers.steps import SentencePiece

_MOST_KEPT_BYTES = 8 * GROUP_BYTES


class SentencePieceEngine(threading.local):
    """A sentencepiece normaliser and its model."""

    def __init__(self, encoder: UnigramEncoder | CharacterBpeEncoder, normalizer: SentencePieceNormalizer) -> None:
        self._encoder = encoder.clone()
        self._normalizer = normalizer
        self._groups = DocumentGroups(
            _GroupEncoder(self._encoder, normalizer), lambda: _GroupEncoder(encoder.clone(), normalizer)
        )

    def encode(self, data: Buffer, place: Place, /) -> list[np.ndarray]:
        check_size(data)
        buffer, length, _ = self._normalizer(padded(data), len(data))
        ends = self._pieces(buffer, length)
        if place.noise is not None:
            return [draw(self._encoder, buffer, 0, ends, place.noise)]
        return [self._encoder.encode(buffer, 0, ends)]

    def encode_documents(
        self, documents: Sequence[Buffer], _place: Place, threads: int, /
    ) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all documents, int64 offsets)."""
        return self._groups.encode(documents, threads)

    def n_best(self, data: Buffer, n: int) -> list[tuple[float, list[int]]]:
        """(score, ids) of the n best segmentations, the best first.

        Raises:
            NotSupportedError: the model has no scores of segmentations.
        """
        if not isinstance(self._encoder, UnigramEncoder):
            raise NotSupportedError("the n best segmentations of a model that is not unigram", fix="use encode")
        check_size(data)
        buffer, length, _ = self._normalizer(padded(data), len(data))
        return UnigramLattice(self._encoder.tables).n_best(buffer[:length].tobytes(), n)

    def encode_with_spans(self, data: Buffer, _place: Place, /) -> Spans:
        check_size(data)
        buffer, length, sources = self._normalizer(padded(data), len(data), sources=True)
        assert sources is not None
        ids, ends = self._encoder.encode_with_ends(buffer, 0, self._pieces(buffer, length))
        bounds = np.zeros(len(ends) + 1, dtype=np.int64)
        bounds[1:] = ends
        # a byte token may end inside a character; offsets are those of whole characters
        inside = np.flatnonzero((buffer[bounds] & 0xC0) == 0x80)
        while len(inside):
            bounds[inside] -= 1
            inside = inside[(buffer[bounds[inside]] & 0xC0) == 0x80]
        origins = sources[bounds].astype(np.int64)
        return ids, origins[:-1], origins[1:]

    def _pieces(self, buffer: np.ndarray, length: int) -> np.ndarray:
        if isinstance(self._encoder, CharacterBpeEncoder):
            return self._encoder.boundaries(buffer, 0, length)
        return np.array([length] if length else [], dtype=np.int32)


class _GroupEncoder:
    """One thread's encoder of many documents, and the memory that they are normalised into."""

    def __init__(self, encoder: UnigramEncoder | CharacterBpeEncoder, normalizer: SentencePieceNormalizer) -> None:
        self._encoder = encoder
        self._normalizer = normalizer
        self._normalized = np.empty(0, dtype=np.uint8)

    def encode_group(self, text: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids, int64 how many each document has)."""
        buffer, ends = self._normalizer.documents(text, bounds, self._normalized)
        if len(buffer) <= _MOST_KEPT_BYTES:
            self._normalized = buffer
        # documents that have become empty are no pieces
        used = np.diff(ends, prepend=0) > 0
        counts = np.zeros(len(ends), dtype=np.int64)
        ids, counts[used] = self._encoder.encode_sentences(buffer, ends[used].astype(np.int32))
        return ids, counts


def sentencepiece_normalizer(step: SentencePiece) -> SentencePieceNormalizer:
    """The kernel's launcher for the step.

    Raises:
        FormatError: the table of replacements is damaged.
    """
    blanks = BlankRules(
        dummy_prefix=step.dummy_prefix,
        squeeze_blanks=step.squeeze_blanks,
        escape_blanks=step.escape_blanks,
        blank_as_suffix=step.blank_as_suffix,
    )
    return SentencePieceNormalizer(read_charsmap(step.charsmap), blanks, step.user_defined)
