"""The definition of a word vocabulary: a piece is a token as it stands, or it is unknown."""

from collections.abc import Mapping, Sequence


def encode(pieces: Sequence[bytes], tokens: Mapping[bytes, int], unknown: int) -> list[int]:
    """The id of each piece.

    >>> encode([b"a", b"b"], {b"a": 7}, 0)
    [7, 0]
    """
    return [tokens.get(piece, unknown) for piece in pieces]
