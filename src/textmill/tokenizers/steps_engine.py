"""The engine for any pipeline: normalise, split, encode, one step after the other."""

import dataclasses
import threading

import numpy as np

from textmill.ops.memory import padded
from textmill.ops.split.reference import byte_offsets
from textmill.tokenizers.added import AddedTokenFinder
from textmill.tokenizers.encoders import PieceEncoder
from textmill.tokenizers.engine import Workspace, check_size
from textmill.tokenizers.engines import Place, Spans, draw, joined_spans, pattern_draw, pattern_spans, starts_of
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.normalizing import normalize, normalize_aligned
from textmill.tokenizers.pipeline import TEXT, Buffer, Pipeline
from textmill.tokenizers.splitting import Pieces, split
from textmill.tokenizers.steps import Form


class StepsEngine(threading.local):
    """Runs the steps one after the other, with the model's encoder at the end."""

    def __init__(self, pipeline: Pipeline, encoder: PieceEncoder) -> None:
        self._pipeline = pipeline
        self._encoder = encoder.clone()
        self._ascii_stays = all(isinstance(step, Form) for step in pipeline.normalizers)
        normalized = [token for token in pipeline.added if token.normalized]
        contents = [normalize(token.content, pipeline.normalizers) for token in normalized]
        moved = [dataclasses.replace(token, content=text) for token, text in zip(normalized, contents, strict=True)]
        self._finder = AddedTokenFinder(moved)

    def encode(self, data: Buffer, place: Place, /) -> list[np.ndarray]:
        check_size(data)
        normal = self._normalized(data)
        blocks = []
        for start, stop, id in self._finder.cut(normal, 0, len(normal), allow_special=place.allow_special):
            if id == TEXT:
                part = Place(place.first and start == 0, place.allow_special, place.noise)
                blocks += self._encode_part(normal[start:stop], part)
            else:
                blocks.append(np.array([id], dtype=np.int32))
        return blocks

    def encode_with_spans(self, data: Buffer, place: Place, /) -> Spans:
        check_size(data)
        normal = self._normalized(data)
        rows = []
        for start, stop, id in self._finder.cut(normal, 0, len(normal), allow_special=place.allow_special):
            if id == TEXT:
                ids, starts, ends = self._encode_part_with_spans(normal[start:stop], place.first and start == 0)
                rows.append((ids, starts + start, ends + start))
            else:
                rows.append((np.array([id], dtype=np.int32), np.array([start]), np.array([stop])))
        found = joined_spans(rows)
        return found if normal == data else self._in_source(data, found)

    def _normalized(self, data: Buffer) -> Buffer:
        """The text in its normal form. Bytes that are not UTF-8 stay what they are."""
        if not self._pipeline.normalizers or (self._ascii_stays and bytes(data).isascii()):
            return data
        return normalize(_decoded(data), self._pipeline.normalizers).encode("utf-8", "surrogateescape")

    def _in_source(self, data: Buffer, found: Spans) -> Spans:
        """Spans of the normalised text as spans of the text."""
        text = _decoded(data)
        normal, starts_in_source, ends_in_source = normalize_aligned(text, self._pipeline.normalizers)
        ids, starts, ends = found
        return ids, *_traced(text, normal, starts, ends, starts_in_source, ends_in_source)

    def _encode_part(self, part: Buffer, place: Place, /) -> list[np.ndarray]:
        buffer, ends = _in_bytes(self._split(_decoded(part), place.first))
        if place.noise is not None:
            return [draw(self._encoder, buffer, 0, ends, place.noise)]
        return [self._encoder.encode(buffer, 0, ends)]

    def _encode_part_with_spans(self, part: Buffer, first: bool, /) -> Spans:
        text = _decoded(part)
        pieces = self._split(text, first)
        buffer, piece_ends = _in_bytes(pieces)
        ids, token_ends = self._encoder.encode_with_ends(buffer, 0, piece_ends)
        ends = token_ends.astype(np.int64)
        starts = starts_of(ends)
        if pieces.starts_in_source is None or pieces.ends_in_source is None:
            return ids, starts, ends
        return ids, *_traced(text, pieces.text, starts, ends, pieces.starts_in_source, pieces.ends_in_source)

    def _split(self, text: str, first: bool) -> Pieces:
        # bytes are what a byte-level model takes; others know them by their characters
        characters = not isinstance(self._pipeline.model, BpeModel)
        return split(text, self._pipeline.splits, first=first, byte_characters=characters)


class NormalizedPatternEngine(StepsEngine):
    """Byte-level BPE after a normaliser and one pattern: kernels on the bytes of the normalised text."""

    def __init__(self, pipeline: Pipeline, workspace: Workspace) -> None:
        super().__init__(pipeline, workspace.encoder)
        self._workspace = workspace

    def _encode_part(self, part: Buffer, place: Place, /) -> list[np.ndarray]:
        buffer = self._workspace.buffer(part)
        if place.noise is not None:
            return pattern_draw(self._workspace, buffer, len(part), place.noise)
        return self._workspace.encode(buffer, 0, len(part))

    def _encode_part_with_spans(self, part: Buffer, _first: bool, /) -> Spans:
        return pattern_spans(self._workspace, part)


def _decoded(data: Buffer) -> str:
    return str(data, "utf-8", "surrogateescape")


def _in_bytes(pieces: Pieces) -> tuple[np.ndarray, np.ndarray]:
    """(padded buffer, int32 ends) of pieces whose ends count characters."""
    data = pieces.text.encode("utf-8", "surrogateescape")
    ends = pieces.ends if len(data) == len(pieces.text) else byte_offsets(pieces.text)[pieces.ends]
    return padded(data), ends.astype(np.int32)


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
