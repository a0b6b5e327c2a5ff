"""What a Unigram vocabulary means: which pieces may be chosen, with which score, and what stands for the rest.

Two libraries made the rules, and their files do not say so: `sentencepiece` (precision "float32") and `tokenizers`
(precision "float64"). Both search for the segmentation with the largest sum of scores. They differ in the numbers
they add, and so in the winner among segmentations whose sums are equal or nearly so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Self

import numpy as np

from textmill.errors import ConfigError

Precision = Literal["float32", "float64"]

UNKNOWN_PENALTY = 10.0
"""An unknown character scores this much less than the worst piece, in both libraries."""

BLANK = "▁".encode()
"""How a blank is written in normalised text: U+2581."""

_RESET = 100_000.0
# larger ones would leave no digits for the others
_LARGEST_SCORE = 1e30
_MAX_ID = (1 << 31) - 1


class Kind(IntEnum):
    """What a piece is for; the numbers are those of a SentencePiece `.model` file."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, kw_only=True)
class UnigramVocabulary:
    """The pieces that a segmentation may use, as the search sees them. Made by `build`."""

    ids: dict[bytes, int]
    """The id of each piece that may be chosen."""
    scores: dict[bytes, float]
    """The number that the search adds for it."""
    unknown: int | None
    """What an unknown character becomes."""
    unknown_score: float
    """What the search adds for an unknown character."""
    byte_ids: tuple[int, ...]
    """The id of each byte, -1 where there is none; empty without byte fallback."""
    precision: Precision
    reset: float
    """Where the distance of the running score from 0 is larger, the search takes that score from all it has."""
    longest: int
    """Bytes of the longest piece that may be chosen."""
    size: int
    """How many ids there are, with those that are never chosen."""

    @classmethod
    def build(
        cls,
        pieces: Sequence[tuple[str, float]],
        *,
        unknown: int | None,
        byte_fallback: bool = False,
        kinds: Sequence[int] | None = None,
        precision: Precision = "float32",
    ) -> Self:
        """From (piece, score) by id.

        kinds: a `Kind` for each piece. Only normal and user-defined pieces may be chosen, and only normal ones count
        for the worst score. Without it every piece is normal, as in `tokenizers`; of equal pieces the
        last one counts.

        >>> vocabulary = UnigramVocabulary.build([("<unk>", 0.0), ("a", -1.5)], unknown=0)
        >>> vocabulary.unknown_score, vocabulary.ids[b"a"]
        (-11.5, 1)

        Raises:
            ConfigError: a score that is no finite number, kinds of another length, an unknown id that is no piece's,
                or, with kinds, two equal pieces.
        """
        if kinds is not None and len(kinds) != len(pieces):
            raise ConfigError(f"{len(pieces)} pieces need as many kinds, got {len(kinds)}", fix="give each piece one")
        if unknown is not None and not 0 <= unknown < len(pieces):
            raise ConfigError(
                f"the unknown id must be that of one of {len(pieces)} pieces, got {unknown}", fix="check the vocabulary"
            )
        values = np.array([score for _, score in pieces], dtype=np.float64)
        wrong = np.flatnonzero(~(np.abs(values) < _LARGEST_SCORE))
        if len(wrong):
            raise ConfigError(
                f"a score must be a finite number, got {values[wrong[0]]} for {pieces[wrong[0]][0]!r}",
                fix="check the vocabulary",
            )
        if precision == "float32":
            values = values.astype(np.float32).astype(np.float64)
        kind_of = [Kind.NORMAL] * len(pieces) if kinds is None else _kinds(kinds, unknown)
        normal = values[np.array(kind_of, dtype=np.int64) == Kind.NORMAL]
        worst = float(normal.min()) if len(normal) else 0.0
        unknown_score = worst - UNKNOWN_PENALTY
        if precision == "float32":
            unknown_score = float(np.float32(unknown_score))
        ids: dict[bytes, int] = {}
        scores: dict[bytes, float] = {}
        for number, ((piece, _), kind) in enumerate(zip(pieces, kind_of, strict=True)):
            if kind not in (Kind.NORMAL, Kind.USER_DEFINED):
                continue
            content = _encoded(piece)
            if kinds is not None and content in ids:
                raise ConfigError(f"the piece {piece!r} stands twice in the vocabulary", fix="leave one of them out")
            if content:
                ids[content] = number
                value = float(values[number])
                scores[content] = value if kind == Kind.NORMAL else _user_defined_score(content)
        return cls(
            ids=ids,
            scores=scores,
            unknown=unknown,
            unknown_score=unknown_score,
            byte_ids=_byte_ids(pieces, kind_of, kinds is not None) if byte_fallback else (),
            precision=precision,
            reset=_RESET if precision == "float32" else float("inf"),
            longest=max(map(len, ids), default=0),
            size=len(pieces),
        )


def _kinds(kinds: Sequence[int], unknown: int | None) -> list[Kind]:
    try:
        named = {kind: Kind(kind) for kind in set(kinds)}
    except ValueError as error:
        raise ConfigError(f"a kind must be in 1..6: {error}", fix="see Kind") from error
    kind_of = [named[kind] for kind in kinds]
    if unknown is not None and kind_of[unknown] == Kind.BYTE:
        raise ConfigError(f"the unknown id {unknown} is that of a byte", fix="check the vocabulary")
    return kind_of


def _user_defined_score(content: bytes) -> float:
    """At least 0, and the more the longer: chosen before any pieces whose scores are below 0.

    Source: `sentencepiece` 0.2.3, which takes the length in bytes and computes in float32.
    """
    return float(np.float32(0.1) * np.float32(len(content) - 1))


def _byte_ids(pieces: Sequence[tuple[str, float]], kind_of: Sequence[Kind], marked: bool) -> tuple[int, ...]:
    """marked: bytes are the pieces of kind BYTE; otherwise whatever reads <0x00> to <0xFF>."""
    names = {f"<0x{value:02X}>": value for value in range(256)}
    byte_ids = [-1] * 256
    for number, ((piece, _), kind) in enumerate(zip(pieces, kind_of, strict=True)):
        if piece in names and (kind == Kind.BYTE or not marked):
            byte_ids[names[piece]] = number
    return tuple(byte_ids)


def _encoded(piece: str) -> bytes:
    try:
        return piece.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"a piece must be valid Unicode, got {piece!r}", fix="remove the surrogate") from error
