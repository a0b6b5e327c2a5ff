"""Text to ids for every kind of pipeline: `engine_of` chooses.

    byte-level BPE after one pattern          PatternEngine: kernels on the text's bytes
    BERT's normaliser, split and WordPiece    WordPieceEngine: one pass over the text as it is
    a sentencepiece model                     SentencePieceEngine: the sentence normalised by a kernel, words cached
    everything else                           StepsEngine: step by step, with the model's encoder at the end

An engine gets the text between two added tokens. Spans are bytes of that text. Every thread, and every forked process,
works in memory of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from textmill.tokenizers.encoders import character_bpe_encoder, piece_encoder, unigram_encoder
from textmill.tokenizers.engine import Workspace, bpe_encoder
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, UnigramModel, WordPieceModel
from textmill.tokenizers.pipeline import Buffer, Pipeline
from textmill.tokenizers.steps import BertNormalizer, BertSplit, SentencePiece

Spans = tuple[np.ndarray, np.ndarray, np.ndarray]
"""int32 ids, int64 first byte of each token, int64 byte after its last."""


class Place(NamedTuple):
    """Where a text stands."""

    first: bool
    """Neither text nor an added token stands before it."""
    allow_special: bool
    """Special tokens may be looked for in it."""


class Engine(Protocol):
    """Encodes the text between two added tokens."""

    def encode(self, data: Buffer, place: Place, /) -> list[np.ndarray]:
        """int32 ids, in blocks."""
        ...

    def encode_with_spans(self, data: Buffer, place: Place, /) -> Spans:
        """The ids, and for each the bytes of `data` it came from."""
        ...


def engine_of(pipeline: Pipeline) -> Engine:
    """The engine that suits the pipeline. Each loads on first use, with the kernels it needs.

    Raises:
        FormatError: the vocabulary contradicts itself.
        NotSupportedError: a splitting pattern that libraries read differently.
    """
    model, vocab_size = pipeline.model, len(pipeline.strings)
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


class PatternEngine:
    """Byte-level BPE whose pieces one pattern finds: kernels on the bytes of the text."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def encode(self, data: Buffer, _place: Place, /) -> list[np.ndarray]:
        return self.workspace.encode(self.workspace.buffer(data), 0, len(data))

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


def starts_of(ends: np.ndarray) -> np.ndarray:
    """int64: where tokens that tile a text begin, if they end there."""
    return np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])[: len(ends)]


def joined_spans(rows: Sequence[Spans]) -> Spans:
    """The spans of one text after the other."""
    if not rows:
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    ids, starts, ends = zip(*rows, strict=True)
    return np.concatenate(ids), np.concatenate(starts), np.concatenate(ends)
