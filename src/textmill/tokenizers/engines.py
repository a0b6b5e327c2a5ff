"""Text to ids for every kind of pipeline: `engine_of` chooses.

    byte-level BPE after one pattern          PatternEngine: kernels on the text's bytes
    BERT's normaliser, split and WordPiece    WordPieceEngine: one pass over the text as it is
    a sentencepiece model                     SentencePieceEngine: the sentence normalised by a kernel, words cached
    everything else                           StepsEngine: step by step, with the model's encoder at the end

An engine gets the text between two added tokens. Spans are bytes of that text. Every thread, and every forked process,
works in memory of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from textmill.errors import ConfigError
from textmill.ops.bpe import TokenBytes
from textmill.ops.split import BLOCK_PIECES
from textmill.tokenizers.decoding import Decoder
from textmill.tokenizers.encoders import PieceEncoder, character_bpe_encoder, piece_encoder, unigram_encoder
from textmill.tokenizers.engine import Workspace, bpe_encoder
from textmill.tokenizers.flat import EncoderPool
from textmill.tokenizers.models import (
    BpeModel,
    CharacterBpeModel,
    Kind,
    Model,
    UnigramModel,
    WordPieceModel,
    WordsModel,
)
from textmill.tokenizers.pipeline import Buffer, Pipeline
from textmill.tokenizers.steps import BertNormalizer, BertSplit, DecodeByteLevel, SentencePiece

_SEED_STEP = 0x9E3779B97F4A7C15
Spans = tuple[np.ndarray, np.ndarray, np.ndarray]
"""int32 ids, int64 first byte of each token, int64 byte after its last."""


class Noise(NamedTuple):
    """Regularisation: the ids that one draw of the lots gives, instead of the best ones."""

    seed: int
    dropout: float | None = None
    """BPE-dropout and MaxMatch-dropout: the probability with which a merge or a match is passed over."""
    alpha: float | None = None
    """Unigram: a segmentation is drawn with its probability to the power of alpha."""


def check_noise(model: Model, noise: Noise) -> None:
    """Checks that the model can draw, and takes the settings that are given.

    Raises:
        ConfigError: a setting is missing, or the model has no use for it.
    """
    if isinstance(model, WordsModel):
        raise ConfigError("sampling of whole words is not possible", fix="use dropout=0.1 with bpe or wordpiece")
    needed, unused = ("alpha", "dropout") if isinstance(model, UnigramModel) else ("dropout", "alpha")
    kind = "unigram" if isinstance(model, UnigramModel) else "wordpiece" if isinstance(model, WordPieceModel) else "bpe"
    if getattr(noise, needed) is None:
        raise ConfigError(f"sampling from a {kind} model needs {needed}", fix=f"use {needed}=0.1")
    if getattr(noise, unused) is not None:
        raise ConfigError(
            f"{unused} has no meaning for a {kind} model, got {getattr(noise, unused)}", fix="leave it out"
        )


class Place(NamedTuple):
    """Where a text stands, and how it is to be encoded."""

    first: bool
    """Neither text nor an added token stands before it."""
    allow_special: bool
    """Special tokens may be looked for in it."""
    noise: Noise | None = None


class Engine(Protocol):
    """Encodes the text between two added tokens."""

    def encode(self, data: Buffer, place: Place, /) -> list[np.ndarray]:
        """int32 ids, in blocks."""
        ...

    def encode_with_spans(self, data: Buffer, place: Place, /) -> Spans:
        """The ids, and for each the bytes of `data` it came from."""
        ...


@runtime_checkable
class DocumentEngine(Protocol):
    """An engine that knows a faster way for many texts."""

    def encode_documents(
        self, documents: Sequence[Buffer], place: Place, threads: int, /
    ) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all documents, int64 offsets): document i has ids[offsets[i]:offsets[i + 1]]."""
        ...


def engine_of(pipeline: Pipeline) -> Engine:
    """The engine that suits the pipeline. Each loads on first use, with the kernels it needs.

    Raises:
        FormatError: the vocabulary contradicts itself.
        NotSupportedError: a splitting pattern that libraries read differently.
    """
    model, vocab_size = pipeline.matched_model, pipeline.vocab_size
    after_normalisation = any(token.normalized for token in pipeline.added)
    if isinstance(model, BpeModel) and pipeline.byte_level_split is not None:
        workspace = Workspace(pipeline, bpe_encoder(model, vocab_size))
        if not pipeline.normalizers and not after_normalisation:
            return PatternEngine(workspace)
        from textmill.tokenizers.steps_engine import NormalizedPatternEngine

        return NormalizedPatternEngine(pipeline, workspace)
    if not after_normalisation:
        match model, pipeline.normalizers, pipeline.splits:
            case WordPieceModel(), (BertNormalizer() as step,), (BertSplit(),):
                from textmill.tokenizers.wordpiece_engine import WordPieceEngine, bert_encoder

                return WordPieceEngine(bert_encoder(model, step))
            case UnigramModel() | CharacterBpeModel(), (SentencePiece() as normalizer,), ():
                from textmill.tokenizers.sentencepiece_engine import SentencePieceEngine, sentencepiece_normalizer

                encoder = unigram_encoder(model) if isinstance(model, UnigramModel) else character_bpe_encoder(model)
                return SentencePieceEngine(encoder, sentencepiece_normalizer(normalizer))
    from textmill.tokenizers.steps_engine import StepsEngine

    return StepsEngine(pipeline, piece_encoder(model, vocab_size))


