"""The encoder of each model, for pieces that are already normalised and split."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from textmill.errors import FormatError
from textmill.tokenizers.models import (
    BpeModel,
    CharacterBpeModel,
    Kind,
    Model,
    UnigramModel,
    WordPieceModel,
    WordsModel,
)

if TYPE_CHECKING:
    from textmill.ops.character_bpe import CharacterBpeEncoder
    from textmill.ops.unigram.encode import UnigramEncoder

_KIND_NUMBERS: dict[Kind, int] = {
    "normal": 1,
    "unknown": 2,
    "control": 3,
    "user_defined": 4,
    "unused": 5,
    "byte": 6,
}
"""The numbers of the kinds, as in a sentencepiece model and in `ops`."""


class PieceEncoder(Protocol):
    """Encodes pieces that tile a padded uint8 buffer: they end at start + ends[0], start + ends[1], ..."""

    def encode(self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None, /) -> np.ndarray:
        """int32 ids."""
        ...

    def encode_with_ends(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None, /
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, int32 byte after each token, from start)."""
        ...

    def clone(self) -> Self:
        """One with the same tables, for another thread."""
        ...


def piece_encoder(model: Model, vocab_size: int) -> PieceEncoder:
    """The model's encoder. Kernels load on first use, those of this model alone.

    Raises:
        FormatError: the model has no token by the name of its unknown token.
    """
    match model:
        case BpeModel():
            from textmill.tokenizers.engine import bpe_encoder

            return bpe_encoder(model, vocab_size)
        case CharacterBpeModel():
            return character_bpe_encoder(model)
        case WordPieceModel():
            from textmill.ops.wordpiece import WordPieceEncoder

            unknown_id(model.tokens, model.unknown)
            return WordPieceEncoder(
                model.tokens, unknown=model.unknown, prefix=model.prefix, longest_word=model.longest_word
            )
        case UnigramModel():
            return unigram_encoder(model)
        case WordsModel():
            from textmill.ops.words import WordEncoder

            tokens = {word.encode("utf-8", "surrogatepass"): id for word, id in model.tokens.items() if word}
            return WordEncoder(tokens, unknown=unknown_id(model.tokens, model.unknown))


def unknown_id(tokens: Mapping[str, int], unknown: str | None) -> int | None:
    """The id of the unknown token, if the model has one.

    Raises:
        FormatError: it is not in the vocabulary.
    """
    if unknown is not None and unknown not in tokens:
        raise FormatError(f"the unknown token {unknown!r} is not in the vocabulary", fix="add it to the vocabulary")
    return None if unknown is None else tokens[unknown]


def unigram_encoder(model: UnigramModel) -> "UnigramEncoder":
    """The encoder of a Unigram model."""
    from textmill.ops.unigram.encode import UnigramEncoder

    kinds = [_KIND_NUMBERS[model.kinds.get(id, "normal")] for id in range(len(model.pieces))]
    return UnigramEncoder(
        model.pieces,
        unknown=model.unknown,
        byte_fallback=model.byte_fallback,
        kinds=kinds if model.kinds else None,
        precision=model.precision,
    )


def character_bpe_encoder(model: CharacterBpeModel) -> "CharacterBpeEncoder":
    """The encoder of a character-level BPE model.

    Raises:
        FormatError: the ids of a sentencepiece model have a hole, or its unknown token is missing.
    """
    from textmill.ops.character_bpe import CharacterBpeEncoder

    unknown = unknown_id(model.tokens, model.unknown)
    if model.merges is not None:
        return CharacterBpeEncoder.from_merges(
            model.tokens,
            model.merges,
            unknown=model.unknown,
            fuse_unknown=model.fuse_unknown,
            byte_fallback=model.byte_fallback,
            prefix=model.prefix,
            suffix=model.suffix,
            whole_pieces=model.whole_pieces,
        )
    by_id = sorted(model.tokens, key=model.tokens.__getitem__)
    if [model.tokens[token] for token in by_id] != list(range(len(by_id))) or unknown is None:
        raise FormatError("the ids of a vocabulary with scores must be 0, 1, 2, ..., one of them the unknown token's")
    return CharacterBpeEncoder.from_scores(
        [(token, model.scores.get(token, 0.0)) for token in by_id],
        unknown=unknown,
        byte_fallback=model.byte_fallback,
        kinds=[_KIND_NUMBERS[model.kinds.get(token, "normal")] for token in by_id],
    )
