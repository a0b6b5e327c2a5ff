"""What BERT's normaliser and splitter know about each code point, pinned to what `tokenizers` 0.23 does.

Pinned, because those tables come from three versions of Unicode (categories from 8, decompositions and combining
classes from 9, lower case from 17), while Python's `unicodedata` changes from version to version. The data are in
`character_data.py`.
"""

import base64
import functools
import zlib

import numpy as np

from textmill.ops.wordpiece import character_data as data

NUM_CODE_POINTS = 0x110000

# flags of a code point
CONTROL = 1
"""`clean_text` drops it: U+0000, U+FFFD, controls, formats, private use."""
WHITE = 2
"""`clean_text` makes it a blank."""
SPACE = 4
"""The splitter cuts here and drops it."""
PUNCTUATION = 8
"""The splitter makes it a word of its own."""
MARK = 16
"""`strip_accents` drops it: category Mn."""
CHINESE = 32
"""`handle_chinese_chars` puts blanks around it."""

_HANGUL_FIRST, _HANGUL_END = 0xAC00, 0xD7A4
_LEADING, _VOWEL, _TRAILING = 0x1100, 0x1161, 0x11A7
_NUM_VOWELS, _NUM_TRAILING = 21, 28


def is_hangul(code: int) -> bool:
    """Whether the code point is a Hangul syllable, which decomposes by a formula.

    >>> is_hangul(ord("한"))
    True
    """
    return _HANGUL_FIRST <= code < _HANGUL_END


def hangul_letters(code: int) -> str:
    """The two or three letters of a Hangul syllable.

    >>> [f"{ord(letter):04X}" for letter in hangul_letters(ord("한"))]
    ['1112', '1161', '11AB']
    """
    index = code - _HANGUL_FIRST
    letters = [_LEADING + index // (_NUM_VOWELS * _NUM_TRAILING), _VOWEL + index // _NUM_TRAILING % _NUM_VOWELS]
    if index % _NUM_TRAILING:
        letters.append(_TRAILING + index % _NUM_TRAILING)
    return "".join(map(chr, letters))


@functools.cache
def decompositions() -> dict[int, str]:
    """The canonical decomposition, in full, of each code point that has one.

    >>> [f"{ord(char):04X}" for char in decompositions()[ord("ǭ")]]
    ['006F', '0328', '0304']
    """
    found = _unpacked_mapping(data.DECOMPOSED)
    return found | {code: hangul_letters(code) for code in range(_HANGUL_FIRST, _HANGUL_END)}


@functools.cache
def lower_case() -> dict[int, str]:
    """The lower case of each code point that differs from it. U+0130 alone has one of two code points.

    >>> lower_case()[ord("Ä")]
    'ä'
    """
    return _unpacked_mapping(data.LOWER)


@functools.cache
def flags() -> np.ndarray:
    """uint8 [code points]: the flags of each. Shared, so not to be written to.

    >>> [int(flags()[ord(char)]) for char in "a \\u0301!中\\0"]
    [0, 6, 16, 8, 32, 1]
    """
    return np.array([pair[0] for pair in data.KINDS], dtype=np.uint8)[_kinds()]


@functools.cache
def combining_classes() -> np.ndarray:
    """uint8 [code points]: 0 for a starter, else where canonical order puts the mark. Shared, so not to be written to.

    >>> combining_classes()[[0x61, 0x0323, 0x0301]].tolist()
    [0, 220, 230]
    """
    return np.array([pair[1] for pair in data.KINDS], dtype=np.uint8)[_kinds()]


@functools.cache
def _kinds() -> np.ndarray:
    """uint8 [code points]: the row of `KINDS` of each."""
    raw = zlib.decompress(base64.b64decode(data.RUNS))
    count = len(raw) // 5
    lengths = np.ascontiguousarray(np.frombuffer(raw, np.uint8, 4 * count, offset=count).reshape(4, count).T)
    table = np.repeat(np.frombuffer(raw, np.uint8, count), lengths.view("<u4").ravel())
    assert len(table) == NUM_CODE_POINTS
    return table


def _unpacked_mapping(packed: str) -> dict[int, str]:
    """Each line is a character and what it becomes."""
    lines = zlib.decompress(base64.b64decode(packed)).decode().split("\n")
    return {ord(line[0]): line[1:] for line in lines}
