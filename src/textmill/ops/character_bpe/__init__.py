"""BPE whose smallest symbols are characters: words as in `tokenizers`, whole sentences as in SentencePiece."""

from textmill.ops.character_bpe.encode import OUT_SLACK, CharacterBpeEncoder
from textmill.ops.character_bpe.kinds import PieceKind

__all__ = ["OUT_SLACK", "CharacterBpeEncoder", "PieceKind"]
