r"""The splitters that are rules rather than published patterns, as `tokenizers` 0.23 has them.

They are written as patterns of the table machine, with two properties of its own: `\p{Word}` is `\w` of Rust's regex
engine, `\p{Punctuation}` what `tokenizers` takes for punctuation. Other libraries don't know these names, so the
patterns stay within textmill; a tokenizer.json names the rule.
"""

import dataclasses

from textmill.ops.split.classes import NEW_NUMBERS


@dataclasses.dataclass(frozen=True)
class Plain:
    pattern: str
    drops_gaps: bool = False
    """Whether only matches are kept; what lies between them, white space, is in no token."""


_NUMBERS = r"[\p{N}" + "".join(f"{chr(first)}-{chr(last)}" for first, last in NEW_NUMBERS) + "]"

PLAIN = {
    # `Whitespace`: words, and runs of what is neither word nor white space
    "whitespace": Plain(r"\p{Word}+|[^\p{Word}\s]+", drops_gaps=True),
    # `WhitespaceSplit`
    "whitespace_split": Plain(r"\S+", drops_gaps=True),
    # `BertPreTokenizer`: each punctuation mark alone, and the runs between
    "bert": Plain(r"\p{Punctuation}|[^\s\p{Punctuation}]+", drops_gaps=True),
    # `Punctuation`
    "punctuation": Plain(r"\p{Punctuation}"),
    # `Digits`: runs of numbers, or each alone (`individual_digits`)
    "digits": Plain(_NUMBERS + "+"),
    "single_digits": Plain(_NUMBERS),
    # `Metaspace`: a piece begins at each blank, which may be written as U+2581
    "metaspace": Plain(r"[ \u2581][^ \u2581]*|[^ \u2581]+"),
    # each code point, and no splitting at all
    "characters": Plain(r"[\s\S]"),
    "whole": Plain(r"[\s\S]+"),
}
