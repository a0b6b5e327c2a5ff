"""The table machine: oracle is the `regex` module, on patterns and texts that are made at random."""

import functools
import itertools
import time

import numpy as np
import pytest
import regex
import tokenizers
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from textmill.errors import DataError, NotSupportedError
from textmill.ops.memory import padded
from textmill.ops.split import BLOCK_PIECES, PATTERNS, machines, pieces, splitter
from textmill.ops.split.automaton import Machine
from textmill.ops.split.chain import Step, cut_in_steps
from textmill.ops.split.cpu_machine import split_by_machine
from textmill.ops.split.reference import marked_ends
from textmill.ops.split.syntax import Unsupported, parse, written

LETTERS = "aAbBzZsSkKſ\u212aéßİıあア中文я"
OTHERS = " \n\r\t\u2003\u3000019½Ⅷ٣.,-'_^]\\$€\u0301\u0303\u200d🙂\0\udc80\udcff\U0010ffff"

texts = st.text(alphabet=LETTERS + OTHERS, max_size=24)

one_symbol = st.sampled_from(
    [
        *["a", "b", "s", r"\.", "é", "中", r"\n", " ", r"\s", r"\S", r"\d", r"\D", r"\p{L}", r"\P{L}", r"\p{Lu}"],
        *[r"\p{N}", r"\p{P}", r"\p{Han}", r"\P{Greek}", r"\p{M}", ".", "[a-c]", "[^a-cé]", r"[^\r\n\p{L}\p{N}]"],
        *["[ab-]", "[]a]", r"[\p{Lu}\p{Lt}\p{M}]", r"[\s\S]", r"[\x41-\x5a]", r"[\u3040-\u30ff]", "(?i:s)"],
        *["(?i:[ak])", r"[^\P{L}a]"],
    ]
)
repeat_marks = st.sampled_from(["?", "*", "+", "{2}", "{1,3}", "{0,2}", "{2,}"])
repeated_symbols = st.builds(
    "".join, st.tuples(one_symbol, st.sampled_from(["", "?", "*", "+", "{1,2}"]), st.sampled_from(["", "?"]))
).map(lambda text: text.removesuffix("?") if text.endswith("??") else text)
possessive_symbols = st.builds("".join, st.tuples(one_symbol, repeat_marks, st.just("+")))
looks = st.builds("({}{})".format, st.sampled_from(["?!", "?="]), one_symbol) | st.just(r"\Z")


def extended(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
        st.builds("(?:{}){}{}".format, inner, repeat_marks, st.sampled_from(["", "?"])),
        inner.map("({})".format),
    )


patterns = st.recursive(
    st.one_of(one_symbol, repeated_symbols, possessive_symbols, looks), extended, max_leaves=6
) | st.lists(one_symbol | repeated_symbols | possessive_symbols, min_size=2, max_size=4).map("|".join)


build = functools.cache(machines.build)


def machine_of(pattern: str) -> Machine:
    regex.compile(pattern)
    try:
        return machines.build(pattern)
    except Unsupported:
        assume(False)
        raise


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@settings(max_examples=250, deadline=None)
@given(patterns, st.lists(texts, min_size=1, max_size=6))
def test_pieces_and_marks_are_those_of_the_regex_module(pattern, several):
    found = machine_of(pattern)
    # see `written`
    oracle = written(parse(pattern)) if "(?i" in pattern else pattern
    for text in several:
        ends, matches = marked_ends(oracle, as_bytes(text))
        expected = (ends.tolist(), matches.tolist())
        assert machines.pieces_by_machine(found, as_bytes(text)) == expected, (pattern, text)


@settings(max_examples=100, deadline=None)
@given(patterns, st.binary(max_size=40))
def test_any_bytes_tile(pattern, data):
    ends, _ = machines.pieces_by_machine(machine_of(pattern), data)
    assert [0, *ends] == sorted({0, *ends, len(data)})


CUSTOM = [*PATTERNS.values(), r"\p{L}+|\p{N}", "(?:ab|a)(?:c|bcd)d*", r"[^\s]+?\s|\p{Han}{1,3}+", "a++b|a", r"(?i:'s)+"]


@pytest.mark.parametrize("pattern", CUSTOM)
@settings(max_examples=50, deadline=None)
@given(texts, st.sampled_from([b"", b"a" * 30, b" " * 9, b"\n", b"\x80\x80\x80", "é中".encode(), b"'s"]))
def test_neighbours_in_memory_do_not_matter(pattern, text, after):
    """Poisoned memory: what stands before `start` and after `stop` is never looked at."""
    found = build(pattern)
    data = as_bytes(text)
    buffer = padded(after + data + after)
    ends, marks = np.empty(len(data) + 1, np.int32), np.empty(len(data) + 1, np.uint8)
    count = split_by_machine(buffer, len(after), len(after) + len(data), ends, marks, *found.tables)
    expected, matches = marked_ends(pattern, data)
    assert count == len(expected) * (len(data) > 0)
    assert ends[:count].tolist() == expected.tolist()[:count]
    assert marks[:count].astype(bool).tolist() == matches.tolist()[:count]


