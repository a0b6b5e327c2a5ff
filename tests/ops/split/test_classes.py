"""Oracles: the running Python's Unicode data where both versions know a code point; tiktoken and tokenizers."""

import unicodedata

import numpy as np
import pytest
from tools import unicode_classes

from textmill.ops.split import classes as c

KINDS = {"Lu": c.UPPER, "Lt": c.UPPER, "Ll": c.LOWER, "Lm": c.CASELESS, "Lo": c.CASELESS}
KINDS |= {"Mn": c.MARK, "Mc": c.MARK, "Me": c.MARK, "Nd": c.NUMBER, "Nl": c.NUMBER, "No": c.NUMBER}
WHITE_SPACE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def test_table_agrees_with_unicodedata():
    table = c.class_table()
    changed = []
    for code in range(c.NUM_CODE_POINTS):
        category = unicodedata.category(chr(code))
        if code in (10, 13):
            expected = c.NEWLINE
        elif code in WHITE_SPACE:
            expected = c.SPACE
        else:
            expected = KINDS.get(category, c.OTHER)
        # unassigned on either side: the versions differ
        if table[code] != expected and category != "Cn" and table[code] != c.OTHER:
            changed.append(code)
    # U+1734 became Mc in Unicode 14, U+A7F2..4 and others moved between Lm and Lo: a handful at most, between versions
    assert len(changed) <= 10


def test_white_space_and_line_ends():
    table = c.class_table()
    assert set(np.flatnonzero(table & (c.SPACE | c.NEWLINE)).tolist()) == WHITE_SPACE
    assert np.flatnonzero(table == c.NEWLINE).tolist() == [10, 13]


def test_runs_and_packing_are_inverse():
    table = c.class_table().copy()
    table[[10, 13]] = c.SPACE
    assert unicode_classes.packed(unicode_classes.runs(table.tolist())) == "".join(c._PACKED.split())


@pytest.mark.parametrize("kind", unicode_classes._PATTERNS)
def test_table_is_what_tiktoken_sees(kind):
    table = c.class_table()
    expected = unicode_classes.matched(unicode_classes._PATTERNS[kind])
    mask = kind | c.NEWLINE if kind == c.SPACE else kind
    assert set(np.flatnonzero(table & mask).tolist()) == expected


@pytest.mark.parametrize("kind", unicode_classes._PATTERNS)
def test_table_is_what_tokenizers_sees(kind):
    from tokenizers import Regex, pre_tokenizers

    table = c.class_table()
    mask = kind | c.NEWLINE if kind == c.SPACE else kind
    split = pre_tokenizers.Split(Regex(unicode_classes._PATTERNS[kind]), "removed")
    # every run's first and last code point, and the code points beside them: the whole table would take a minute
    edges = np.flatnonzero(np.diff(table))
    codes = np.unique(np.concatenate([edges, edges + 1, np.arange(0x3000)]))
    codes = codes[(codes < 0xD800) | (codes >= 0xE000)]
    for block in np.array_split(codes, 8):
        kept = "".join(piece for piece, _ in split.pre_tokenize_str("".join(map(chr, block))))
        assert {ord(char) for char in kept} == set(block[table[block] & mask == 0].tolist())
