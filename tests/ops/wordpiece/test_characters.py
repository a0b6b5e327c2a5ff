"""Every code point against `tokenizers`."""

import unicodedata
from collections.abc import Iterator

import numpy as np
import pytest
from tokenizers import normalizers, pre_tokenizers

from textmill.ops.wordpiece import characters as c
from textmill.ops.wordpiece import reference, tables
from textmill.ops.wordpiece.reference import BertRules

RULES = [
    BertRules(),
    BertRules(lowercase=False),
    BertRules(clean_text=False, chinese=False, strip_accents=True, lowercase=False),
    BertRules(clean_text=False, chinese=False, strip_accents=False),
]
BLOCK = 3000


def peer_normalizer(rules: BertRules) -> normalizers.BertNormalizer:
    return normalizers.BertNormalizer(
        clean_text=rules.clean_text,
        handle_chinese_chars=rules.chinese,
        strip_accents=rules.strip_accents,
        lowercase=rules.lowercase,
    )


def code_points(*, every: bool) -> Iterator[list[int]]:
    """In blocks; unless all are wanted, one in 97 of those that are many and alike."""
    alike = c.flags() & c.CHINESE > 0
    alike |= [c.is_hangul(code) or unicodedata.category(chr(code)) in ("Cn", "Co") for code in range(len(alike))]
    wanted = every | ~alike
    wanted[::97] = True
    wanted[0xD800:0xE000] = False
    known = np.flatnonzero(wanted).tolist()
    for first in range(0, len(known), BLOCK):
        yield known[first : first + BLOCK]


def check(rules: BertRules, codes: list[int]) -> None:
    """Each code point between two letters, so that marks have a place and pieces show."""
    text = "".join(f"x{chr(code)}y" for code in codes)
    normalised = reference.normalise(text, rules)
    peer = peer_normalizer(rules).normalize_str(text)
    ours = "".join(item[0] for item in normalised)
    assert ours == peer
    pieces = [piece for piece, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(peer)]
    assert ["".join(item[0] for item in word) for word in reference.words(normalised)] == pieces


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_assigned_code_points(rules: BertRules) -> None:
    for codes in code_points(every=False):
        check(rules, codes)


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES[::2], ids=str)
def test_all_code_points(rules: BertRules) -> None:
    for codes in code_points(every=True):
        check(rules, codes)


def test_order_of_marks() -> None:
    """Each mark on either side of one of each combining class."""
    classes = c.combining_classes()
    one_of_each = [chr(int(np.flatnonzero(classes == kind)[0])) for kind in np.unique(classes)[1:]]
    order = normalizers.NFD().normalize_str
    for code in np.flatnonzero(classes).tolist():
        text = "".join(f"x{mark}{chr(code)}y{chr(code)}{mark}" for mark in one_of_each)
        chars = [(char, place, place + 1) for place, char in enumerate(text)]
        assert "".join(item[0] for item in reference.decompose(chars)) == order(text), hex(code)


@pytest.mark.parametrize("strips", [False, True])
@pytest.mark.parametrize("lowercase", [False, True])
def test_what_the_kernel_relies_on(strips: bool, lowercase: bool) -> None:
    found = tables.character_tables(False, False, strips, lowercase)
    kinds, places = found.entries & tables.KIND_MASK, found.entries >> tables.PAYLOAD_SHIFT
    changed = np.flatnonzero((kinds == tables.LETTER) & (places > 0)).tolist()
    for code in changed:
        num_bytes, num_chars = found.forms[places[code] : places[code] + 2].tolist()
        # an id stands for a byte of the text at least, and a character for at most four bytes
        assert num_chars <= len(chr(code).encode("utf-8", "surrogatepass"))
        assert num_bytes <= 4 * num_chars
    codes = found.marks[:, tables.MARK_CODE]
    assert (np.diff(codes) > 0).all()
    if strips:
        # neither blanks nor punctuation take part in the order of marks
        assert (c.combining_classes()[(kinds == tables.ALONE) | (kinds == tables.BLANK)] == 0).all()
        parts = found.marks[:, tables.MARK_PARTS :]
        assert (np.diff(parts >> tables.CLASS_SHIFT, axis=1)[parts[:, 1:] > 0] >= 0).all()


def test_decompositions_put_starters_first() -> None:
    classes = c.combining_classes()
    for text in c.decompositions().values():
        kinds = [int(classes[ord(part)]) for part in text]
        assert kinds == sorted(kinds)
