import threading
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.wordpiece.hostile import TOKENS, UNKNOWN, peer_encoder, rules, texts

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.memory import padded
from textmill.ops.wordpiece import LONGEST_WORD, OUT_SLACK, BertEncoder, BertRules, WordPieceEncoder, reference
from textmill.ops.wordpiece import encode as encode_module

BY_BYTES = {token.encode(): number for token, number in TOKENS.items()}
Token = tuple[int, int, int]


@lru_cache(maxsize=16)
def bert(rules: BertRules, longest_word: int = 100) -> BertEncoder:
    return BertEncoder(TOKENS, unknown=UNKNOWN, longest_word=longest_word, rules=rules)


def spans(encoder: BertEncoder, data: bytes, before: bytes = b"", after: bytes = b"") -> list[Token]:
    """Tokens with spans in bytes; what stands around the text must not matter."""
    buffer = padded(before + data + after)
    stop = len(before) + len(data)
    ids, starts, ends = encoder.encode_with_spans(buffer, len(before), stop)
    assert (ids.dtype, starts.dtype, ends.dtype) == (np.int32, np.int64, np.int64)
    assert encoder.encode(buffer, len(before), stop).tolist() == ids.tolist()
    assert encoder.count(buffer, len(before), stop) == len(ids)
    return list(zip(ids.tolist(), starts.tolist(), ends.tolist(), strict=True))


def expected_spans(text: str, found: list[Token], widths: list[int]) -> list[Token]:
    """Spans in characters as spans in bytes."""
    places = [0, *np.cumsum(widths).tolist()]
    return [(number, places[start], places[end]) for number, start, end in found]


def encode_words(encoder: WordPieceEncoder, words: list[bytes], before: bytes = b"") -> list[int]:
    ends = np.cumsum([len(word) for word in words]).astype(np.int32)
    return encoder.encode(padded(before + b"".join(words)), len(before), ends).tolist()


def match_words(words: list[bytes], longest_word: int = 100) -> list[int]:
    return [
        number
        for word in words
        for number, _, _ in reference.match(word, BY_BYTES, unknown=TOKENS[UNKNOWN], longest_word=longest_word)
    ]


@settings(max_examples=200, deadline=None)
@given(texts(), rules(), st.sampled_from([1, 2, 3, 6, 100]), st.sampled_from([b"", b"ab", b"\xe4\xb8"]))
def test_equals_the_definition_and_tokenizers(text: str, rules: BertRules, longest: int, around: bytes) -> None:
    encoding = peer_encoder(rules, longest).encode(text, add_special_tokens=False)
    found = [(number, *span) for number, span in zip(encoding.ids, encoding.offsets, strict=True)]
    expected = expected_spans(text, found, [len(char.encode()) for char in text])
    # twice: matched, then out of the cache
    for _ in range(2):
        assert spans(bert(rules, longest), text.encode(), around, around) == expected
    by_definition = reference.encode(text, TOKENS, rules, unknown=UNKNOWN, longest_word=longest)
    assert by_definition == found


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=5) | texts(4).map(str.encode), max_size=10).map(b"".join), rules())
def test_bytes_that_are_not_utf8(data: bytes, rules: BertRules) -> None:
    """Each counts as a U+FFFD."""
    decoded = data.decode("utf-8", "surrogateescape")
    widths = [1 if 0xDC80 <= ord(char) <= 0xDCFF else len(char.encode()) for char in decoded]
    text = "".join("\ufffd" if 0xDC80 <= ord(char) <= 0xDCFF else char for char in decoded)
    found = reference.encode(text, TOKENS, rules, unknown=UNKNOWN)
    assert spans(bert(rules), data) == expected_spans(text, found, widths)


@settings(max_examples=100, deadline=None)
@given(texts(60), rules(), st.floats(0, 1), st.integers(-(1 << 63), 1 << 64))
def test_dropout_equals_the_definition(text: str, rules: BertRules, probability: float, seed: int) -> None:
    data = text.encode()
    starts = [0, *np.cumsum([len(char.encode()) for char in text]).tolist()]
    expected = []
    encoder = bert(rules)
    for word in reference.words(reference.normalise(text, rules)):
        content = "".join(item[0] for item in word).encode()
        place = starts[word[0][1]]

        def dropped(begin: int, end: int, place: int = place) -> bool:
            return reference.is_dropped(seed, place, begin, end, probability)

        expected += [
            number for number, _, _ in reference.match(content, BY_BYTES, unknown=TOKENS[UNKNOWN], dropped=dropped)
        ]
    found = encoder.encode_with_dropout(padded(data), 0, len(data), probability=probability, seed=seed)
    assert found.tolist() == expected


