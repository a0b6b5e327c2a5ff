import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError, DataError
from textmill.ops.bpe import BpeEncoder, reference
from textmill.ops.memory import padded

MERGES = [
    (97, 98, 256),
    (256, 97, 257),
    (98, 98, 258),
    (257, 258, 259),
    (97, 97, 260),
    (260, 260, 261),
    (256, 256, 262),
]


def encoder() -> BpeEncoder:
    return BpeEncoder.from_merges(np.arange(256), np.array(MERGES))


def encode(pieces: list[bytes], probability: float, seed: int, before: bytes = b"") -> tuple[list[int], list[int]]:
    ends = np.cumsum([len(piece) for piece in pieces]).astype(np.int32)
    text = padded(before + b"".join(pieces))
    ids, token_ends = encoder().encode_with_dropout(text, len(before), ends, probability=probability, seed=seed)
    return ids.tolist(), token_ends.tolist()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("abc", min_size=1, max_size=24).map(str.encode), max_size=5),
    st.floats(0, 1),
    st.integers(0, (1 << 64) - 1),
)
def test_equals_the_definition(pieces: list[bytes], probability: float, seed: int) -> None:
    expected: list[int] = []
    offset = 0
    # the kernel compares whole numbers
    threshold = int(probability * (1 << 53)) / (1 << 53)
    for piece in pieces:
        expected += reference.encode_with_dropout(
            piece,
            range(256),
            MERGES,
            lambda step, place, offset=offset: reference.draw(seed, offset, step, place) < threshold,
        )
        offset += len(piece)
    ids, ends = encode(pieces, probability, seed, b"xy")
    assert ids == expected
    assert ends == sorted(set(ends))
    assert not ends or ends[-1] == offset


def test_the_ends_of_the_scale() -> None:
    pieces = [b"abab", b"aaaaab", b"bb", b"z"]
    plain = encoder().encode(padded(b"".join(pieces)), 0, np.array([4, 10, 12, 13], np.int32))
    assert encode(pieces, 0.0, 1)[0] == plain.tolist()
    assert bytes(encode(pieces, 1.0, 1)[0]) == b"".join(pieces)


def test_repeated_pieces_differ_and_seeds_matter() -> None:
    pieces = [b"abababab"] * 50
    ids, ends = encode(pieces, 0.5, 7)
    assert (ids, ends) == encode(pieces, 0.5, 7)
    assert ids != encode(pieces, 0.5, 8)[0]
    cuts = {tuple(end % 8 for end in ends if 8 * i < end <= 8 * i + 8) for i in range(50)}
    assert len(cuts) > 5


def test_the_share_of_dropped_merges() -> None:
    ids, _ = encode([b"ab"] * 20_000, 0.1, 3)
    assert 0.09 < (len(ids) - 20_000) / 20_000 < 0.11


def test_a_megabyte_without_a_break() -> None:
    ids, ends = encode([b"a" * 1_000_000], 0.1, 3)
    assert 250_000 < len(ids) < 600_000
    assert ends[-1] == 1_000_000


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match=r"probability must be in 0\.\.1, got 1\.5"):
        encode([b"a"], 1.5, 0)
    with pytest.raises(ConfigError, match="seed must be in"):
        encode([b"a"], 0.5, -1)
    with pytest.raises(DataError, match="must grow"):
        encoder().encode_with_dropout(padded(b"abc"), 0, np.array([2, 1, 3], np.int32), probability=0.5, seed=0)
    ids, ends = encoder().encode_with_dropout(padded(b""), 0, np.empty(0, np.int32), probability=0.5, seed=0)
    assert len(ids) == len(ends) == 0
