"""Pieces that are copied and changed. Oracle: the same with Python's strings of bytes."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import DataError
from textmill.ops.memory import PADDING, padded
from textmill.ops.split import GAP, MATCH
from textmill.ops.split.cpu_rewrite import AT_START, EVERYWHERE, NOWHERE
from textmill.ops.split.marked import cut_before, spelled, substituted, with_blanks

some_bytes = st.text("ab _▁é", min_size=1, max_size=12).map(str.encode) | st.binary(min_size=1, max_size=10)
pieces_of_bytes = st.lists(st.tuples(some_bytes, st.booleans()), max_size=6)
SPELLING = np.array([byte if byte % 3 else (0xC4 | 0x80 + byte // 4 << 8) for byte in range(256)], dtype=np.uint16)


def arrays(rows, before):
    """(poisoned text, start, ends, marks)."""
    data = b"".join(piece for piece, _ in rows)
    text = padded(before + data)
    # what follows the text must count for nothing: blanks and characters that would be found
    text[len(before) + len(data) :] = np.frombuffer(("▁  _" * 11).encode()[:PADDING], dtype=np.uint8)
    ends = np.cumsum([len(piece) for piece, _ in rows]).astype(np.int32)
    return text, len(before), ends, np.array([MATCH if kept else GAP for _, kept in rows], dtype=np.uint8)


def parts(found):
    data = found.buffer.tobytes()
    assert data[len(data) - PADDING :] == bytes(PADDING)
    cuts = [0, *found.ends.tolist()]
    assert cuts[-1] == len(data) - PADDING
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


@pytest.mark.parametrize("string", ["▁", "_", " ", "a", "12345678"])
@pytest.mark.parametrize("prefix", [NOWHERE, AT_START, EVERYWHERE])
@given(pieces_of_bytes, st.binary(max_size=3))
def test_blanks_and_prefixes(string, prefix, rows, before):
    text, start, ends, marks = arrays(rows, before)
    string = string.encode()
    found = with_blanks(text, start, ends, marks, string, prefix, sources=True)
    expected, sources, at = [], [], 0
    for piece, kept in rows:
        if kept:
            own = [(string if byte == 32 else bytes([byte]), at + i) for i, byte in enumerate(piece)]
            wanted = prefix == EVERYWHERE or (prefix == AT_START and at == 0)
            if wanted and not (piece[:1] == b" " or piece.startswith(string)):
                own.insert(0, (string, at))
            expected.append(b"".join(part for part, _ in own))
            sources += [place for part, place in own for _ in part]
        at += len(piece)
    assert parts(found) == expected
    assert found.sources.tolist() == sources
    plain = with_blanks(text, start, ends, marks, string, prefix, sources=False)
    assert (parts(plain), len(plain.sources)) == (expected, 0)


@given(pieces_of_bytes, st.binary(max_size=3))
def test_spelling(rows, before):
    text, start, ends, marks = arrays(rows, before)
    found = spelled(text, start, ends, marks, SPELLING, sources=True)
    table = [int(word).to_bytes(2, "little")[: 1 + (word > 255)] for word in SPELLING]
    assert parts(found) == [b"".join(table[byte] for byte in piece) for piece, kept in rows if kept]
    kept = np.repeat(marks, np.diff(ends, prepend=0)) == MATCH
    data = text[start : start + len(kept)]
    assert found.sources.tolist() == [place for place in np.flatnonzero(kept) for _ in table[data[place]]]


@pytest.mark.parametrize("string", ["▁", "_", "a"])
@given(pieces_of_bytes, st.binary(max_size=3))
def test_cuts(string, rows, before):
    text, start, ends, _ = arrays(rows, before)
    string = string.encode()
    found = cut_before(text, start, ends, string).tolist()
    data, expected, at = b"".join(piece for piece, _ in rows), set(ends.tolist()), 0
    for piece, _ in rows:
        places = [i for i in range(1, len(piece)) if piece.startswith(string, i)]
        expected |= {at + place for place in places}
        at += len(piece)
    assert found == sorted(expected)
    assert at == len(data)


@given(pieces_of_bytes, st.binary(max_size=20))
def test_substitutes(rows, string):
    text, _, ends, marks = arrays(rows, b"")
    assert substituted(text, ends, marks, string) == b"".join(string if match else piece for piece, match in rows)


def test_what_is_refused():
    text, one, mark = padded(b"ab"), np.array([2], np.int32), np.array([1], np.uint8)
    with pytest.raises(DataError, match="must have 1 to 8 bytes"):
        with_blanks(text, 0, one, mark, b"", NOWHERE, sources=False)
    with pytest.raises(DataError, match="has 1 to 8 bytes"):
        cut_before(text, 0, one, b"123456789")
    with pytest.raises(DataError, match="a spelling is uint16"):
        spelled(text, 0, one, mark, np.zeros(255, np.uint16), sources=False)
    with pytest.raises(DataError, match="must grow from 0 and stay in the text"):
        substituted(text, np.array([3], np.int32), mark, b"x")
