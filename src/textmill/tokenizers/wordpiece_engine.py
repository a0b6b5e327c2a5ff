"""The engine of BERT's tokenizers: one pass over the text as it is."""

import threading
from collections.abc import Sequence

import numpy as np

from textmill.ops.memory import padded
from textmill.ops.wordpiece import BertEncoder, BertRules
from textmill.tokenizers.encoders import unknown_id
from textmill.tokenizers.engine import check_size
from textmill.tokenizers.engines import Place, Spans
from textmill.tokenizers.group_encoding import DocumentGroups
from textmill.tokenizers.models import WordPieceModel
from textmill.tokenizers.pipeline import Buffer
from textmill.tokenizers.steps import BertNormalizer


class WordPieceEngine(threading.local):
    """BERT's normaliser and split, and WordPiece."""

    def __init__(self, encoder: BertEncoder) -> None:
        self._encoder = encoder.clone()
        self._groups = DocumentGroups(self._encoder, encoder.clone)

    def encode(self, data: Buffer, place: Place, /) -> list[np.ndarray]:
        check_size(data)
        if place.noise is None:
            return [self._encoder.encode(padded(data), 0, len(data))]
        seed, probability, _ = place.noise
        assert probability is not None
        return [self._encoder.encode_with_dropout(padded(data), 0, len(data), probability=probability, seed=seed)]

    def encode_documents(
        self, documents: Sequence[Buffer], _place: Place, threads: int, /
    ) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids of all documents, int64 offsets)."""
        return self._groups.encode(documents, threads)

    def encode_with_spans(self, data: Buffer, _place: Place, /) -> Spans:
        check_size(data)
        return self._encoder.encode_with_spans(padded(data), 0, len(data))


def bert_encoder(model: WordPieceModel, step: BertNormalizer) -> BertEncoder:
    """The encoder of the model behind BERT's normaliser.

    Raises:
        FormatError: the model has no token by the name of its unknown token.
    """
    unknown_id(model.tokens, model.unknown)
    rules = BertRules(
        clean_text=step.clean_text,
        chinese=step.isolate_chinese,
        strip_accents=step.strip_accents,
        lowercase=step.lowercase,
    )
    return BertEncoder(
        model.tokens, unknown=model.unknown, prefix=model.prefix, longest_word=model.longest_word, rules=rules
    )
