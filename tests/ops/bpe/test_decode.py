import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import DataError
from textmill.ops.bpe import TokenBytes

TOKENS = [b"a", b"bc", None, b"x" * 15, b"y" * 16, b"z" * 17, bytes(range(256)), "的".encode()]


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 1, 3, 4, 5, 6, 7]), max_size=60), st.sampled_from(["int32", "int64", "uint16"]))
def test_joins_the_bytes(ids: list[int], dtype: str) -> None:
    assert TokenBytes(TOKENS).decode(np.array(ids, dtype=dtype)) == b"".join(TOKENS[number] for number in ids)


def test_accepts_lists_and_read_only_arrays() -> None:
    tokens = TokenBytes(TOKENS)
    ids = np.array([9, 1, 0, 9], np.int32)[1:3]
    ids.flags.writeable = False
    assert tokens.decode([0, 1]) == b"abc"
    assert tokens.decode(ids) == b"bca"
    assert tokens.decode(np.array([0, 9, 1, 9])[::2]) == b"abc"
    assert tokens.lengths.tolist() == [len(token or b"") for token in TOKENS]


@pytest.mark.parametrize("bad", [-1, 2, 8, 1 << 40, -(1 << 40), (1 << 64) - 1])
def test_names_the_bad_id(bad: int) -> None:
    with pytest.raises(DataError, match=rf"token id {bad} is not in the vocabulary\. Fix: ids .* below 8"):
        TokenBytes(TOKENS).decode(np.array([0, 1, bad], dtype=np.uint64 if bad > 1 << 62 else np.int64))


@pytest.mark.parametrize("bad", [-1, -(1 << 31), 2, 8, (1 << 31) - 1])
@pytest.mark.parametrize("place", range(9))
def test_finds_the_bad_id_wherever_it_stands(bad: int, place: int) -> None:
    ids = np.zeros(9, dtype=np.int32)
    ids[place] = bad
    with pytest.raises(DataError, match=rf"token id {bad} is not"):
        TokenBytes(TOKENS).decode(ids)


def test_bad_input() -> None:
    with pytest.raises(DataError, match="whole numbers in one row, got float64"):
        TokenBytes(TOKENS).decode(np.array([0.5]))
    with pytest.raises(DataError, match="token 1 has no bytes"):
        TokenBytes([b"a", b""])