def decoder_of(pipeline: Pipeline) -> TokenBytes | Decoder:
    """What turns ids back into text: bytes by a table where that is all there is to it."""
    if isinstance(pipeline.model, BpeModel) and pipeline.decoders == (DecodeByteLevel(),):
        return TokenBytes(pipeline.token_bytes)
    kinds: dict[int, Kind] = {}
    if isinstance(pipeline.model, UnigramModel):
        kinds = dict(pipeline.model.kinds)
    elif isinstance(pipeline.model, CharacterBpeModel):
        kinds = {pipeline.model.tokens[token]: kind for token, kind in pipeline.model.kinds.items()}
    added = {token.id: token.content for token in pipeline.added}
    return Decoder(pipeline.strings, pipeline.decoders, added=added, kinds=kinds)


class PatternEngine:
    """Byte-level BPE whose pieces one pattern finds: kernels on the bytes of the text."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._pool = EncoderPool(workspace.another)

    def encode(self, data: Buffer, place: Place, /) -> list[np.ndarray]:
        buffer = self.workspace.buffer(data)
        if place.noise is None:
            return self.workspace.encode(buffer, 0, len(data))
        return pattern_draw(self.workspace, buffer, len(data), place.noise)

    def encode_documents(
        self, documents: Sequence[Buffer], _place: Place, threads: int, /
    ) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all documents, int64 offsets)."""
        return self.workspace.encode_documents(documents, self._pool, threads)

    def encode_with_spans(self, data: Buffer, _place: Place, /) -> Spans:
        return pattern_spans(self.workspace, data)


def pattern_spans(workspace: Workspace, data: Buffer) -> Spans:
    """Tokens that tile the text, and where they stand."""
    buffer = workspace.buffer(data)
    ids, ends = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.int64)]
    for block_ids, block_ends in workspace.encode_with_ends(buffer, 0, len(data)):
        ids.append(block_ids)
        ends.append(block_ends)
    all_ends = np.concatenate(ends)
    return np.concatenate(ids), starts_of(all_ends), all_ends


def pattern_draw(workspace: Workspace, buffer: np.ndarray, size: int, noise: Noise) -> list[np.ndarray]:
    """The ids of one draw, in blocks."""
    ends = np.empty(BLOCK_PIECES, dtype=np.int32)
    blocks = workspace.splitter.blocks(buffer, 0, size, ends)
    return [draw(workspace.encoder, buffer, origin, block, noise) for origin, block in blocks]


def draw(encoder: PieceEncoder, buffer: np.ndarray, start: int, ends: np.ndarray, noise: Noise) -> np.ndarray:
    """int32: ids of the pieces, drawn; see `Noise`, which `check_noise` has seen.

    Raises:
        ConfigError: a setting that is out of range.
    """
    from textmill.ops.unigram.encode import UnigramEncoder
    from textmill.ops.unigram.lattice import UnigramLattice

    # the same words elsewhere are drawn anew
    seed = (noise.seed * _SEED_STEP + start) % (1 << 64)
    if isinstance(encoder, UnigramEncoder):
        assert noise.alpha is not None
        return UnigramLattice(encoder.tables).sample(buffer, start, ends, alpha=noise.alpha, seed=seed)[0]
    assert hasattr(encoder, "encode_with_dropout")
    found = encoder.encode_with_dropout(buffer, start, ends, probability=noise.dropout, seed=seed)
    return found[0] if isinstance(found, tuple) else found


def starts_of(ends: np.ndarray) -> np.ndarray:
    """int64: where tokens that tile a text begin, if they end there."""
    return np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])[: len(ends)]


def joined_ids(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """int32: the ids of one block after the other."""
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=np.int32)


def joined_spans(rows: Sequence[Spans]) -> Spans:
    """The spans of one text after the other."""
    if not rows:
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    ids, starts, ends = zip(*rows, strict=True)
    return np.concatenate(ids), np.concatenate(starts), np.concatenate(ends)
