"""What each algorithm knows, as plain data: a vocabulary and the rule by which a piece of text becomes tokens."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

Kind = Literal["normal", "unknown", "control", "user_defined", "unused", "byte"]
"""sentencepiece's kinds of pieces."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BpeModel:
    """Byte-level BPE: a vocabulary and the order in which pairs merge."""

    tokens: Mapping[bytes, int]
    """Id of each token, special and added ones apart."""
    merges: Sequence[tuple[bytes, bytes]] | None
    """Pairs, the first to be merged first. None: tiktoken's rule, the pair whose union has the lowest id."""
    whole_pieces: bool = False
    """A piece that is a token is that token, whatever its merges would give (`ignore_merges`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharacterBpeModel:
    """BPE that starts from characters, as published by Sennrich et al. and as sentencepiece does it."""

    tokens: Mapping[str, int]
    """Id of each token as it is spelled in the vocabulary, byte tokens `<0x00>` and the unknown token included."""
    merges: Sequence[tuple[str, str]] | None
    """Pairs, the first to be merged first. None: sentencepiece's rule, the pair whose union has the highest score."""
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Score of each token, where `merges` is None."""
    kinds: Mapping[str, Kind] = dataclasses.field(default_factory=dict)
    """Of the tokens that are not normal ones, where `merges` is None."""
    unknown: str | None = None
    fuse_unknown: bool = False
    """Neighbouring unknown characters become one unknown token."""
    byte_fallback: bool = False
    """A character that is no token becomes the tokens of its bytes, if all of them are there."""
    prefix: str = ""
    """Spelled before every symbol of a piece but the first (`continuing_subword_prefix`)."""
    suffix: str = ""
    """Spelled after the last symbol of a piece (`end_of_word_suffix`)."""
    whole_pieces: bool = False
    """A piece that is a token is that token, whatever its merges would give (`ignore_merges`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordPieceModel:
    """WordPiece: the longest token that fits, again and again."""

    tokens: Mapping[str, int]
    """Id of each token as it is spelled in the vocabulary, the unknown token included."""
    unknown: str = "[UNK]"
    prefix: str = "##"
    """Spelled before every token of a word but the first."""
    longest_word: int = 100
    """A word of more characters is unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnigramModel:
    """A unigram language model over pieces: the segmentation of highest probability."""

    pieces: Sequence[tuple[str, float]]
    """(piece, natural log probability), by id."""
    unknown: int | None = None
    """Id of the unknown token."""
    byte_fallback: bool = False
    kinds: Mapping[int, Kind] = dataclasses.field(default_factory=dict)
    """Of the ids that are not normal pieces."""
    precision: Literal["float32", "float64"] = "float64"
    """float32: sums of log probabilities are rounded as in sentencepiece, which decides near-ties; float64: as in
    `tokenizers`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordsModel:
    """A token for each word (or character): a piece is looked up as it stands."""

    tokens: Mapping[str, int]
    unknown: str | None = None


Model = BpeModel | CharacterBpeModel | WordPieceModel | UnigramModel | WordsModel


def tokens_of(model: Model) -> Mapping[str, int]:
    """Id of each token by its spelling in the vocabulary; byte-level tokens in the byte-level alphabet."""
    from textmill.tokenizers.byte_level import to_characters

    if isinstance(model, BpeModel):
        return dict(zip(map(to_characters, model.tokens), model.tokens.values(), strict=True))
    if isinstance(model, UnigramModel):
        # of pieces that stand twice the first one counts, as in sentencepiece
        ids = range(len(model.pieces) - 1, -1, -1)
        return dict(zip([piece for piece, _ in reversed(model.pieces)], ids, strict=True))
    return model.tokens
