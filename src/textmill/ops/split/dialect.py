"""Regular expressions that mean the same to every library that may run them.

A splitting pattern travels in a tokenizer.json, where `tokenizers` gives it to Oniguruma; tiktoken gives it to a Rust
engine, and textmill to the `regex` module. What the three read differently would change ids in silence.
"""

import re

from textmill.errors import NotSupportedError

_UNITS = re.compile(r"\\[pP]\{[^}]*\}|\\.|\(\?[a-zA-Z-]+|\{\d*,?\d*\}\+|\[:\^?\w+:\]|\[\^?\]?|&&|.", re.DOTALL)
# \w and \b differ in marks and joiners, $ and \Z in where a text ends; the others belong to single dialects
_ESCAPES = set("wWbBhHNOZGKpP")


def check_portable(pattern: str) -> None:
    r"""Checks that no part of the pattern is known to differ between the libraries.

    >>> check_portable(r"[^\r\n\p{L}]?\p{L}+|(?i:'s)|\s+(?!\S)")

    Raises:
        NotSupportedError: a part does.
    """
    in_class = False
    for unit in _UNITS.findall(pattern):
        if unit.startswith("\\"):
            foreign = len(unit) == 2 and unit[1] in _ESCAPES
        elif in_class:
            foreign = unit == "&&" or (unit.startswith("[") and not unit.startswith("[:"))
            in_class = unit != "]"
        else:
            foreign = unit in "^$" or unit.endswith("}+") or (unit.startswith("(?") and unit != "(?i")
            in_class = unit.startswith("[")
        if foreign:
            raise NotSupportedError(
                f"the splitting pattern {pattern!r} has {unit!r}, which regex libraries read differently",
                fix=r"write it with \p{...}, (?!\S) and plain classes, so that ids are the same everywhere",
            )