@pytest.mark.parametrize("longest_word", [1, 3, 100])
@settings(max_examples=200, deadline=None)
@given(st.lists(texts(8).map(str.encode).filter(bool) | st.binary(min_size=1, max_size=20), max_size=12))
def test_words_equal_the_definition(longest_word: int, words: list[bytes]) -> None:
    encoder = WordPieceEncoder(TOKENS, unknown=UNKNOWN, longest_word=longest_word)
    for _ in range(2):
        assert encode_words(encoder, words, b"before") == match_words(words, longest_word)


def test_words_with_dropout() -> None:
    encoder = WordPieceEncoder(TOKENS, unknown=UNKNOWN)
    words = [b"abc", b"ababab", b"x", b"abab"] * 100
    ends = np.cumsum([len(word) for word in words]).astype(np.int32)
    text = padded(b"##" + b"".join(words))
    expected = []
    for word, end in zip(words, ends.tolist(), strict=True):

        def dropped(begin: int, stop: int, place: int = end - len(word)) -> bool:
            return reference.is_dropped(7, place, begin, stop, 0.5)

        expected += [number for number, _, _ in reference.match(word, BY_BYTES, unknown=0, dropped=dropped)]
    assert encoder.encode_with_dropout(text, 2, ends, probability=0.5, seed=7).tolist() == expected
    assert expected != match_words(words)
    assert encoder.encode_with_dropout(text, 2, ends, probability=0, seed=7).tolist() == match_words(words)


def test_tokens_of_words_tile_them() -> None:
    encoder = WordPieceEncoder({"[UNK]": 0, "bat": 1, "##he": 2, "##s": 3}, unknown="[UNK]")
    ids, ends = encoder.encode_with_ends(padded(b"xbathesbatcat"), 1, np.array([6, 9, 12], np.int32))
    assert ids.tolist() == [1, 2, 3, 1, 0]
    assert ends.tolist() == [3, 5, 6, 9, 12]
    assert ends.dtype == np.int32


def test_encode_into() -> None:
    encoder = WordPieceEncoder(TOKENS, unknown=UNKNOWN)
    words = [b"abc", b"x", b"abab" * 9] * 300
    ends = np.cumsum([len(word) for word in words]).astype(np.int32)
    out = np.empty(ends[-1] + OUT_SLACK, np.int32)
    count = encoder.encode_into(padded(b"".join(words)), 0, ends, None, out)
    assert out[:count].tolist() == match_words(words)
    assert encoder.encode_into(padded(b"abc"), 0, np.array([1, 3], np.int32), 1, out) == 1


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_the_cache_grows_and_changes_nothing(monkeypatch: pytest.MonkeyPatch, cache_bytes: int) -> None:
    monkeypatch.setattr(encode_module, "_FIRST_BUCKETS", 2)
    generator = np.random.default_rng(1)
    words = [
        bytes(generator.choice(list(b"abc"), size=size).tolist()) for size in generator.integers(1, 20, size=3000)
    ] * 2
    out = np.empty(sum(map(len, words)) + OUT_SLACK, np.int32)
    ends = np.cumsum([len(word) for word in words]).astype(np.int32)
    encoder = WordPieceEncoder(TOKENS, unknown=UNKNOWN, cache_bytes=cache_bytes)
    first = encoder.cache_bytes
    count = encoder.encode_into(padded(b"".join(words)), 0, ends, None, out)
    assert out[:count].tolist() == match_words(words)
    assert (encoder.cache_bytes > first) == (cache_bytes > 0)
    raw = b" ".join(words)
    bert_encoder = BertEncoder(TOKENS, unknown=UNKNOWN, cache_bytes=cache_bytes)
    assert bert_encoder.encode(padded(raw), 0, len(raw)).tolist() == match_words(words)
    assert bert_encoder.count(padded(raw), 0, len(raw)) == count


def test_clones_work_in_threads() -> None:
    encoder = bert(BertRules())
    data = "Abc éa中 abab !\u1b44\u0301 ".encode() * 500
    text = padded(data)
    expected = encoder.encode(text, 0, len(data)).tolist()
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda one=one: results.append(one.encode(text, 0, len(data)).tolist()))
        for one in (encoder, encoder, encoder.clone(), encoder.clone())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


