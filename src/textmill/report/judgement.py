"""What pages and tables about tokenizers show, as plain values."""

from dataclasses import dataclass
from typing import Literal

from textmill.metrics.tokens import TextFigures

CellKind = Literal["text", "part", "unknown", "special"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One token of a text. The cells' texts joined are the text."""

    id: int
    spelling: str
    """As in the vocabulary."""
    text: str
    """The characters that begin in this token; "" for the rest of a character that is spread over tokens."""
    data: bytes
    """What the id stands for."""
    start: int
    """First byte of the text that is this token's, blanks before it included."""
    end: int
    """Byte after its last."""
    kind: CellKind = "text"
    """part: it holds only a part of a character, or is the token of a byte."""
    differs: bool = False
    """Another tokenizer has no token at this place with this end."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How good a tokenizer is on a text."""

    name: str
    algorithm: str
    vocab_size: int
    figures: TextFigures
    never_used: int
    unreachable: int
    """Tokens that no text is encoded to."""
    unreachable_examples: tuple[str, ...]
    megabytes_per_second: float
    """Of encoding, on one thread, the second time over the text. A megabyte is 10^6 bytes."""
    vocabulary_groups: dict[str, int]
    """Tokens of the vocabulary by group of characters."""
    length_counts: tuple[int, ...]
    """Entry n holds how many tokens of the vocabulary have n bytes."""
    rank_counts: tuple[tuple[int, int], ...]
    """(rank, occurrences) of some tokens, evenly spread over the logarithm of the rank."""
    longest: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Tokenizers on the same text."""

    text: str
    """Names the text."""
    num_bytes: int
    judgements: tuple[Judgement, ...]
    samples: tuple[tuple[tuple[Cell, ...], ...], ...]
    """For each sample line, the cells of each tokenizer."""
