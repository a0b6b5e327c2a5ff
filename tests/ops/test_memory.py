"""Oracles: Python's own bytes, struct and int."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from textmill.ops import memory as m


@njit
def loads(buffer, offset):
    at = m.address_of(buffer) + offset
    result = (m.load8(at), m.load16(at), m.load32(at), m.load64(at), m.load_int64(at))
    m.prefetch(at)
    m.keep(buffer)
    return result


@njit
def stores(buffer, number, word):
    at = m.address_of(buffer)
    m.store8(at + 1, number)
    m.store16(at + 3, number)
    m.store32(at + 7, number)
    m.store64(at + 13, number)
    m.store64(at + 22, word)
    m.keep(buffer)


@njit
def bits(word, count):
    return (
        m.count_trailing_zeros(word),
        m.low_bytes(word, count),
        m.fold_multiply(word, word),
    )


@njit
def hash_of(buffer, start, length):
    result = m.hash_span(m.address_of(buffer) + start, length)
    m.keep(buffer)
    return result


@njit
def equal(a, i, b, j, length):
    result = m.equal_span(m.address_of(a) + i, m.address_of(b) + j, length)
    m.keep(a)
    m.keep(b)
    return result


@pytest.mark.parametrize("offset", range(9))
def test_loads_read_any_address(offset):
    data = bytes((i * 37 + 200) % 256 for i in range(24))
    piece = data[offset : offset + 8]
    expected = (
        piece[0],
        struct.unpack("<H", piece[:2])[0],
        struct.unpack("<i", piece[:4])[0],
        struct.unpack("<Q", piece)[0],
        struct.unpack("<q", piece)[0],
    )
    assert loads(m.padded(data), offset) == expected


def test_stores_write_only_their_bytes():
    buffer = np.full(32, 0xEE, np.uint8)
    number, word = -0x0123456789ABCDEF, 0xFEDCBA9876543210
    stores(buffer, np.int64(number), np.uint64(word))
    expected = bytearray(b"\xee" * 32)
    low = (number & (2**64 - 1)).to_bytes(8, "little")
    expected[1:2], expected[3:5], expected[7:11], expected[13:21] = low[:1], low[:2], low[:4], low
    expected[22:30] = word.to_bytes(8, "little")
    assert buffer.tobytes() == bytes(expected)


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(1, 8))
def test_bit_tricks(word, count):
    product = word * word
    assert bits(np.uint64(word), count) == (
        (word & -word).bit_length() - 1 if word else 64,
        word & (256**count - 1),
        (product >> 64) ^ (product & (2**64 - 1)),
    )


@njit
def bits_of(capacity):
    return m.bits_of(capacity)


@pytest.mark.parametrize("bits", [0, 1, 14, 40])
def test_bits_of_a_table(bits):
    assert bits_of(1 << bits) == bits


@settings(deadline=None)
@given(st.binary(max_size=40), st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_hash_and_equality_ignore_what_follows(data, before, after):
    one = m.padded(data + after)
    other = m.padded(before + data)
    assert hash_of(one, 0, len(data)) == hash_of(other, 8, len(data))
    assert equal(one, 0, other, 8, len(data))
    for i in range(len(data)):
        changed = m.padded(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        assert hash_of(changed, 0, len(data)) != hash_of(one, 0, len(data))
        assert not equal(changed, 0, one, 0, len(data))


def test_hash_spreads_over_few_buckets():
    # 4096 short words into 512 buckets by the top bits: the fullest holds 8 on average, about 20 by chance at most
    hashes = [int(hash_of(m.padded(b"w%d" % i), 0, len(b"w%d" % i))) for i in range(4096)]
    assert len(set(hashes)) == 4096
    assert np.bincount([h >> 55 for h in hashes], minlength=512).max() < 30
    assert np.bincount([h & 511 for h in hashes], minlength=512).max() < 30


def test_hash_tells_lengths_apart():
    zeros = m.padded(b"")
    assert len({int(hash_of(zeros, 0, n)) for n in range(40)}) == 40


def test_padded_copies_and_pads():
    source = bytearray(b"ab")
    buffer = m.padded(source)
    source[0] = 0
    assert buffer.tobytes() == b"ab" + bytes(m.PADDING)
    assert m.padded(memoryview(b"")).tobytes() == bytes(m.PADDING)
