"""The character classes that pre-tokenisation asks for, as one byte per code point, pinned to Unicode 16.0.

Pinned, because the `unicodedata` of Python and the `regex` module change with their versions, and a tokenizer must give
the same ids everywhere. The data are in `unicode_data.py`.
"""

import base64
import functools
import hashlib
import zlib

import numpy as np

UNICODE_VERSION = "16.0.0"
NUM_CODE_POINTS = 0x110000

CATEGORIES = (
    *("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
    *("Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"),
)
"""The general categories; a category's place here is its number in `category_table`."""

SCRIPTS = (
    "other",
    *("Arabic", "Armenian", "Bengali", "Bopomofo", "Cyrillic", "Devanagari", "Ethiopic", "Georgian", "Greek"),
    *("Gujarati", "Gurmukhi", "Han", "Hangul", "Hebrew", "Hiragana", "Kannada", "Katakana", "Khmer", "Lao"),
    *("Latin", "Malayalam", "Mongolian", "Myanmar", "Sinhala", "Tamil", "Telugu", "Thai", "Tibetan"),
)
"""The scripts that `script_table` knows; a script's place here is its number there. 0: any other, or common to many."""

# one bit a class, so that a set of classes is a mask
OTHER = 1
"""Punctuation, symbols, controls, unassigned code points, bytes that are not UTF-8."""
UPPER = 2
"""Lu, Lt"""
LOWER = 4
"""Ll"""
CASELESS = 8
"""Lm, Lo"""
MARK = 16
"""Mn, Mc, Me"""
NUMBER = 32
"""Nd, Nl, No"""
SPACE = 64
"""White_Space without the two below."""
NEWLINE = 128
"""Carriage return and line feed."""

_CONTROL_SPACE = (9, 10, 11, 12, 13, 0x85)
"""White_Space is these controls and the categories Zs, Zl and Zp."""

NEW_NUMBERS = ((0x11DE0, 0x11DE9), (0x16FF4, 0x16FF6))
"""(first, last) of the numbers of Unicode 17, which the splitter `Digits` of `tokenizers` knows."""


def _runs(name: str) -> np.ndarray:
    """uint8 [code points]: one table of `unicode_data`."""
    from textmill.ops.split import unicode_data

    raw = zlib.decompress(base64.b64decode(getattr(unicode_data, name)))
    count = len(raw) // 5
    kinds = np.frombuffer(raw, np.uint8, count)
    lengths = np.ascontiguousarray(np.frombuffer(raw, np.uint8, 4 * count, offset=count).reshape(4, count).T)
    table = np.repeat(kinds, lengths.view("<u4").ravel())
    assert len(table) == NUM_CODE_POINTS
    table.flags.writeable = False
    return table


def checksum() -> str:
    """SHA-256 of the data, in hexadecimal; `unicode_data.CHECKSUM` if they are as they were written."""
    from textmill.ops.split import unicode_data as data

    runs = (data.CATEGORY_RUNS, data.SCRIPT_RUNS, data.WORD_RUNS, data.PUNCTUATION_RUNS)
    return hashlib.sha256("".join("".join(packed.split()) for packed in runs).encode()).hexdigest()


@functools.cache
def category_table() -> np.ndarray:
    """uint8 [code points]: the place in `CATEGORIES` of each code point's general category. Read-only.

    >>> [CATEGORIES[category_table()[ord(char)]] for char in "Aa中\u0301½ \\n!"]
    ['Lu', 'Ll', 'Lo', 'Mn', 'No', 'Zs', 'Cc', 'Po']
    """
    return _runs("CATEGORY_RUNS")


@functools.cache
def script_table() -> np.ndarray:
    """uint8 [code points]: the place in `SCRIPTS` of each code point's script. Read-only.

    >>> [SCRIPTS[script_table()[ord(char)]] for char in "Aя中あ1"]
    ['Latin', 'Cyrillic', 'Han', 'Hiragana', 'other']
    """
    return _runs("SCRIPT_RUNS")


@functools.cache
def word_table() -> np.ndarray:
    r"""uint8 [code points]: 1 for what Rust's regex engine, thus `tokenizers`, matches with \w. Read-only.

    >>> [int(word_table()[ord(char)]) for char in "a_1\u0301Ⓐ²!"]
    [1, 1, 1, 1, 1, 0, 0]
    """
    return _runs("WORD_RUNS")


@functools.cache
def punctuation_table() -> np.ndarray:
    """uint8 [code points]: 1 for what `tokenizers` splits off as punctuation, `$` and the like included. Read-only.

    >>> [int(punctuation_table()[ord(char)]) for char in "$。€"]
    [1, 1, 0]
    """
    return _runs("PUNCTUATION_RUNS")


@functools.cache
def numeric_table() -> np.ndarray:
    """uint8 [code points]: 1 for what the splitter `Digits` of `tokenizers` takes for a digit. Read-only.

    >>> [int(numeric_table()[ord(char)]) for char in "1½Ⅷa"]
    [1, 1, 1, 0]
    """
    table = np.isin(category_table(), [CATEGORIES.index(name) for name in ("Nd", "Nl", "No")]).astype(np.uint8)
    for first, last in NEW_NUMBERS:
        table[first : last + 1] = 1
    table.flags.writeable = False
    return table


@functools.cache
def space_table() -> np.ndarray:
    r"""uint8 [code points]: 1 for White_Space, which \s matches. Read-only."""
    category = category_table()
    table = ((category >= CATEGORIES.index("Zs")) & (category <= CATEGORIES.index("Zp"))).astype(np.uint8)
    table[list(_CONTROL_SPACE)] = 1
    table.flags.writeable = False
    return table


@functools.cache
def class_table() -> np.ndarray:
    """uint8 [code points]: the class bit of each code point. Shared, so not to be written to.

    >>> [int(class_table()[ord(char)]) for char in "Aa中\u0301½ \\n!"]
    [2, 4, 8, 16, 32, 64, 128, 1]
    """
    of_category = np.full(len(CATEGORIES), OTHER, np.uint8)
    for names, kind in (
        ("Lu Lt", UPPER),
        ("Ll", LOWER),
        ("Lm Lo", CASELESS),
        ("Mn Mc Me", MARK),
        ("Nd Nl No", NUMBER),
        ("Zs Zl Zp", SPACE),
    ):
        of_category[[CATEGORIES.index(name) for name in names.split()]] = kind
    table = of_category[category_table()]
    table[list(_CONTROL_SPACE)] = SPACE
    table[[10, 13]] = NEWLINE
    return table