@pytest.mark.parametrize("unit", ["a", "中", " ", "!", "각", "\0", "\u0301", "\u302e", "a\u0301\u0316\u0334\u302e"])
def test_a_megabyte_without_a_break(unit: str) -> None:
    data = unit.encode() * (1_000_000 // len(unit.encode()))
    found = spans(bert(BertRules()), data)
    if unit in "中!":
        assert found == [(TOKENS[unit], at, at + len(unit.encode())) for at in range(0, len(data), len(unit.encode()))]
    elif unit in " \0\u0301":
        assert found == []
    else:
        # the last mark to be ordered takes the last span but for those that are dropped: at most a unit from the end
        ((number, start, end),) = found
        assert (number, start) == (TOKENS[UNKNOWN], 0)
        assert len(data) - len(unit.encode()) <= end <= len(data)


def test_a_word_of_just_the_longest_length() -> None:
    tokens = {"[UNK]": 0, "a": 1, "##a": 2}
    encoder = BertEncoder(tokens, unknown="[UNK]", longest_word=50)
    data = b"a" * 50 + b" " + b"a" * 51 + b" \xc3\xa4" + b"a" * 49 + b" " + b"\xc3\xa4" * 51
    assert encoder.encode(padded(data), 0, len(data)).tolist() == ([1] + [2] * 49 + [0]) * 2


def test_no_text() -> None:
    assert spans(bert(BertRules()), b"") == []
    assert encode_words(WordPieceEncoder(TOKENS, unknown=UNKNOWN), []) == []


def test_single_words_of_unusual_vocabularies() -> None:
    # a token of a blank, a control or two words can never match; one that begins with the prefix can, at the start
    tokens = {"[UNK]": 0, " ": 1, "\0": 2, "a b": 3, "##": 4, "####": 5, "##a": 6, "a": 7, "": 8, "\ud800": 9}
    data = b"aa ## #"
    assert BertEncoder(tokens, unknown="[UNK]").encode(padded(data), 0, len(data)).tolist() == [7, 6, 0, 0, 0]
    words = [b"##a", b"####", b"##", b"a##"]
    assert encode_words(WordPieceEncoder(tokens, unknown="[UNK]"), words) == [6, 5, 4, 7, 5]
    encoder = WordPieceEncoder({"a": 0, "b": 1, "?": 2}, unknown="?", prefix="")
    assert encode_words(encoder, [b"abba", b"ac"]) == [0, 1, 1, 0, 2]


def test_broken_input() -> None:
    encoder, words = bert(BertRules()), WordPieceEncoder(TOKENS, unknown=UNKNOWN)
    with pytest.raises(DataError, match="contiguous uint8 with 64 bytes of padding after the bytes 0 to 9, got 72 of"):
        encoder.encode(np.zeros(72, np.uint8), 0, 9)
    for start, stop in ((-1, 3), (2, 1)):
        with pytest.raises(DataError, match="Fix: use textmill"):
            encoder.encode_with_spans(padded(b"abc"), start, stop)
    with pytest.raises(ConfigError, match=r"probability must be in 0\.\.1, got 1\.5"):
        encoder.encode_with_dropout(padded(b"abc"), 0, 3, probability=1.5, seed=0)
    out = np.empty(3 + OUT_SLACK, np.int32)
    with pytest.raises(DataError, match="out must be contiguous int32 of 19 or more, got 18 of int32"):
        words.encode_into(padded(b"abc"), 0, np.array([3], np.int32), None, out[1:])
    for ends in ([2, 1, 3], [0, 3], [1, 1 << 30, 3], [-5, 3]):
        with pytest.raises(DataError, match="the ends of pieces must grow"):
            words.encode_into(padded(b"abc"), 0, np.array(ends, np.int32), None, out)
    # and it goes on working
    assert encode_words(words, [b"abc"]) == match_words([b"abc"])


def test_broken_vocabularies() -> None:
    for tokens in ({}, {"a": 0, "b": 0}, {"a": -1}, {"a": 1 << 28}):
        with pytest.raises(ConfigError, match=r"distinct ids in 0\.\.2\*\*28-1"):
            WordPieceEncoder(tokens, unknown="a")
    with pytest.raises(ConfigError, match=r"the vocabulary must hold the unknown token '\[UNK\]'"):
        BertEncoder({"a": 0}, unknown="[UNK]")
    with pytest.raises(ConfigError, match="longest_word must be >= 1, got 0"):
        BertEncoder({"a": 0}, unknown="a", longest_word=0)
    with pytest.raises(NotSupportedError, match="longest_word may be at most 16777216"):
        BertEncoder({"a": 0}, unknown="a", longest_word=LONGEST_WORD + 1)
