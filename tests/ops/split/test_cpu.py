"""Oracle: `reference.py`, the published patterns run by the `regex` module, on hostile text."""

import functools
import itertools
import random
import time

import numpy as np
import pytest
import regex
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from textmill.ops.memory import padded
from textmill.ops.split import PATTERNS, pieces, splitter
from textmill.ops.split import classes as c
from textmill.ops.split.reference import piece_ends

NAMES = sorted(PATTERNS)
NASTY = [
    *" \t\n\r\v\f\0\x1c\x1f\x7f\x85\u00a0\u1680\u2003\u2028\u2029\u200b\u200d\u3000\ufeff",
    *"'’sStTmMdDlLvVeErRaZ@[`{/\\.,!?-_#09",
    *"ſKÅßŉİıǅǈʰªºßﬆ½²Ⅷ٣〇一中文字あア한ก็́\u0300\u20dd\u093e🙂👩🏽\ue000\U000e0041\U0010ffff",
    *["\r\n", "'s", "'ſ", "'LL", "'vE", " '", "don't", "I'll", "HTML", "xX", "Ab", "日A", "123", "   ", "\n\n", "/*"],
]


@functools.cache
def code_points() -> dict[int, str]:
    """The characters of each class for which the `regex` module, of a newer Unicode, agrees with the pinned table."""
    table, categories = c.class_table(), c.category_table()
    text = "".join(chr(code) for code in range(c.NUM_CODE_POINTS) if not 0xD800 <= code < 0xE000)
    found = {
        c.UPPER: r"[\p{Lu}\p{Lt}]",
        c.LOWER: r"\p{Ll}",
        c.CASELESS: r"[\p{Lm}\p{Lo}]",
        c.MARK: r"\p{M}",
        c.NUMBER: r"\p{N}",
    }
    pools = {kind: "".join(x for x in regex.findall(p, text) if table[ord(x)] == kind) for kind, p in found.items()}
    # DeepSeek tells punctuation, symbols and the rest apart
    pools[c.OTHER] = "".join(
        char
        for letter in "PSC"
        for char in regex.findall(rf"[^\s\P{{{letter}}}]", text)
        if c.CATEGORIES[categories[ord(char)]].startswith(letter)
    )
    return pools


@functools.cache
def agreed() -> frozenset[str]:
    white_space = regex.findall(r"\s", "".join(map(chr, range(0x3001))))
    return frozenset("".join(code_points().values())).union(white_space, map(chr, range(0xDC80, 0xDD00)))


hostile = st.lists(
    st.one_of(
        st.sampled_from(NASTY),
        st.sampled_from(NASTY),
        *(st.sampled_from(code_points()[kind]) for kind in code_points()),
        st.sampled_from(["\udc80", "\udcbf", "\udcc3", "\udce4\udcb8", "\udcf0\udc9f", "\udced\udca0\udc80", "\udcff"]),
    ),
    max_size=40,
).map("".join)


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def reference_pieces(name: str, data: bytes) -> list[bytes]:
    cuts = [0, *piece_ends(PATTERNS[name], data).tolist()]
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(hostile)
def test_pieces_are_those_of_the_pattern(name, text):
    data = as_bytes(text)
    assert pieces(name, data) == reference_pieces(name, data)


@pytest.mark.parametrize("name", NAMES)
def test_random_soup(name):
    rng = random.Random(name)
    pools = [*code_points().values()]
    for _ in range(300):
        parts = rng.choices(NASTY, k=60) + [rng.choice(rng.choice(pools)) for _ in range(20)]
        rng.shuffle(parts)
        data = as_bytes("".join(parts))
        assert pieces(name, data) == reference_pieces(name, data)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_tile(name, data):
    # what a newer Unicode has assigned is a letter for `regex` and no letter for the kernel
    assume(set(data.decode("utf-8", "surrogateescape")) <= agreed())
    assert pieces(name, data) == reference_pieces(name, data)
    assert b"".join(pieces(name, data)) == data


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None)
@given(hostile, st.integers(1, 5))
def test_blocks_do_not_matter(name, text, block):
    data = as_bytes(text)
    assert pieces(name, data, block_pieces=block) == pieces(name, data)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=12), hostile, st.sampled_from([b"", b"a", b" ", b"\n", b"\x80\x80\x80", "é中".encode(), b"'s"])
)
def test_neighbours_in_memory_do_not_matter(name, before, text, after):
    """Poisoned memory: what stands before `start` and after `stop` is never looked at."""
    data = as_bytes(text)
    buffer = padded(before + data + after * 30)
    ends = np.empty(len(data) + 1, np.int32)
    count = splitter(name)(buffer, len(before), len(before) + len(data), ends)
    assert ends[:count].tolist() == piece_ends(PATTERNS[name], data).tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", range(1, 4))
def test_a_character_cut_by_the_end_is_bad_bytes(name, cut):
    data = "a🙂".encode()[: 1 + cut]
    buffer = padded("a🙂".encode())
    ends = np.empty(9, np.int32)
    count = splitter(name)(buffer, 0, len(data), ends)
    assert ends[:count].tolist() == piece_ends(PATTERNS[name], data).tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unit", ["a", "A", " ", "\n", "中", "日A", "\u0301", "'", "1", " \n", "\t", "!/", "aA", "ſ'"])
def test_a_long_unbroken_run_takes_linear_time(name, unit):
    ends = np.empty(1 << 20, np.int32)

    def seconds(size: int) -> float:
        data = unit.encode() * (size // len(unit.encode()))
        buffer = padded(data)
        started = time.thread_time()
        splitter(name)(buffer, 0, len(data), ends)
        return time.thread_time() - started

    seconds(100)
    # a quadratic walk over 1 MB would take minutes
    assert min(seconds(1 << 20) for _ in range(2)) < 0.25


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("gpt2", "I'll say\n\n  it's 2024!?", ["I", "'ll", " say", "\n\n ", " it", "'s", " 2024", "!?"]),
        ("cl100k", "I'LL (say)\n\n  1234 ", ["I", "'LL", " (", "say", ")\n\n", " ", " ", "123", "4", " "]),
        ("cl100k", "a\n  ", ["a", "\n  "]),
        ("llama3", "a\n  ", ["a", "\n", "  "]),
        ("o200k", "helloWorld's日AB ABCd//\n", ["hello", "World's", "日", "AB", " ABCd", "//\n"]),
    ],
)
def test_worked_examples(name, text, expected):
    assert reference_pieces(name, text.encode()) == [piece.encode() for piece in expected]
    assert pieces(name, text.encode()) == [piece.encode() for piece in expected]


def test_empty_text_has_no_pieces():
    assert [pieces(name, b"") for name in NAMES] == [[]] * len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_pairs_of_han_and_what_looks_like_them(name: str) -> None:
    """Characters of three bytes, cut sequences and strangers in each place."""
    parts = [b"\xe4\xbf\xbf", b"\xe5\x80\x80", b"\xe9\xbf\xbf", b"\xea\x80\x80"]
    parts += [b"\xe5\x80", b"\xe5", b"\x80", b"\xe6A\x80", b"\xe6\x80A", b"\xf0\x9f\x99\x82", b" ", b"a", b"1", b"."]
    for count in (1, 2, 3):
        for chosen in itertools.product(parts, repeat=count):
            data = b"".join(chosen)
            assert (
                list(itertools.accumulate(map(len, pieces(name, data)))) == piece_ends(PATTERNS[name], data).tolist()
            ), data
