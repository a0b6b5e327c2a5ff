"""What masking depends on beside the tokens: shares, the vocabulary's kinds of ids, lengths of runs, keys."""

from typing import NamedTuple

import numpy as np

from textmill.errors import ConfigError
from textmill.ops.permutation import mixed
from textmill.ops.permutation.reference import GOLDEN

BEGINS, CONTINUES, SPECIAL = 0, 1, 2
"""Kinds of ids: it begins a word; it continues the word before it; it is never masked and never drawn."""

NO_LIMIT = 1 << 62


class MaskingRules(NamedTuple):
    """How `mask_tokens` chooses tokens and what it writes over them. The defaults are BERT's."""

    kinds: np.ndarray
    """uint8 [vocabulary]: BEGINS, CONTINUES or SPECIAL for each id."""
    mask_id: int
    """Written over a token that is hidden; where nothing is (a mask share of 0), any id."""
    fraction: float = 0.15
    """The share of a row's tokens to predict."""
    max_predictions: int = NO_LIMIT
    """No more than so many in a row."""
    mask_share: float = 0.8
    """The probability that the mask is written over a chosen token."""
    random_share: float = 0.1
    """The probability that a random id is, drawn evenly from those that are not special. Else the token stays."""
    whole_words: bool = False
    """A word is chosen with all its tokens, or not at all."""
    run_lengths: np.ndarray = np.ones(1)
    """float64, ascending to 1: entry n - 1 is the probability that a chosen run has at most n words."""
    one_fate: bool = False
    """Mask, random or kept is drawn once for a run; a random id is still drawn for each token."""
    everywhere: bool = False
    """Every token that is not special is predicted, and each becomes a random id with probability `fraction`."""

    def checked(self) -> "MaskingRules":
        """The same with the types that the kernel is compiled for.

        Raises:
            ConfigError: a share outside [0, 1], shares above 1 together, a mask outside the vocabulary, no id to draw.
        """
        for name in ("fraction", "mask_share", "random_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} must be from 0 to 1, got {getattr(self, name)}", fix="BERT uses 0.15, 0.8, 0.1"
                )
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ConfigError(
                f"mask_share and random_share must be at most 1 together, got {self.mask_share} and"
                f" {self.random_share}",
                fix="BERT uses 0.8 and 0.1",
            )
        if self.max_predictions < 0:
            raise ConfigError(f"max_predictions must be at least 0, got {self.max_predictions}", fix="BERT uses 20")
        kinds = np.ascontiguousarray(self.kinds, np.uint8)
        lengths = np.ascontiguousarray(self.run_lengths, np.float64)
        assert kinds.ndim == lengths.ndim == 1
        assert len(lengths) >= 1
        if not 0 <= self.mask_id < len(kinds):
            raise ConfigError(
                f"mask_id must be an id of the vocabulary, 0 to {len(kinds) - 1}, got {self.mask_id}",
                fix="give the id of the tokenizer's [MASK] or <mask>",
            )
        if len(kinds) >= 1 << 32:
            raise ConfigError(f"the vocabulary must have fewer than 2**32 ids, got {len(kinds)}")
        draws = self.everywhere or self.random_share > 0
        if draws and (kinds == SPECIAL).all():
            raise ConfigError("every id is special, so no random id can be drawn", fix="name fewer special ids")
        return MaskingRules(
            kinds,
            int(self.mask_id),
            float(self.fraction),
            min(int(self.max_predictions), NO_LIMIT),
            float(self.mask_share),
            float(self.random_share),
            bool(self.whole_words),
            lengths,
            bool(self.one_fate),
            bool(self.everywhere),
        )

    def specials(self) -> np.ndarray:
        """int64: the ids that are never masked or drawn, ascending."""
        return np.flatnonzero(self.kinds == SPECIAL)


def harmonic_lengths(longest: int) -> np.ndarray:
    """Run lengths 1 to `longest` with p(n) in proportion to 1/n, as `MaskingRules.run_lengths`.

    Source: Lan et al. 2019, ALBERT, section 4.1, with longest = 3.

    >>> harmonic_lengths(3).round(4).tolist()  # 6/11, 3/11, 2/11 added up
    [0.5455, 0.8182, 1.0]
    """
    return _added_up(1 / np.arange(1, _at_least_one(longest) + 1))


def geometric_lengths(longest: int, p: float = 0.2) -> np.ndarray:
    """Run lengths 1 to `longest` with p(n) in proportion to p (1 - p)^(n - 1), as `MaskingRules.run_lengths`.

    Source: Joshi et al. 2020, SpanBERT, section 3.1, with longest = 10, whose mean length is 3.8.

    >>> shares = np.diff(geometric_lengths(10), prepend=0)
    >>> round(float(shares @ np.arange(1, 11)), 2)
    3.8
    """
    if not 0 < p < 1:
        raise ConfigError(f"p of a geometric length must be above 0 and below 1, got {p}", fix="SpanBERT uses 0.2")
    return _added_up((1 - p) ** np.arange(_at_least_one(longest)))


def row_keys(seed: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """uint64: `mixed(seed, epoch, number)` for each number, the key of that sequence's masks.

    >>> row_keys(1, 2, np.array([3])).tolist() == [mixed(1, 2, 3)]
    True
    """
    value = np.asarray(numbers).astype(np.uint64) + np.uint64((mixed(seed, epoch) + GOLDEN) & ((1 << 64) - 1))
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _added_up(weights: np.ndarray) -> np.ndarray:
    sums = np.cumsum(weights / weights.sum())
    sums[-1] = 1.0
    return sums


def _at_least_one(longest: int) -> int:
    if longest < 1:
        raise ConfigError(
            f"the longest run must have at least 1 word, got {longest}", fix="use 3 (ALBERT) or 10 (SpanBERT)"
        )
    return longest
