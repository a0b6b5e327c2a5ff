"""How tokens are masked: the settings alone, for commands that show them without loading anything heavy."""

from dataclasses import dataclass
from typing import Literal

from textmill.errors import ConfigError

Unit = Literal["token", "whole_word", "ngram", "span", "replaced"]
UNITS = ("token", "whole_word", "ngram", "span", "replaced")
LONGEST_RUNS = {"ngram": 3, "span": 10}
"""Words in the longest run, as in ALBERT and SpanBERT."""


@dataclass(frozen=True, kw_only=True)
class MaskingSpec:
    """Settings of `MaskedBatches`. The defaults are BERT's choice of tokens with RoBERTa's fresh masks.

    >>> MaskingSpec(unit="span").longest
    10
    """

    unit: Unit = "token"
    """What is chosen at once. token: single tokens, as in BERT. whole_word: words with all their tokens. ngram: 1 to
    `longest_run` words, n of them with probability in proportion to 1/n, as in ALBERT and MacBERT. span: geometric
    lengths, and the whole span is masked, random or kept, as in SpanBERT. replaced: every token is predicted, and each
    becomes a random one with probability `fraction`, as a discriminator such as ELECTRA's needs it."""
    fraction: float = 0.15
    """The share of a sequence's tokens to predict; of `replaced`, to replace."""
    max_predictions: int | None = None
    """No more than so many in a sequence; BERT's program has 20 for 128 tokens. None: no limit."""
    mask_share: float = 0.8
    """The probability that the mask is written over a chosen token."""
    random_share: float = 0.1
    """The probability that a random token is. Else the token stays."""
    longest_run: int | None = None
    """Words in the longest n-gram or span. None: 3 and 10."""
    sequences: Literal["documents", "full"] = "documents"
    """documents: each document is cut into equal pieces, and none shares a sequence with another. full: the documents
    one after the other are cut into windows, as RoBERTa's full sentences."""
    copies: int = 0
    """0: fresh masks in every epoch. k: epoch e has the masks of epoch e mod k, as when BERT writes k of them."""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ConfigError(f"unit must be one of {', '.join(UNITS)}, got {self.unit!r}", fix="use token")
        if self.sequences not in ("documents", "full"):
            raise ConfigError(f"sequences must be documents or full, got {self.sequences!r}", fix="use documents")
        for name in ("fraction", "mask_share", "random_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} must be from 0 to 1, got {getattr(self, name)}", fix="BERT uses 0.15, 0.8 and 0.1"
                )
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ConfigError(
                f"mask_share and random_share must be at most 1 together, got {self.mask_share} and"
                f" {self.random_share}",
                fix="BERT uses 0.8 and 0.1",
            )
        for name, least in (("max_predictions", 0), ("longest_run", 1), ("copies", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}", fix=f"set {name} to {least} or more")
        if self.longest_run is not None and self.unit not in LONGEST_RUNS:
            raise ConfigError(f"longest_run is of ngram and span, not of unit={self.unit}", fix="leave it out")

    @property
    def longest(self) -> int:
        """Words in the longest run: 1 for units that are no runs."""
        return self.longest_run or LONGEST_RUNS.get(self.unit, 1)
