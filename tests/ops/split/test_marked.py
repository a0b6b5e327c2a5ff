"""Dropping and merging: oracle is `tokenizers`, and numpy's own indexing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from textmill.errors import ConfigError, DataError
from textmill.ops.memory import PADDING, padded
from textmill.ops.split import GAP, MATCH, splitter
from textmill.ops.split.marked import BEHAVIORS, behave, compacted


@pytest.mark.parametrize("pattern", [r"\s+", r"\p{L}", r"(?<=a)b|\s", "gpt2"])
@given(st.text(alphabet="ab é中\n", max_size=20), st.text(alphabet="a ", max_size=9))
def test_compact_bytes_come_from_their_sources(pattern, text, before):
    data = (before + text).encode()
    buffer = padded(data)
    ends, marks = splitter(pattern).cut(buffer, len(before), len(data))
    for kept in (GAP, MATCH):
        found = compacted(buffer, len(before), ends, marks, kept=kept)
        total = len(found.sources)
        spans = zip(itertools.pairwise([0, *ends.tolist()]), marks.tolist(), strict=True)
        chosen = [np.arange(a, b) for (a, b), mark in spans if mark == kept]
        assert found.sources.tolist() == [int(place) for places in chosen for place in places]
        assert found.ends.tolist() == list(itertools.accumulate(map(len, chosen)))
        assert found.buffer[:total].tolist() == buffer[len(before) :][found.sources].tolist()
        assert found.buffer[total:].tolist() == [0] * PADDING
        assert (found.buffer.dtype, found.ends.dtype, found.sources.dtype) == (np.uint8, np.int32, np.int32)


@pytest.mark.parametrize("behavior", BEHAVIORS)
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("pattern", ["-", "-+", "b|-"])
@given(st.text(alphabet="ab--", max_size=14))
def test_behaviours_are_those_of_tokenizers(behavior, invert, pattern, text):
    data = text.encode()
    ends, marks = behave(*splitter(pattern).cut(padded(data), 0, len(data)), behavior, invert=invert)
    spans = zip(itertools.pairwise([0, *ends.tolist()]), marks.tolist(), strict=True)
    theirs = pre_tokenizers.Split(Regex(pattern), behavior, invert).pre_tokenize_str(text)
    assert [text[a:b] for (a, b), mark in spans if mark != GAP] == [piece for piece, _ in theirs]


def test_an_unknown_behaviour():
    none = np.empty(0, np.int32), np.empty(0, np.uint8)
    with pytest.raises(ConfigError, match=r"must be one of isolated, .* got 'merged'"):
        behave(*none, "merged")


def test_patterns_that_leave_nothing_unmatched():
    data = b"a  b\xff\n"
    for name in ("gpt2", "cl100k", "llama3", "o200k", "qwen2", "tekken"):
        assert splitter(name).cut(padded(data), 0, len(data))[1].all()


def test_arrays_that_no_splitter_made():
    text = padded(b"abc")
    ends, marks = np.array([1, 3], np.int32), np.array([1, 0], np.uint8)
    for bad in (
        (text, 0, ends.astype(np.int64), marks),
        (text, 0, ends, marks.astype(bool)),
        (text.astype(np.int32), 0, ends, marks),
        (text, 0, ends[:1], marks),
        (text, 0, np.array([1, 0, 3, 0], np.int32)[::2], marks),
    ):
        with pytest.raises(DataError, match="int32 ends and as many uint8 marks of uint8 text"):
            compacted(*bad)
    for bad in (
        (text, 1, ends, marks),
        (text, -1, ends, marks),
        (text, 0, ends[::-1].copy(), marks),
        (text, 0, np.array([-1, 3], np.int32), marks),
        (text[:5], 0, ends, marks),
        # differences that wrap around in 32 bits
        (text, 0, np.array([-(2**31), 2**31 - 1], np.int32), marks),
    ):
        with pytest.raises(DataError, match="must grow from 0 and stay in the text"):
            compacted(*bad)


def test_marks_of_the_wrong_kind():
    ends = np.empty(4, np.int32)
    for marks in (np.empty(3, np.uint8), np.empty(4, np.int64), np.empty(8, np.uint8)[::2]):
        with pytest.raises(DataError, match="as many uint8 marks or none"):
            splitter(r"\p{N}")(padded(b"a1"), 0, 2, ends, marks)
