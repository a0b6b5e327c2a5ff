import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import ConfigError, DataError
from textmill.ops.memory import padded
from textmill.ops.words import WordEncoder, reference

WORDS = st.binary(min_size=1, max_size=20)


def block(pieces: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    return padded(b"".join(pieces)), np.cumsum([len(piece) for piece in pieces], dtype=np.int32)


@given(st.dictionaries(WORDS, st.integers(0, 1 << 30), max_size=30), st.lists(WORDS, max_size=30))
def test_ids_are_those_of_the_definition(tokens, others):
    pieces = [*tokens, *others, *tokens]
    buffer, ends = block(pieces)
    found, token_ends = WordEncoder(tokens, unknown=5).encode_with_ends(buffer, 0, ends)
    assert found.tolist() == reference.encode(pieces, tokens, 5)
    assert token_ends.tolist() == ends.tolist()


def test_a_word_without_a_token():
    buffer, ends = block([b"a", b"cat"])
    with pytest.raises(DataError, match=r"no token for b'cat'. Fix: use one with an unknown token"):
        WordEncoder({b"a": 0}, unknown=None).encode(buffer, 0, ends)


def test_a_large_vocabulary():
    tokens = {str(number).encode() * 3: number for number in range(100_000)}
    buffer, ends = block(list(tokens))
    assert WordEncoder(tokens, unknown=None).encode(buffer, 0, ends).tolist() == list(tokens.values())


def test_out_receives_the_ids_and_must_be_large_enough():
    buffer, ends = block([b"a", b"b"])
    encoder = WordEncoder({b"a": 1, b"b": 2}, unknown=0).clone()
    out = np.zeros(40, dtype=np.int32)
    assert encoder.encode_into(buffer, 0, ends, None, out) == 2
    assert out[:3].tolist() == [1, 2, 0]
    with pytest.raises(DataError, match="out must hold 18 ids, got 4"):
        encoder.encode_into(buffer, 0, ends, None, np.zeros(4, dtype=np.int32))


def test_hostile_blocks_and_vocabularies():
    with pytest.raises(DataError, match="ends of pieces must grow"):
        WordEncoder({b"a": 1}, unknown=0).encode(padded(b"ab"), 0, np.array([2, 1], np.int32))
    with pytest.raises(ConfigError, match="words must have bytes"):
        WordEncoder({b"": 1}, unknown=0)
