"""Stretches of characters of three bytes, of which no piece joins most."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from textmill.errors import DataError
from textmill.ops.memory import padded
from textmill.ops.unigram import reference
from textmill.ops.unigram.cpu_emit import added_repeatedly
from textmill.ops.unigram.encode import UnigramEncoder

from .sentencepiece_models import peer_of

SPECIAL = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
BYTES = [(f"<0x{value:02X}>", 0.0) for value in range(256)]
PIECES = [
    ("▁", -2.0),
    ("a", -2.5),
    (",", -3.7),
    ("中", -5.1),
    ("文", -6.3),
    ("中文", -9.0),
    ("文,", -7.7),
    ("a中", -4.4),
]
KINDS = [2, 3, 3] + [1] * len(PIECES)
BYTE_KINDS = [*KINDS, *[6] * 256]

runs = st.integers(1, 90).map(lambda count: "国" * count)
parts = st.sampled_from(["中", "文", ",", "a", "▁", "。", "é", "𝄞", "▁a", "ab", "中文,", "人民"]) | runs
texts = st.lists(parts, max_size=14).map("".join)


@njit
def _at_once(total, term, count, most):
    return added_repeatedly(total, term, count, most)


def _one_by_one(total: float, term: float, count: int, most: float) -> float:
    result = np.float32(total)
    for _ in range(count):
        if abs(result) > np.float32(most):
            result = np.float32(0.0)
        result += np.float32(term)
    return float(result)


single = st.floats(-60, 5, width=32) | st.integers(-64, 8).map(lambda number: number / 4)


@settings(max_examples=300, deadline=None)
@given(single.map(lambda number: number * 1024) | single, single, st.integers(0, 700), st.sampled_from([1e5, 1000.0]))
@example(-(2.0**23) - 1, -0.5, 80, 1e8)
@example(-(2.0**23), -1.5, 80, 1e8)
@example(-16777210.0, -1.0, 80, 1e8)
def test_additions_at_once_equal_those_one_by_one(total: float, term: float, count: int, most: float) -> None:
    assert _at_once(total, term, count, most) == _one_by_one(total, term, count, most)


@settings(max_examples=150, deadline=None)
@given(texts, st.booleans(), st.sampled_from(["float32", "float64"]))
def test_equals_the_definition(text: str, with_bytes: bool, precision: str) -> None:
    pieces, kinds = ([*SPECIAL, *PIECES, *BYTES], BYTE_KINDS) if with_bytes else ([*SPECIAL, *PIECES], KINDS)
    encoder = UnigramEncoder(pieces, unknown=0, kinds=kinds, byte_fallback=with_bytes, precision=precision)
    data = text.encode()
    expected = reference.encode(data, encoder.vocabulary)
    whole = np.array([len(data)] if data else [], dtype=np.int32)
    for _ in range(2):
        assert encoder.encode_sentence(padded(data), 0, len(data)).tolist() == expected
        ids, ends = encoder.encode_with_ends(padded(data), 0, whole)
        assert ids.tolist() == expected
        assert ends.tolist() == _ends(data, encoder)
    # two pieces that follow one another have nothing to do with each other
    if data:
        both, counts = encoder.encode_sentences(padded(data + data), np.array([len(data), 2 * len(data)], np.int32))
        assert both.tolist() == [*expected, *expected]
        assert counts.tolist() == [len(expected)] * 2


def _ends(data: bytes, encoder: UnigramEncoder) -> list[int]:
    ends: list[int] = []
    at, after_unknown = 0, False
    for piece, number in reference.segment(data, encoder.vocabulary):
        unknown = number == reference.UNKNOWN
        if unknown and encoder.vocabulary.byte_ids:
            ends += range(at + 1, at + len(piece) + 1)
        elif unknown and after_unknown:
            ends[-1] = at + len(piece)
        else:
            ends.append(at + len(piece))
        at, after_unknown = at + len(piece), unknown
    return ends


@settings(max_examples=40, deadline=None)
@given(texts.filter(lambda text: "▁" not in text))
def test_equals_sentencepiece(text: str) -> None:
    pieces = [*SPECIAL, *PIECES]
    encoder = UnigramEncoder(pieces, unknown=0, kinds=KINDS)
    # far beyond 100000, where the running score starts again
    for repeated in (text, text * 40):
        data = repeated.encode()
        assert encoder.encode_sentence(padded(data), 0, len(data)).tolist() == peer_of(PEER, KINDS).encode(repeated)


PEER = [*SPECIAL, *PIECES]


def test_no_unknown_piece() -> None:
    encoder = UnigramEncoder([("a", -1.0), ("中", -2.0)], unknown=None)
    data = "中中a国".encode()
    with pytest.raises(DataError, match="the vocabulary has no unknown piece, and the word at byte 7"):
        encoder.encode_sentence(padded(data), 0, len(data))