@pytest.mark.parametrize("pattern", CUSTOM)
@settings(max_examples=50, deadline=None)
@given(texts, st.integers(1, 4))
def test_blocks_do_not_matter(pattern, text, block):
    found = build(pattern)
    data = as_bytes(text)
    buffer, ends, marks = padded(data), np.full(block + 1, -7, np.int32), np.full(block + 1, 7, np.uint8)
    cuts, kinds, at = [], [], 0
    while at < len(data):
        count = split_by_machine(buffer, at, len(data), ends[:block], marks[:block], *found.tables)
        assert 0 < count <= block
        cuts += (ends[:count] + at).tolist()
        kinds += marks[:count].astype(bool).tolist()
        at = cuts[-1]
    assert (ends[block], marks[block]) == (-7, 7)
    assert (cuts, kinds) == machines.pieces_by_machine(found, data)


@pytest.mark.parametrize("name", ["qwen2", "tekken", "deepseek", "whitespace", "bert", "metaspace", "characters"])
@pytest.mark.parametrize("unit", ["a", "A", " ", "\n", "中", "日A", "\u0301", "'", "1", " \n", "\0", "!/", "aA", "ſ'"])
def test_a_long_unbroken_run_takes_linear_time(name, unit):
    data = unit.encode() * ((1 << 20) // len(unit.encode()))
    buffer, ends = padded(data), np.empty(1 << 20, np.int32)
    cut = splitter(name)
    cut(buffer, 0, 1, ends)

    def seconds() -> float:
        started = time.thread_time()
        cut(buffer, 0, len(data), ends)
        return time.thread_time() - started

    # a quadratic walk over 1 MB would take minutes
    assert min(seconds() for _ in range(2)) < 0.25


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        # the first option that works, not the longest
        ("a|ab", "ab", ["a", "b"]),
        ("(?:ab|a)(?:bcd|c)", "abcdabc", ["abc", "d", "abc"]),
        ("a+?|b", "aab", ["a", "a", "b"]),
        ("a++ab|a", "aab", ["a", "a", "b"]),
        (r"\s+(?!\S)|\s", " \t\n x", [" \t\n", " ", "x"]),
        (r"a(?=b)|b\Z", "aabb", ["a", "a", "b", "b"]),
        ("a{2,3}", "aaaaab", ["aaa", "aa", "b"]),
        (r"(?i:'s|k)x", "'ſx'Sx\u212ax", ["'ſx", "'Sx", "\u212ax"]),
        (r"[^\]a-]+|[]-]", "bc]-a", ["bc", "]", "-", "a"]),
    ],
)
def test_worked_examples(pattern, text, expected):
    data = text.encode()
    ends, _ = machines.pieces_by_machine(machines.build(pattern), data)
    assert [data[a:b].decode() for a, b in itertools.pairwise([0, *ends])] == expected
    assert ends == marked_ends(pattern, data)[0].tolist()


@pytest.mark.parametrize(
    "pattern",
    [
        *["a*", "", "a|", "(?!a)", "(a*)+", "(?:a|b?)*", "(?>a)", "(?<=a)b", "(?P<n>a)", r"(a)\1", r"\bx", "^a", "a$"],
        *[
            "a{101}",
            "a{3,2}",
            "a{0}",
            "a{,2}",
            "a{x",
            "(?:ab)++",
            "a+*",
            r"(?!ab)c",
            r"(?i:\p{Lu})",
            "(?i:é)",
        ],
        *["[[:alpha:]]", "[a[b]]", "[a&&b]", "[a--b]", r"\p{Nonsense}", r"\p{Word}", r"\w", r"\Qa", "(?m:a)", "*a"],
        *["(", ")", "(a", "[a", "\\", "[b-a]", r"[a-\s]", r"\x{110000}", "(" * 60 + "a" + ")" * 60],
        "(?:" * 30 + "a" + "{99}){99}" * 2 + ")" * 28,
        # the last 40 symbols must be remembered: 2 to the power of 40 states
        "[ab]*a[ab]{40}",
    ],
)
def test_what_is_outside_the_subset(pattern):
    started = time.thread_time()
    with pytest.raises(Unsupported):
        machines.build(pattern)
    assert time.thread_time() - started < 10


