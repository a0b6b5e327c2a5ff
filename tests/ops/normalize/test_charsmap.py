"""Oracle: what went in comes out, and sentencepiece reads it."""

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from textmill.errors import ConfigError, FormatError
from textmill.ops.normalize import Rules, build_charsmap, read_charsmap, rules_of

strings = st.text(st.sampled_from("ab中é\x01\U0001f600"), max_size=5)


@given(st.dictionaries(strings.filter(bool), strings, max_size=30))
def test_round_trip(mapping):
    charsmap = read_charsmap(build_charsmap(mapping))
    assert rules_of(charsmap) == {key.encode(): value.encode() for key, value in mapping.items()}


@given(st.dictionaries(strings.filter(bool), strings, max_size=30), st.lists(strings, max_size=10))
def test_rules_looked_up_one_at_a_time(mapping, others):
    rules = Rules(read_charsmap(build_charsmap(mapping)))
    for key in (*mapping, *others):
        expected = mapping.get(key)
        assert rules.get(key.encode()) == (None if expected is None else expected.encode())


def test_sentencepiece_reads_it():
    mapping = {"a": "b", "ab": "中", "中中": "", "éa": "x y"}
    spec = sentencepiece_model_pb2.NormalizerSpec(precompiled_charsmap=build_charsmap(mapping))
    normalizer = sentencepiece.SentencePieceNormalizer(
        normalizer_spec=spec.SerializeToString(),
        add_dummy_prefix=False,
        escape_whitespaces=False,
        remove_extra_whitespaces=False,
    )
    assert dict(normalizer.decompile()) == mapping
    assert normalizer.normalize("a ab 中中 éa 中 \x00b") == "b 中  x y 中 \x00b"


def test_many_rules():
    mapping = {chr(0x4E00 + i) + suffix: chr(0x61 + i % 26) for i in range(3000) for suffix in ("", "x", "yz")}
    blob = build_charsmap(mapping)
    assert len(rules_of(read_charsmap(blob))) == len(mapping)
    # rules that end alike share their ends
    assert len(blob) < 8 * len(mapping)


@pytest.mark.parametrize("mapping", [{"": "a"}, {"a\0": "b"}, {"a": "\0"}])
def test_rules_that_cannot_be_written(mapping):
    with pytest.raises(ConfigError, match="must have something to replace"):
        build_charsmap(mapping)


@pytest.mark.parametrize("data", [b"abc", b"\xff\xff\xff\xff1234", b"\x03\0\0\0abcd", b"\0\0\0\0abcd"])
def test_damaged_tables(data):
    with pytest.raises(FormatError, match="a charsmap of"):
        read_charsmap(data)


def test_a_trie_in_circles():
    # the second unit has the label 1, and its children begin where its own parent's do
    data = b"".join(word.to_bytes(4, "little") for word in (8, 0, (1 << 10) | 1)) + b"\0"
    with pytest.raises(FormatError, match="or runs in circles"):
        rules_of(read_charsmap(data))
    with pytest.raises(FormatError, match="or runs in circles"):
        Rules(read_charsmap(data))


@given(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=300), st.binary(max_size=8))
def test_a_damaged_trie_fails_alike(units, tail):
    words = [unit & 0xC00007FF for unit in units]
    data = (
        (4 * len(words)).to_bytes(4, "little") + b"".join(word.to_bytes(4, "little") for word in words) + tail + b"\0"
    )
    charsmap = read_charsmap(data)
    try:
        listed = rules_of(charsmap)
    except FormatError:
        with pytest.raises(FormatError):
            Rules(charsmap)
    else:
        rules = Rules(charsmap)
        assert all(rules.get(key) == value for key, value in listed.items())
