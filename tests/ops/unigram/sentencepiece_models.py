"""Unigram models of `sentencepiece`, made from lists of pieces, and read from files."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import sentencepiece

from textmill.ops.unigram.encode import UnigramEncoder
from textmill.ops.unigram.vocabulary import Kind, UnigramVocabulary

pytest.importorskip("google.protobuf")
from sentencepiece import sentencepiece_model_pb2 as protocol

UNIGRAM = 1

Pieces = Sequence[tuple[str, float]]


def peer_of(
    pieces: Pieces, kinds: Sequence[int], *, byte_fallback: bool = False
) -> sentencepiece.SentencePieceProcessor:
    """The processor of these pieces, which normalises nothing but writes blanks as ▁."""
    model = protocol.ModelProto()
    for (piece, score), kind in zip(pieces, kinds, strict=True):
        model.pieces.add(piece=piece, score=score, type=int(kind))
    model.trainer_spec.model_type = UNIGRAM
    model.trainer_spec.byte_fallback = byte_fallback
    model.trainer_spec.unk_id = list(kinds).index(Kind.UNKNOWN)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def vocabulary_of(path: Path) -> UnigramVocabulary:
    model = protocol.ModelProto()
    model.ParseFromString(path.read_bytes())
    return UnigramVocabulary.build(
        [(piece.piece, piece.score) for piece in model.pieces],
        unknown=model.trainer_spec.unk_id,
        byte_fallback=model.trainer_spec.byte_fallback,
        kinds=[piece.type for piece in model.pieces],
    )


def encoder_of(path: Path) -> UnigramEncoder:
    return UnigramEncoder.from_vocabulary(vocabulary_of(path))
