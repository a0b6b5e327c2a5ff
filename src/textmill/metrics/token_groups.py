"""Characters in groups: letters by script, digits, punctuation, emoji, blanks.

Legend: C characters, G groups.
"""

import functools

import numpy as np
from jaxtyping import Int, UInt8

from textmill.ops.split.classes import CATEGORIES, NUM_CODE_POINTS, SCRIPTS, category_table, script_table, space_table

GROUPS = (
    *("Latin", "Greek", "Cyrillic", "Han", "Kana", "Hangul", "Arabic", "Hebrew", "Devanagari", "Thai"),
    *("other letters", "digits", "punctuation", "emoji", "symbols", "blanks", "other"),
)
"""What characters are counted as: letters by script, digits of all scripts together; "other" are controls and the like.
"""

_KANA = ("Hiragana", "Katakana")
_ONE_BY_ONE = (GROUPS.index("Han"), GROUPS.index("Kana"))
BLANKS = GROUPS.index("blanks")
_INHERITED = len(GROUPS)
_EMOJI_BLOCKS = ((0x2600, 0x27BF), (0x1F000, 0x1FAFF))
_JOINER = 0x200D


@functools.cache
def group_table() -> UInt8[np.ndarray, "code_points"]:
    """The place in `GROUPS` of each code point, or `len(GROUPS)`: as the character before. Read-only.

    From the project's own tables of Unicode 16.0. Emoji are the symbols of the blocks U+2600 to U+27BF and U+1F000 to
    U+1FAFF. Marks that belong to no script, such as a combining acute accent, and the joiner of emoji count as the
    character before them.

    >>> [GROUPS[group_table()[ord(character)]] for character in "aя中あ한9!😀€ "]
    ['Latin', 'Cyrillic', 'Han', 'Kana', 'Hangul', 'digits', 'punctuation', 'emoji', 'symbols', 'blanks']
    """
    kinds = np.array([category[0] for category in CATEGORIES])[category_table()]
    script = script_table()
    table = np.full(NUM_CODE_POINTS, GROUPS.index("other"), np.uint8)
    letters = (kinds == "L") | (kinds == "M")
    table[letters] = GROUPS.index("other letters")
    for number, name in enumerate(SCRIPTS):
        group = "Kana" if name in _KANA else name
        if group in GROUPS and group != "other":
            table[letters & (script == number)] = GROUPS.index(group)
    table[kinds == "N"] = GROUPS.index("digits")
    table[kinds == "P"] = GROUPS.index("punctuation")
    table[kinds == "S"] = GROUPS.index("symbols")
    for first, last in _EMOJI_BLOCKS:
        block = slice(first, last + 1)
        table[block][kinds[block] == "S"] = GROUPS.index("emoji")
    table[space_table().astype(bool)] = BLANKS
    table[(kinds == "M") & (script == 0)] = _INHERITED
    table[_JOINER] = _INHERITED
    # long vowel marks and the like are common to both kana
    table[[0x30FC, 0xFF70]] = GROUPS.index("Kana")
    table.flags.writeable = False
    return table


def character_groups(text: str) -> UInt8[np.ndarray, "C"]:
    r"""The place in `GROUPS` of each character of a text.

    >>> [GROUPS[group] for group in character_groups("e\u0301 1")]
    ['Latin', 'Latin', 'blanks', 'digits']
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    groups = group_table()[codes]
    own = np.where(groups == _INHERITED, 0, np.arange(len(groups)))
    groups = groups[np.maximum.accumulate(own)] if len(groups) else groups
    return np.where(groups == _INHERITED, GROUPS.index("other"), groups).astype(np.uint8)


def num_words(groups: UInt8[np.ndarray, "C"]) -> int:
    """How many words a text has: runs of characters other than blanks, but each Chinese character and kana is one.

    >>> num_words(character_groups("Two words, 三个字 more"))
    6
    """
    alone = np.isin(groups, _ONE_BY_ONE)
    inside = (groups != BLANKS) & ~alone
    begins = inside & ~np.concatenate([np.zeros(min(1, len(inside)), bool), inside[:-1]])
    return int(alone.sum() + begins.sum())


def runs_by_group(groups: UInt8[np.ndarray, "C"]) -> Int[np.ndarray, "G"]:
    """How many runs of characters of one group a text has, by group; of Chinese characters and kana, characters.

    >>> runs = runs_by_group(character_groups("it's 三个"))
    >>> {GROUPS[i]: int(runs[i]) for i in runs.nonzero()[0]}
    {'Latin': 2, 'Han': 2, 'punctuation': 1, 'blanks': 1}
    """
    begins = np.ones(len(groups), bool)
    begins[1:] = (groups[1:] != groups[:-1]) | np.isin(groups[1:], _ONE_BY_ONE)
    return np.bincount(groups[begins], minlength=len(GROUPS))


def vocabulary_groups(vocabulary: list[bytes]) -> dict[str, int]:
    """How many tokens of a vocabulary belong to each group, by most of their characters, blanks apart.

    "parts of characters" are tokens whose bytes are no characters.

    >>> vocabulary_groups([b" the", b".com", b"12", b"\\xe4\\xb8"])
    {'Latin': 2, 'digits': 1, 'parts of characters': 1}
    """
    found = dict.fromkeys((*GROUPS, "parts of characters"), 0)
    for token in vocabulary:
        try:
            text = token.decode()
        except UnicodeDecodeError:
            found["parts of characters"] += 1
            continue
        counts = np.bincount(character_groups(text), minlength=len(GROUPS))
        counts[BLANKS] = counts[BLANKS] > 0 and counts.sum() == counts[BLANKS]
        found[GROUPS[counts.argmax()] if counts.any() else "other"] += 1
    return {name: count for name, count in found.items() if count}
