"""The engine for any pipeline: normalise, split, encode, one step after the other.

Nearly all steps run on the text's bytes in kernels. The others run on Python strings, by their definitions in
`normalizing.py` and `splitting.py`.
"""

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from textmill.ops.bpe import OUT_SLACK, BpeEncoder, FlatIds
from textmill.ops.memory import padded
from textmill.ops.split.reference import byte_offsets
from textmill.tokenizers.added import AddedTokenFinder
from textmill.tokenizers.byte_normalizing import ByteNormalizer
from textmill.tokenizers.byte_splitting import byte_splitter
from textmill.tokenizers.encoders import PieceEncoder
from textmill.tokenizers.engine import MOST_BYTES, Workspace, check_size
from textmill.tokenizers.engines import Place, Spans, draw, joined_spans, pattern_draw, pattern_spans, starts_of
from textmill.tokenizers.flat import GROUP_BYTES, EncoderPool
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.normalizing import normalize, normalize_aligned
from textmill.tokenizers.pipeline import TEXT, Buffer, Part, Pipeline
from textmill.tokenizers.splitting import Pieces, split

_MANY_BYTES = 1 << 28
_NO_IDS = np.empty(0, dtype=np.int32)


class StepsEngine(threading.local):
    """Runs the steps one after the other, with the model's encoder at the end."""

    def __init__(self, pipeline: Pipeline, encoder: PieceEncoder) -> None:
        self._pipeline = pipeline
        self._encoder = encoder.clone()
        self._normalized = ByteNormalizer(pipeline.normalizers)
        # bytes are what a byte-level model takes; others know them by their characters
        self._byte_characters = not isinstance(pipeline.model, BpeModel)
        self._splitter = byte_splitter(pipeline.splits, byte_characters=self._byte_characters)
        normalized = [token for token in pipeline.added if token.normalized]
        contents = [normalize(token.content, pipeline.normalizers) for token in normalized]
        moved = [dataclasses.replace(token, content=text) for token, text in zip(normalized, contents, strict=True)]
        self._finder = AddedTokenFinder(moved) if moved else None
        # only a character-level encoder knows whether words may go one by one
        apart = bool(getattr(self._encoder, "cuts_at_blanks", False))
        self._words_apart = apart and self._splitter is not None and not self._splitter.cuts
        self._together_bytes = GROUP_BYTES

    def encode(self, data: Buffer, place: Place, /) -> list[np.ndarray]:
        check_size(data)
        normal = self._normalized(data)
        return self._encode_parts(normal, self._parts(normal, place.allow_special), place)

    def encode_documents(
        self, documents: Sequence[Buffer], place: Place, threads: int, /
    ) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all documents, int64 offsets). Short documents are encoded together."""
        blocks, counts = [np.empty(0, dtype=np.int32)], [np.zeros(1, dtype=np.int64)]
        waiting: list[Buffer] = []
        size = 0

        def encode_waiting() -> None:
            if waiting:
                ids, offsets = self._encode_texts(waiting, place, threads)
                blocks.append(ids)
                counts.append(np.diff(offsets))
                waiting.clear()

        for document in documents:
            check_size(document)
            normal = self._normalized(document)
            parts = self._parts(normal, place.allow_special)
            whole = not parts or parts == [(0, len(normal), TEXT)]
            if not whole or size + len(normal) > self._together_bytes:
                encode_waiting()
                size = 0
            if whole:
                waiting.append(normal)
                size += len(normal)
            else:
                found = self._encode_parts(normal, parts, place)
                blocks += found
                counts.append(np.array([sum(map(len, found))], dtype=np.int64))
        encode_waiting()
        return np.concatenate(blocks), np.cumsum(np.concatenate(counts))

    def encode_with_spans(self, data: Buffer, place: Place, /) -> Spans:
        check_size(data)
        normal = self._normalized(data)
        rows = []
        for start, stop, id in self._parts(normal, place.allow_special):
            if id == TEXT:
                ids, starts, ends = self._encode_part_with_spans(normal[start:stop], place.first and start == 0)
                rows.append((ids, starts + start, ends + start))
            else:
                rows.append((np.array([id], dtype=np.int32), np.array([start]), np.array([stop])))
        found = joined_spans(rows)
        return found if normal == data else self._in_source(data, found)

    def _parts(self, normal: Buffer, allow_special: bool) -> list[Part]:
        """The normalised text, cut at the added tokens."""
        if self._finder is None:
            return [(0, len(normal), TEXT)] if normal else []
        return self._finder.cut(normal, 0, len(normal), allow_special=allow_special)

    def _encode_parts(self, normal: Buffer, parts: Sequence[Part], place: Place) -> list[np.ndarray]:
        blocks = []
        for start, stop, id in parts:
            if id == TEXT:
                part = Place(place.first and start == 0, place.allow_special, place.noise)
                blocks += self._encode_part(normal[start:stop], part)
            else:
                blocks.append(np.array([id], dtype=np.int32))
        return blocks

    def _in_source(self, data: Buffer, found: Spans) -> Spans:
        """Spans of the normalised text as spans of the text."""
        text = _decoded(data)
        normal, starts_in_source, ends_in_source = normalize_aligned(text, self._pipeline.normalizers)
        ids, starts, ends = found
        return ids, *_traced(text, normal, starts, ends, starts_in_source, ends_in_source)

    def _encode_part(self, part: Buffer, place: Place, /) -> list[np.ndarray]:
        if self._splitter is None:
            buffer, ends = _in_bytes(self._split(_decoded(part), place.first))
        else:
            pieces = self._splitter(padded(part), _one_end(part), first=place.first)
            buffer, ends = pieces.buffer, self._with_words(pieces.buffer, pieces.ends)
        if place.noise is not None:
            return [draw(self._encoder, buffer, 0, ends, place.noise)]
        return [self._encoder.encode(buffer, 0, ends)]

    def _encode_texts(self, texts: Sequence[Buffer], place: Place, _threads: int) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all texts, int64 offsets)."""
        sizes = np.cumsum([0, *map(len, texts)])
        if self._splitter is None or not self._splitter.is_local or sizes[-1] > MOST_BYTES:
            rows = [np.concatenate([_NO_IDS, *self._encode_part(text, place)]) if text else _NO_IDS for text in texts]
            return np.concatenate(rows), np.cumsum([0, *map(len, rows)])
        ends = np.unique(sizes[sizes > 0]).astype(np.int32)
        pieces = self._splitter(padded(b"".join(texts)), ends, first=place.first)
        cuts = self._with_words(pieces.buffer, pieces.ends)
        # where each text ends, empty ones where the one before does: in the buffer, then in the pieces
        text_ends = np.concatenate([[0], pieces.text_ends])[np.searchsorted(ends, sizes, side="right")]
        marks = np.searchsorted(cuts, text_ends, side="right")
        if isinstance(self._encoder, BpeEncoder):
            into = FlatIds(len(pieces.buffer))
            offsets = self._encoder.encode_flat(pieces.buffer, 0, cuts, marks, into)
            return into.take(), offsets
        encoder: Any = self._encoder
        if not hasattr(encoder, "cuts_at_blanks"):
            ids, token_ends = encoder.encode_with_ends(pieces.buffer, 0, cuts)
            return ids, np.searchsorted(token_ends, text_ends, side="right")
        # this one does without its cache where it notes ends
        ids, offsets = np.empty(len(pieces.buffer) + OUT_SLACK, dtype=np.int32), np.zeros(len(sizes), dtype=np.int64)
        for number, start in enumerate(text_ends[:-1].tolist()):
            written, own = int(offsets[number]), cuts[marks[number] : marks[number + 1]] - np.int32(start)
            count = encoder.encode_into(pieces.buffer, start, own, None, ids[written:]) if len(own) else 0
            offsets[number + 1] = written + count
        return ids[: offsets[-1]].copy(), offsets

    def _with_words(self, buffer: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The pieces cut where words begin, if that changes no id: words are found in the encoder's cache."""
        if not self._words_apart or not len(ends):
            return ends
        words = self._encoder.boundaries(buffer, 0, int(ends[-1]))  # type: ignore[attr-defined]
        places = np.searchsorted(words, ends)
        lacking = words[places] != ends
        return np.insert(words, places[lacking], ends[lacking]) if lacking.any() else words

    def _encode_part_with_spans(self, part: Buffer, first: bool, /) -> Spans:
        if self._splitter is None:
            text = _decoded(part)
            pieces = self._split(text, first)
            buffer, piece_ends = _in_bytes(pieces)
            ids, token_ends = self._encoder.encode_with_ends(buffer, 0, piece_ends)
            ends = token_ends.astype(np.int64)
            starts = starts_of(ends)
            if pieces.starts_in_source is None or pieces.ends_in_source is None:
                return ids, starts, ends
            return ids, *_traced(text, pieces.text, starts, ends, pieces.starts_in_source, pieces.ends_in_source)
        found = self._splitter(padded(part), _one_end(part), first=first, sources=True)
        ids, token_ends = self._encoder.encode_with_ends(found.buffer, 0, self._with_words(found.buffer, found.ends))
        ends = token_ends.astype(np.int64)
        starts = starts_of(ends)
        return (ids, starts, ends) if found.sources is None else (ids, *_located(part, starts, ends, found.sources))

    def _split(self, text: str, first: bool) -> Pieces:
        return split(text, self._pipeline.splits, first=first, byte_characters=self._byte_characters)


class NormalizedPatternEngine(StepsEngine):
    """Byte-level BPE after a normaliser and one pattern: kernels on the bytes of the normalised text."""

    def __init__(self, pipeline: Pipeline, workspace: Workspace) -> None:
        super().__init__(pipeline, workspace.encoder)
        self._workspace = workspace
        self._pool = EncoderPool(workspace.another)
        self._together_bytes = _MANY_BYTES

    def _encode_part(self, part: Buffer, place: Place, /) -> list[np.ndarray]:
        buffer = self._workspace.buffer(part)
        if place.noise is not None:
            return pattern_draw(self._workspace, buffer, len(part), place.noise)
        return self._workspace.encode(buffer, 0, len(part))

    def _encode_texts(self, texts: Sequence[Buffer], _place: Place, threads: int) -> tuple[np.ndarray, np.ndarray]:
        return self._workspace.encode_documents(texts, self._pool, threads)

    def _encode_part_with_spans(self, part: Buffer, _first: bool, /) -> Spans:
        return pattern_spans(self._workspace, part)


def _decoded(data: Buffer) -> str:
    return str(data, "utf-8", "surrogateescape")


def _one_end(data: Buffer) -> np.ndarray:
    return np.array([len(data)] if data else [], dtype=np.int32)


def _in_bytes(pieces: Pieces) -> tuple[np.ndarray, np.ndarray]:
    """(padded buffer, int32 ends) of pieces whose ends count characters."""
    data = pieces.text.encode("utf-8", "surrogateescape")
    ends = pieces.ends if len(data) == len(pieces.text) else byte_offsets(pieces.text)[pieces.ends]
    return padded(data), ends.astype(np.int32)


def _located(data: Buffer, starts: np.ndarray, ends: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spans of the whole characters of the data that the bytes from starts to ends came from, by their sources."""
    if len(starts) == 0:
        return starts, ends
    first = sources[starts].astype(np.int64)
    last = sources[np.maximum(ends - 1, starts)].astype(np.int64)
    if bytes(data).isascii():
        return first, last + 1
    places = byte_offsets(_decoded(data))
    return places[np.searchsorted(places, first, side="right") - 1], places[np.searchsorted(places, last, side="right")]


def _traced(
    source: str,
    text: str,
    starts: np.ndarray,
    ends: np.ndarray,
    starts_in_source: np.ndarray,
    ends_in_source: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Spans in bytes of `source`, given in bytes of `text`, each of whose characters comes from a range of `source`.

    A span reaches from the character that holds its first byte to the one that holds its last.
    """
    if len(starts) == 0:
        return starts, ends
    places = byte_offsets(text)
    first = np.searchsorted(places, starts, side="right") - 1
    last = np.searchsorted(places, np.maximum(ends - 1, starts), side="right") - 1
    last = np.minimum(last, len(text) - 1)
    in_source = byte_offsets(source)
    return in_source[starts_in_source[np.minimum(first, len(text) - 1)]], in_source[ends_in_source[last]]
