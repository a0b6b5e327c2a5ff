"""The kinds of pieces in a SentencePiece model."""

from enum import IntEnum


class PieceKind(IntEnum):
    """What a piece is for; the numbers are those of the model file."""

    NORMAL = 1
    """Made by merging."""
    UNKNOWN = 2
    """Stands for characters that are no piece."""
    CONTROL = 3
    """Never comes from text."""
    USER_DEFINED = 4
    """Found in the text before merging, and never merged."""
    UNUSED = 5
    """Made by merging, and then taken apart again; a single character of this kind is unknown."""
    BYTE = 6
    """<0x00> to <0xFF>: one byte of a character that is no piece."""