@pytest.mark.parametrize("pattern", ["a*", r"(?<=a)b", "(?>a+)b", "(?i:é)", "[[:digit:]]+", "[ab]*a[ab]{40}"])
def test_other_patterns_run_in_the_regex_module(pattern):
    assert not splitter(pattern).is_fast
    assert b"".join(pieces(pattern, b"aab1I a")) == b"aab1I a"


@pytest.mark.parametrize("pattern", ["(?:a+)+b", r"(?:\p{L}+\s?)+x", r"(\s*a?)\S+"])
def test_patterns_that_backtracking_engines_choke_on_run_in_time(pattern):
    assert splitter(pattern).is_fast
    data = b"a" * 1000 + b"c"
    started = time.thread_time()
    assert b"".join(pieces(pattern, data)) == data
    assert time.thread_time() - started < 1


def test_a_machine_that_disagrees_is_not_used(monkeypatch):
    tree = parse("a")
    monkeypatch.setattr(machines, "parse", lambda pattern: tree)
    assert machines.checked("b") is None
    assert machines.checked("a") is not None


@pytest.mark.parametrize("pattern", ["<[^>]*>|<", "a*b|a", r"(?:<\p{L}*)+>"])
def test_a_quadratic_pattern_is_stopped(pattern):
    data = (b"a" if "a*" in pattern else b"<") * (1 << 20)
    started = time.thread_time()
    with pytest.raises(DataError, match=r"reads this text again and again, far beyond its matches\. Fix: limit"):
        splitter(pattern).cut(padded(data), 0, len(data))
    with pytest.raises(DataError, match="reads this text again"):
        cut_in_steps([Step("x"), Step("0"), Step(pattern)], padded(b"xx" + data), 0, len(data) + 2)
    assert time.thread_time() - started < 20
    # one long look ahead is no harm
    data = b"<" + b"b" * (4 << 20)
    assert len(splitter("<[^>]*>|<").cut(padded(data), 0, len(data))[0]) == 2


def test_any_case_of_i_is_what_tokenizers_sees():
    text = "iIİıi\u0307x"
    peer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("(?i:i)"), "isolated")
    assert splitter("(?i:i)").is_fast
    assert [piece.decode() for piece in pieces("(?i:i)", text.encode())] == [x for x, _ in peer.pre_tokenize_str(text)]


@given(patterns, texts)
def test_written_patterns_mean_the_same(pattern, text):
    machine_of(pattern)
    assume("(?i" not in pattern)
    expected = [part.tolist() for part in marked_ends(pattern, as_bytes(text))]
    assert [part.tolist() for part in marked_ends(written(parse(pattern)), as_bytes(text))] == expected


def test_a_mistake_of_the_regex_module_does_not_matter():
    """Oniguruma and Rust's engine see an A in the second option."""
    pattern = "(?i:s)|[^0a]"
    peer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed")
    found = splitter(pattern)
    assert found.is_fast
    assert peer.pre_tokenize_str("sA") == []
    assert found.cut(padded(b"sA"), 0, 2)[1].tolist() == [1, 1]


def test_samples_stand_in_their_class():
    found = build(PATTERNS["deepseek"])
    pools = machines.samples(found.classes)
    # the unassigned code points among the kana are a class of their own, and have no sample
    assert len(pools) == found.classes.max() - 1
    for pool in pools:
        assert len({int(found.classes[ord(char)]) for char in pool}) == 1


@pytest.mark.parametrize("pattern", CUSTOM)
def test_tables_stay_in_bounds(pattern):
    """What the kernel relies on: each entry leads to the front of a row, each class has a column."""
    found = build(pattern)
    width = 4 * found.rows.shape[1]
    following = found.rows >> 1
    assert not (following % width).any()
    assert 0 <= following.min() <= following.max() < width * len(found.rows)
    assert found.start % width == 0
    assert 0 < found.start < width * len(found.rows)
    assert 1 <= found.classes.min() <= found.classes.max() < found.rows.shape[1]
    # no state goes on for ever at the end of the text, and none without threads goes anywhere
    assert not following[:, 0].any()
    assert not found.rows[0].any()
    assert (found.rows.dtype, found.classes.dtype) == (np.int32, np.uint8)
    assert all(table.flags.c_contiguous for table in (found.rows, found.classes))


def test_many_pieces_come_in_blocks():
    data = b"a1" * BLOCK_PIECES
    ends, marks = splitter(r"\p{N}|b").cut(padded(data), 0, len(data))
    assert ends.tolist() == list(range(1, len(data) + 1))
    assert marks.tolist() == [0, 1] * BLOCK_PIECES


def test_a_broken_pattern_is_an_error():
    with pytest.raises(NotSupportedError, match="cannot be used"):
        splitter("(a")
