"""Oracles: the definition in `reference.py`, and sentencepiece."""

import contextlib
import itertools

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textmill.errors import DataError, FormatError
from textmill.ops.memory import PADDING, padded
from textmill.ops.normalize import SentencePieceNormalizer, build_charsmap, read_charsmap, rules_of
from textmill.ops.normalize.reference import BlankRules, normalized

RULES = {
    "ﬁ": "fi",
    "①": "1",
    "\t": " ",
    "　": " ",
    "e\u0301": "é",
    "か\u3099": "が",
    "\x01": "",
    "ﷺ": "a b  c ",
    "aa": "Ä",
}
CHARSMAP = read_charsmap(build_charsmap(RULES))
ENCODED = {key.encode(): value.encode() for key, value in RULES.items()}
BLANKS = [
    BlankRules(dummy_prefix=prefix, squeeze_blanks=squeeze, escape_blanks=escape, blank_as_suffix=suffix)
    for prefix, squeeze, escape, suffix in itertools.product([True, False], repeat=4)
]
USER = ("<ab>", "▁x", " y ", "①", "-", "e")
NORMALIZERS = {
    (blanks, user): SentencePieceNormalizer(CHARSMAP, blanks, user) for blanks in BLANKS for user in ((), USER)
}

pieces = st.sampled_from([*RULES, *USER, " ", "  ", "a", "Z~", "-", "▁", "中", "é", "\0", "a letter word", "\x7f"])
texts = st.lists(pieces, max_size=10).map("".join).map(str.encode)
hostile = st.lists(texts | st.binary(max_size=4), max_size=4).map(b"".join)


def run(normalizer, data):
    """The result, after a check that the bytes behind the text's padding play no part."""
    buffer, length, sources = normalizer(padded(data), len(data), sources=True)
    poisoned = np.concatenate([padded(data), np.full(64, 0x41, np.uint8)])
    again, again_length, none = normalizer(poisoned[: len(data) + PADDING], len(data))
    assert none is None
    assert again[:again_length].tobytes() == buffer[:length].tobytes()
    assert not buffer[length : length + PADDING].any()
    return buffer[:length].tobytes(), sources.tolist()


@given(hostile, st.sampled_from(BLANKS), st.booleans())
@example(b"", BLANKS[0], False)
@example(b" ", BLANKS[0], False)
@example("▁▁".encode(), BLANKS[0], False)
@example(b"\xe4\xb8", BLANKS[0], False)
@example(b"a" * 33 + b"\xe4", BLANKS[0], True)
@settings(max_examples=400)
def test_the_kernel_is_the_definition(data, blanks, with_user):
    user = USER if with_user else ()
    expected = normalized(data, ENCODED, frozenset(string.encode() for string in user), blanks)
    assert run(NORMALIZERS[blanks, user], data) == expected


wide = st.sampled_from("中国，；。①ｶ가ﷺか“é𝄞a ") | st.integers(1, 50).map(lambda count: "国" * count)


@given(st.lists(wide, max_size=20).map("".join).map(str.encode), st.binary(max_size=2), st.sampled_from(BLANKS))
@example("国".encode() * 43 + "，".encode(), b"\xe5", BLANKS[0])
@example("国".encode() * 21, b"\xe5\x9b", BLANKS[0])
@settings(max_examples=200, deadline=None)
def test_runs_of_wide_characters(data, rest, blanks):
    rules = {**ENCODED, "，".encode(): b",", "；".encode(): b"; ", "。".encode(): b""}
    normalizer = SentencePieceNormalizer(
        read_charsmap(build_charsmap({**RULES, "，": ",", "；": "; ", "。": ""})), blanks
    )
    assert run(normalizer, data + rest) == normalized(data + rest, rules, frozenset(), blanks)


def by_sentencepiece(name, blanks):
    return sentencepiece.SentencePieceNormalizer(
        rule_name=name,
        add_dummy_prefix=blanks.dummy_prefix,
        escape_whitespaces=blanks.escape_blanks,
        remove_extra_whitespaces=blanks.squeeze_blanks,
    )


@pytest.fixture(scope="module", params=["nmt_nfkc", "nmt_nfkc_cf", "identity"])
def published(request):
    from sentencepiece import sentencepiece_model_pb2

    spec = sentencepiece_model_pb2.NormalizerSpec()
    spec.ParseFromString(by_sentencepiece(request.param, BLANKS[0]).serialized_normalizer_spec())
    return request.param, read_charsmap(spec.precompiled_charsmap)


def test_sentencepiece_agrees(published):
    name, charsmap = published
    strings = [
        "",
        " ",
        "  a  b ",
        "ﬁ①　が か\u3099",
        "\x01x\x01",
        "▁▁",
        "ABC ａｂｃ",
        "\u200bx\ufeff",
        "가 ᄀ\u1161",
        "ﷺ",
        "…\t\n",
    ]
    for blanks in BLANKS[1::2]:
        theirs, ours = by_sentencepiece(name, blanks), SentencePieceNormalizer(charsmap, blanks)
        for left, right in itertools.product(strings, strings):
            data = (left + right).encode()
            buffer, length, _ = ours(padded(data), len(data))
            assert buffer[:length].tobytes().decode() == theirs.normalize(left + right)


def test_long_texts_and_replacements_that_grow():
    charsmap = read_charsmap(build_charsmap({"x": "longer " * 500}))
    normalizer = SentencePieceNormalizer(charsmap, BlankRules())
    data = b"x y" * 300
    expected = normalized(data, {b"x": b"longer " * 500}, frozenset(), BlankRules())
    assert run(normalizer, data) == expected
    words = b"some plain words  " * 5000
    assert run(normalizer, words)[0] == ("▁some▁plain▁words" * 5000).encode()


def test_a_damaged_table_is_never_followed_outside():
    good = build_charsmap(RULES)
    generator = np.random.default_rng(0)
    data = "".join(RULES).encode() * 3
    for _ in range(300):
        broken = bytearray(good)
        for at in generator.integers(4, len(good), 6).tolist():
            broken[at] = int(generator.integers(256))
        charsmap = read_charsmap(bytes(broken))
        buffer, length, _ = SentencePieceNormalizer(charsmap, BlankRules())(padded(data), len(data))
        assert length <= len(buffer) - PADDING
        with contextlib.suppress(FormatError):
            rules_of(charsmap)


def test_what_the_launcher_refuses():
    normalizer = NORMALIZERS[BLANKS[0], ()]
    for text, length in ((np.zeros(70, np.int8), 1), (np.zeros(70, np.uint8), 7), (np.zeros(140, np.uint8)[::2], 1)):
        with pytest.raises(DataError, match="cannot normalise"):
            normalizer(text, length)
    with pytest.raises(DataError, match="cannot hold U"):
        SentencePieceNormalizer(CHARSMAP, BLANKS[0], ["a\0"])
