"""The fallback for any regular expression, against a loop over the matches."""

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import DataError, NotSupportedError
from textmill.ops.split import pieces
from textmill.ops.split.reference import byte_offsets, marked_ends, piece_ends


def by_the_loop(pattern: str, text: str) -> list[str]:
    found, done = [], 0
    for match in regex.finditer(pattern, text):
        found += [text[done : match.start()], match.group()]
        done = match.end()
    return [piece for piece in [*found, text[done:]] if piece]


@pytest.mark.parametrize("pattern", [r"\d+", r"[a-c]*", r"x|(?<=a)b", r"\s", "aéb"])
@given(st.text(alphabet="abcxé中🙂 \n12", max_size=20))
def test_matches_and_the_stretches_between(pattern, text):
    data = text.encode()
    assert [piece.decode() for piece in pieces(pattern, data)] == by_the_loop(pattern, text)
    assert piece_ends(pattern, data)[-1:].tolist() == ([len(data)] if data else [])


@given(st.binary(max_size=30))
def test_bad_bytes_tile(data):
    assert b"".join(pieces(r"\p{L}+", data)) == data


@given(st.text(max_size=20))
def test_byte_offsets(text):
    expected = [len(text[:count].encode()) for count in range(len(text) + 1)]
    assert byte_offsets(text).tolist() == expected


def test_byte_offsets_of_escaped_bytes():
    text = b"a\x80\xc3\xa9".decode("utf-8", "surrogateescape")
    assert byte_offsets(text).tolist() == [0, 1, 2, 4]
    assert byte_offsets(text).dtype == np.int64


def test_a_pattern_that_does_not_compile():
    with pytest.raises(NotSupportedError, match=r"the splitting pattern '\(' cannot be used: missing \).*choose from"):
        pieces("(", b"a")


@pytest.mark.parametrize("pattern", [r"\d+", r"[a-c]*", r"x|(?<=a)b", ""])
@given(st.text(alphabet="abcxé中 12", max_size=20))
def test_marks_tell_matches(pattern, text):
    ends, matches = marked_ends(pattern, text.encode())
    spans = {match.span() for match in regex.finditer(pattern, text)}
    at = byte_offsets(text).tolist()
    for start, end, is_match in zip([0, *ends.tolist()], ends.tolist(), matches.tolist(), strict=False):
        assert is_match == ((at.index(start), at.index(end)) in spans)


def test_a_pattern_that_tries_exponentially_many_ways_is_stopped():
    with pytest.raises(DataError, match=r"took more than 0\.2 s on 41 bytes of text.*Fix: take out repeats within"):
        marked_ends("(?:a|a)+(?<=x)b", b"a" * 40 + b"c", seconds=0.2)
