"""The fallback for any regular expression, against a loop over the matches."""

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import NotSupportedError
from textmill.ops.split import pieces
from textmill.ops.split.reference import byte_offsets, piece_ends


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
