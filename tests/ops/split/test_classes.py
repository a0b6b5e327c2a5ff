"""Oracles: the running Python's Unicode data where both versions know a code point; tiktoken and tokenizers."""

import unicodedata

import numpy as np
import pytest
import regex
from tools import unicode_classes

from textmill.ops.split import classes as c
from textmill.ops.split import unicode_data

KINDS = {"Lu": c.UPPER, "Lt": c.UPPER, "Ll": c.LOWER, "Lm": c.CASELESS, "Lo": c.CASELESS}
KINDS |= {"Mn": c.MARK, "Mc": c.MARK, "Me": c.MARK, "Nd": c.NUMBER, "Nl": c.NUMBER, "No": c.NUMBER}
WHITE_SPACE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
PATTERNS = {
    r"[\p{Lu}\p{Lt}]": c.UPPER,
    r"\p{Ll}": c.LOWER,
    r"[\p{Lm}\p{Lo}]": c.CASELESS,
    r"\p{M}": c.MARK,
    r"\p{N}": c.NUMBER,
    r"\s": c.SPACE | c.NEWLINE,
}
TABLES = {
    "CATEGORY_RUNS": c.category_table,
    "SCRIPT_RUNS": c.script_table,
    "WORD_RUNS": c.word_table,
    "PUNCTUATION_RUNS": c.punctuation_table,
}


def test_the_data_are_as_they_were_written():
    assert c.checksum() == unicode_data.CHECKSUM


@pytest.mark.parametrize("name", TABLES)
def test_runs_and_packing_are_inverse(name):
    assert unicode_classes.packed(TABLES[name]()) == "".join(getattr(unicode_data, name).split())


def test_categories_agree_with_unicodedata():
    table = c.category_table()
    changed = []
    for code in range(c.NUM_CODE_POINTS):
        category = unicodedata.category(chr(code))
        # unassigned on either side: the versions differ
        if "Cn" not in (category, c.CATEGORIES[table[code]]) and category != c.CATEGORIES[table[code]]:
            changed.append(code)
    # U+1734 became Mc in Unicode 14, U+A7F2..4 and others moved between Lm and Lo: a handful at most, between versions
    assert len(changed) <= 20


def test_classes_are_groups_of_categories():
    table, categories = c.class_table(), c.category_table()
    for kind, name in enumerate(c.CATEGORIES):
        codes = np.setdiff1d(np.flatnonzero(categories == kind), list(WHITE_SPACE))
        assert set(table[codes].tolist()) <= {KINDS.get(name, c.OTHER)}


def test_white_space_and_line_ends():
    table = c.class_table()
    assert set(np.flatnonzero(table & (c.SPACE | c.NEWLINE)).tolist()) == WHITE_SPACE
    assert set(np.flatnonzero(c.space_table()).tolist()) == WHITE_SPACE
    assert np.flatnonzero(table == c.NEWLINE).tolist() == [10, 13]


@pytest.mark.parametrize("name", c.SCRIPTS[1:])
def test_scripts_agree_with_the_regex_module(name):
    table = c.script_table()
    number = c.SCRIPTS.index(name)
    edges = np.flatnonzero(np.diff(table == number))
    codes = [code for code in {*edges.tolist(), *(edges + 1).tolist()} if unicodedata.category(chr(code)) != "Cn"]
    assert codes
    theirs = {code for code in codes if regex.match(rf"\p{{Script={name}}}", chr(code))}
    # what a newer Unicode added to a script, such as a combining mark that was common to many, is a handful
    assert len(theirs ^ {code for code in codes if table[code] == number}) <= 6


@pytest.mark.parametrize("pattern", PATTERNS)
def test_table_is_what_tiktoken_sees(pattern):
    found = np.flatnonzero(c.class_table() & PATTERNS[pattern])
    assert set(found.tolist()) == unicode_classes.matched(pattern)


def near_edges(table: np.ndarray) -> np.ndarray:
    """Every run's first and last code point, the code points beside them, and the first 12,288."""
    edges = np.flatnonzero(np.diff(table))
    codes = np.unique(np.concatenate([edges, edges + 1, np.arange(0x3000)]))
    return codes[(codes < 0xD800) | (codes >= 0xE000)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_table_is_what_tokenizers_sees(pattern):
    from tokenizers import Regex, pre_tokenizers

    table = c.class_table()
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    for block in np.array_split(near_edges(table), 8):
        kept = "".join(piece for piece, _ in split.pre_tokenize_str("".join(map(chr, block))))
        assert {ord(char) for char in kept} == set(block[table[block] & PATTERNS[pattern] == 0].tolist())


def test_words_are_what_tiktoken_sees():
    assert set(np.flatnonzero(c.word_table()).tolist()) == unicode_classes.matched(r"\w")


def test_punctuation_is_what_tokenizers_sees():
    assert set(np.flatnonzero(c.punctuation_table()).tolist()) == unicode_classes.punctuation()
