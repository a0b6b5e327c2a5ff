"""Tokens as characters that can be shown: nothing that moves the cursor, turns the direction or hides."""

from collections.abc import Sequence

from textmill.ops.split.classes import CATEGORIES, category_table
from textmill.report.judgement import Cell

_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
"""Part of how many scripts and emoji are written."""
_NAMED = {"\n": "⏎", "\t": "⇥", "\r": "␍"}


def visible(text: str, *, blank: str = " ") -> str:
    r"""The text with control and format characters spelled out, and with every space as `blank`.

    >>> visible("a b\n\x1b[2J", blank="·")
    'a·b⏎\\x1b[2J'
    """
    return "".join(_shown(character, blank) for character in text)


def _shown(character: str, blank: str) -> str:
    if character == " ":
        return blank
    if character in _NAMED:
        return _NAMED[character]
    if character not in _JOINERS and CATEGORIES[category_table()[ord(character)]] in _ESCAPED:
        return character.encode("unicode_escape").decode()
    return character


def bytes_in_hex(data: bytes) -> str:
    """
    >>> bytes_in_hex(b" \\xe4")
    '20 e4'
    """
    return data.hex(" ")


def counts_in_words(cells: Sequence[Cell]) -> str:
    """One line: tokens, characters, bytes, and what is special about them."""
    num_characters = sum(len(cell.text) for cell in cells)
    num_bytes = max((cell.end for cell in cells), default=0)
    said = f"{len(cells):,} tokens, {num_characters:,} characters, {num_bytes:,} bytes"
    if cells:
        said += f": {num_bytes / len(cells):.2f} bytes a token"
    names = {"part": "of them bytes of characters", "unknown": "unknown", "special": "special"}
    for kind, name in names.items():
        count = sum(cell.kind == kind for cell in cells)
        said += f"; {count} {name}" if count else ""
    return said
