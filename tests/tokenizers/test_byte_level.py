from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from textmill.tokenizers.byte_level import BYTE_CHARACTERS, BYTES_IN_ORDER, to_bytes, to_characters


def test_the_alphabet_is_that_of_tokenizers():
    assert sorted(BYTE_CHARACTERS) == sorted(pre_tokenizers.ByteLevel.alphabet())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("".join(map(chr, range(128))), "".join(map(chr, range(128, 0x800))), "中\uffff🙂"):
        ((expected, _),) = split.pre_tokenize_str(text)
        assert to_characters(text.encode()) == expected


def test_byte_order_is_by_character():
    assert [BYTE_CHARACTERS[byte] for byte in BYTES_IN_ORDER] == sorted(BYTE_CHARACTERS)


@given(st.binary())
def test_round_trip(data):
    assert to_bytes(to_characters(data)) == data


def test_other_characters_have_no_bytes():
    assert to_bytes("▁a") is None
    assert to_bytes("a b") is None
    assert to_bytes("") == b""
