"""Which tokens a model must guess, and what stands in their place: masked-language-model data, made as it is read.

`mask_tokens` (or a `Masker`, for many batches) hides tokens by `MaskingRules`. `WordMatcher` finds the words of a
script that writes no spaces. Both stand beside their definition in `reference`. All randomness comes from one key for
each row: the same key, the same masks.
"""

from textmill.ops.masking.cpu import Masked, Masker, mask_tokens
from textmill.ops.masking.rules import (
    BEGINS,
    CONTINUES,
    SPECIAL,
    MaskingRules,
    geometric_lengths,
    harmonic_lengths,
    row_keys,
)
from textmill.ops.masking.words import WordMatcher

__all__ = [
    "BEGINS",
    "CONTINUES",
    "SPECIAL",
    "Masked",
    "Masker",
    "MaskingRules",
    "WordMatcher",
    "geometric_lengths",
    "harmonic_lengths",
    "mask_tokens",
    "row_keys",
]
