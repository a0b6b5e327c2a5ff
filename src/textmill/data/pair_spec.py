"""How sentence pairs are made: the settings alone, for commands that show them without loading anything heavy."""

from dataclasses import dataclass
from typing import Literal

from textmill.errors import ConfigError

KINDS = ("next_sentence", "sentence_order")


@dataclass(frozen=True, kw_only=True)
class PairSpec:
    """Settings of `PairBatches`. The defaults are those of BERT's program."""

    kind: Literal["next_sentence", "sentence_order"] = "next_sentence"
    """next_sentence: B follows A or comes from another document, as in BERT. sentence_order: A and B follow one
    another, in this order or the other way round, as in ALBERT."""
    short_probability: float = 0.1
    """The probability that a document is cut into shorter sequences, all of one random length."""
    dupe_factor: int = 10
    """How many different copies of the corpus's pairs there are: epoch e has those of copy e mod dupe_factor."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}", fix="use next_sentence")
        if not 0 <= self.short_probability <= 1:
            raise ConfigError(
                f"short_probability must be from 0 to 1, got {self.short_probability}", fix="BERT uses 0.1"
            )
        if self.dupe_factor < 1:
            raise ConfigError(f"dupe_factor must be at least 1, got {self.dupe_factor}", fix="BERT uses 10")
