import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from textmill.ops.memory import address_of, keep, padded
from textmill.ops.vectors import VECTOR_BYTES, bytes_in_range, copy16, count_leading_zeros, count_ones


@njit
def mask(text, start, raised, first, count):
    found = bytes_in_range(address_of(text) + start, raised, first, count)
    keep(text)
    return found


@njit
def counts(word):
    return count_leading_zeros(word), count_ones(word)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(min_size=70, max_size=90),
    st.integers(0, 6),
    st.sampled_from([0, 32, 128]),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_bytes_in_range(data: bytes, start: int, raised: int, first: int, count: int) -> None:
    found = int(mask(padded(data), np.int64(start), np.int64(raised), np.int64(first), np.int64(count)))
    # the range goes on from 255 to 0
    expected = [((byte | raised) - first) % 256 < count for byte in data[start : start + VECTOR_BYTES]]
    assert [bool(found >> place & 1) for place in range(VECTOR_BYTES)] == expected


@given(st.integers(0, (1 << 64) - 1))
def test_counts_of_bits(word: int) -> None:
    assert counts(np.uint64(word)) == (64 - word.bit_length(), word.bit_count())


def test_no_bits() -> None:
    assert counts(np.uint64(0)) == (64, 0)


@njit
def copied(source, target, from_place, to_place):
    copy16(address_of(target) + to_place, address_of(source) + from_place)
    keep(source), keep(target)


@given(st.integers(0, 15), st.integers(0, 15))
def test_copies_sixteen_bytes_and_no_more(from_place: int, to_place: int) -> None:
    source, target = np.arange(1, 33, dtype=np.uint8), np.zeros(32, dtype=np.uint8)
    copied(source, target, from_place, to_place)
    expected = np.zeros(32, dtype=np.uint8)
    expected[to_place : to_place + 16] = source[from_place : from_place + 16]
    assert np.array_equal(target, expected)
