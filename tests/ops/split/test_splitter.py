"""The splitter's names and spellings."""

import pickle

import numpy as np
import pytest
import tiktoken_ext.openai_public as published

from textmill.errors import DataError, NotSupportedError
from textmill.ops.memory import padded
from textmill.ops.split import PATTERNS, PLAIN, splitter


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        (published.r50k_pat_str, "gpt2"),
        (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", "gpt2"),
        *((pattern, name) for name, pattern in PATTERNS.items()),
    ],
)
def test_spellings_of_the_named_patterns(spelling, name):
    assert splitter(spelling).name == name


def test_tiktokens_patterns_have_kernels(monkeypatch):
    monkeypatch.setattr(published, "load_tiktoken_bpe", lambda *_, **__: {})
    assert splitter(published.cl100k_base()["pat_str"]).name == "cl100k"
    assert splitter(published.o200k_base()["pat_str"]).name == "o200k"


@pytest.mark.parametrize("name", ["gpt2", "whitespace", "whole", r"\d+", r"[\s\S]+"])
def test_a_splitter_travels_between_processes(name):
    copy = pickle.loads(pickle.dumps(splitter(name)))
    assert (copy.name, copy.pattern) == (splitter(name).name, splitter(name).pattern)


def test_a_pattern_that_others_read_differently():
    with pytest.raises(NotSupportedError, match="which regex libraries read differently"):
        splitter(r"\w+")


def test_arrays_that_the_kernels_must_not_see():
    cut, ends = splitter("gpt2"), np.empty(4, np.int32)
    for text, start, stop in ((np.zeros(70, np.uint8), 0, 7), (padded(b"abc"), -1, 3), (padded(b"abc"), 2, 1)):
        with pytest.raises(DataError, match="needs 64 bytes of padding, and offsets are 32-bit numbers"):
            cut(text, start, stop, ends)
    for text, out in (
        (padded(b"abc").astype(np.int64), ends),
        (padded(b"abc" * 9)[::2], ends),
        (padded(b"abc"), np.empty(4, np.int64)),
        (padded(b"abc"), ends[::2]),
        (padded(b"abc"), ends[:0]),
    ):
        with pytest.raises(DataError, match="takes contiguous uint8 text and int32 ends"):
            cut(text, 0, 3, out)


@pytest.mark.parametrize("pattern", ["gpt2", "whitespace", "whole", "(?<=a)b"])
def test_ranges_that_are_not_in_the_text(pattern):
    text, ends = padded(b"abc"), np.empty(4, np.int32)
    for start, stop in ((-1, 3), (2, 1), (9, 0), (0, 4), (0, 1 << 40)):
        with pytest.raises(DataError, match="needs 64 bytes of padding"):
            splitter(pattern).cut(text, start, stop)
        with pytest.raises(DataError, match="needs 64 bytes of padding"):
            list(splitter(pattern).blocks(text, 0, 9, ends))
    assert [part.tolist() for part in splitter(pattern).cut(text, 3, 3)] == [[], []]


def test_the_named_patterns_are_fast_and_their_tables_too():
    for name in (*PATTERNS, *PLAIN):
        assert splitter(name).is_fast
        assert splitter(name).tables is not None
    assert splitter("(?<=a)b").tables is None
