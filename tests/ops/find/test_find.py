import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError
from textmill.ops.find import StringFinder, finder
from textmill.ops.find.reference import find

SECONDS = 5
"""Linear searches take a fiftieth of this; the quadratic ones that they replace take minutes."""

alphabets = st.sampled_from([b"ab", b"abc", bytes(range(0x7F, 0x83)), bytes(range(256))])


@st.composite
def problems(draw) -> tuple[list[bytes], bytes]:
    symbols = st.sampled_from(draw(alphabets)).map(lambda byte: bytes([byte]))
    strings = st.lists(symbols, max_size=draw(st.sampled_from([3, 20]))).map(b"".join)
    return draw(st.lists(strings, max_size=40)), draw(st.lists(symbols, max_size=100).map(b"".join))


@pytest.fixture(params=["re", "kernel"])
def way(request, monkeypatch):
    """Both ways of searching, whatever the number of strings."""
    monkeypatch.setattr(finder, "FEW_STRINGS", 1 << 30 if request.param == "re" else 0)
    monkeypatch.setattr(finder, "FEW_BYTES", 1 << 30)
    monkeypatch.setattr(finder, "SHORT_TEXT", 1 << 30)


def check(strings: list[bytes], data: bytes, start: int = 0, stop: int | None = None) -> None:
    stop = len(data) if stop is None else stop
    expected = [(start + place, number) for place, number in find(strings, data[start:stop])]
    assert StringFinder(strings).find(data, start, stop) == expected


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problems(), st.integers(0, 20), st.integers(0, 20))
@example(([b"\0", b"\0\0"], b"\0\0\0"), 0, 0)
@example(([bytes([byte]) for byte in range(256)], bytes(range(256))), 3, 5)
@example(([bytes([byte, 7]) for byte in range(256)], bytes(range(256)) * 2), 0, 0)
def test_as_the_definition(way, problem, front, back):
    strings, data = problem
    start = min(front, len(data))
    check(strings, data, start, max(len(data) - back, start))


def test_of_equal_strings_the_first_is_found_and_empty_ones_never(way):
    assert StringFinder([b"", b"a", b"", b"a"]).find(b"baa", 0, 3) == [(1, 1), (2, 1)]
    assert StringFinder([b""]).find(b"baa", 0, 3) == []
    assert StringFinder([]).find(b"baa", 0, 3) == []


def test_empty_text_and_places_outside_the_text(way):
    strings = StringFinder([b"a"])
    assert strings.find(b"", 0, 0) == []
    assert strings.find(b"aa", 1, 1) == []
    assert strings.find(b"aa", 2, 1) == []
    assert strings.find(b"aa", -5, 9) == [(0, 0), (1, 0)]


def test_buffers_that_may_be_written_to(way):
    strings = StringFinder([b"ab"])
    assert strings.find(memoryview(bytearray(b"xab")), 0, 3) == [(1, 0)]
    assert strings.find(memoryview(b"xab")[1:], 0, 2) == [(0, 0)]


def test_more_matches_than_there_is_room_for_at_first(way):
    data = b"ab" * 20_000
    assert StringFinder([b"a", b"ba", b"abab"]).find(data, 0, len(data)) == [(4 * i, 2) for i in range(10_000)]


@pytest.mark.parametrize("length", range(1, 24))
def test_nothing_outside_the_text_counts(way, length):
    # the bytes before and behind would make every place a match
    data = b"ab" * 30
    for start in range(10, 14):
        check([b"ab", b"bab", b"a" * 5, b"b"], data, start, start + length)


def test_long_texts_of_strings_that_begin_differently_go_to_the_kernel(monkeypatch):
    monkeypatch.setattr(finder, "SHORT_TEXT", 10)
    strings = StringFinder([b"xa", b"yb", b"xab"])
    for length in (9, 10, 11):
        data = (b"xabyb" * 3)[:length]
        assert strings.find(data, 0, length) == find([b"xa", b"yb", b"xab"], data)


@pytest.mark.parametrize(
    ("strings", "data"),
    [
        ([b"a" * i + b"b" for i in range(1, 2000)], b"a" * 1_000_000),
        ([b"b" + b"a" * i for i in range(1000, 2000)], (b"b" + b"a" * 999 + b"c") * 1000),
        ([b"a" * 1_500_000 + b"b", b"b" + b"a" * 1_500_000], b"a" * 1_000_000),
        ([b"a" * i for i in range(1, 2000)], b"a" * 1_000_000),
        ([b"a", b"a" * 100_000 + b"b"], b"a" * 1_000_000),
    ],
)
def test_texts_that_almost_match_everywhere_take_linear_time(strings, data):
    many = StringFinder([*strings, *(b"<%d>" % i for i in range(100))])
    many.find(b"a", 0, 1)
    start = time.perf_counter()
    found = many.find(data, 0, len(data))
    assert time.perf_counter() - start < SECONDS
    assert all(data.startswith(strings[number], place) for place, number in found[::97])


def test_a_hundred_thousand_strings():
    strings = [b"<|token number %d|>" % i for i in range(100_000)]
    many = StringFinder(strings)
    chosen = np.random.default_rng(0).integers(0, len(strings), 5000).tolist()
    data = b"<|token number ".join([strings[i] for i in chosen])
    assert [number for _, number in many.find(data, 0, len(data))] == chosen


def test_threads_share_one_finder():
    strings = StringFinder([b"%d," % i for i in range(1000)])
    data = b"".join(b"%d," % (i % 1500) for i in range(20_000))
    results: list[list[tuple[int, int]]] = []
    threads = [threading.Thread(target=lambda: results.append(strings.find(data, 0, len(data)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(result == results[0] for result in results)
    assert results[0][:2] == [(0, 0), (2, 1)]


def test_too_much_to_look_for(monkeypatch):
    monkeypatch.setattr(finder, "MOST_BYTES", 10)
    with pytest.raises(ConfigError, match="must have less than 2 GiB in all, got 11 bytes"):
        StringFinder([b"123456", b"12345"])


def test_a_few_strings_need_no_kernel(monkeypatch):
    monkeypatch.setitem(sys.modules, "textmill.ops.find.cpu", None)
    assert StringFinder([b"<s>", b"</s>", b"[MASK]"]).find(b"a</s>", 0, 5) == [(1, 1)]
