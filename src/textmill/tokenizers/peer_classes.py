"""Character properties as the steps of `tokenizers` see them, one entry per code point.

`tokenizers` is built of parts that pin different versions of Unicode, and text must become the same pieces here,
whatever Python's `unicodedata` knows:

    white space, punctuation, words       as in `textmill.ops.split.classes`, thus Unicode 16
    digits                                the same, and the numbers of Unicode 17 (`NEW_NUMBERS` there)
    marks, accents, controls,             older versions, each another one: `peer_data.py`, written by
    normal forms, scripts                 `tools/peer_classes.py`
"""

import base64
import functools
import zlib

import numpy as np

NUM_CODE_POINTS = 0x110000

SPACE = 1
"""White space."""
PUNCTUATION = 2
"""Punctuation as BERT has it, the symbols of ASCII included."""
NUMERIC = 4
"""Nd, Nl, No."""
WORD = 8
"""`\\w` of Rust's regular expressions."""
MARK = 16
"""What `StripAccents` drops."""
NONSPACING = 32
"""What BERT's normaliser drops as an accent."""
CONTROL = 64
"""What BERT's normaliser drops as a control, white space apart."""
NEW = 128
"""Has a normal form in newer Unicode versions only: normal forms leave it alone, and act on each side apart."""

ANY_SCRIPT = 0xFFFF
"""Of the blank and of unassigned code points: it goes with every other."""


def _unpacked(packed: str) -> np.ndarray:
    raw = zlib.decompress(base64.b64decode(packed))
    count = len(raw) // 6
    values = np.frombuffer(raw, dtype="<u2", count=count)
    table = np.repeat(values, np.frombuffer(raw, dtype="<u4", offset=2 * count))
    assert len(table) == NUM_CODE_POINTS
    table.flags.writeable = False
    return table


@functools.cache
def flags() -> np.ndarray:
    r"""uint16 [code points]: the properties of each code point, a bit each.

    >>> [int(flags()[ord(character)]) for character in " !5a\u0301"] == [
    ...     SPACE, PUNCTUATION, NUMERIC | WORD, WORD, WORD | MARK | NONSPACING]
    True
    """
    from textmill.ops.split import classes
    from textmill.tokenizers.peer_data import FLAGS

    table = _unpacked(FLAGS).copy()
    table |= classes.space_table() * np.uint16(SPACE)
    table |= classes.punctuation_table() * np.uint16(PUNCTUATION)
    table |= classes.numeric_table() * np.uint16(NUMERIC)
    table |= classes.word_table() * np.uint16(WORD)
    table.flags.writeable = False
    return table


@functools.cache
def scripts() -> np.ndarray:
    """uint16 [code points]: a number per script. Hiragana and Katakana count as Han."""
    from textmill.tokenizers.peer_data import SCRIPTS

    return _unpacked(SCRIPTS)


@functools.cache
def characters_with(mask: int) -> frozenset[str]:
    """The characters that have one of the properties."""
    return frozenset(map(chr, np.flatnonzero(flags() & mask).tolist()))


@functools.cache
def class_of(mask: int) -> str:
    r"""The inside of a regular expression's character class for the characters that have one of the properties.

    >>> class_of(SPACE).startswith(r"\U00000009-\U0000000d\U00000020-\U00000020")
    True
    """
    codes = np.flatnonzero(flags() & mask)
    starts = np.flatnonzero(np.diff(codes, prepend=-2) != 1)
    lasts = np.append(codes[starts[1:] - 1], codes[-1:])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in zip(codes[starts], lasts, strict=True))
