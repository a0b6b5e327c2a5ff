import threading

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError, DataError
from textmill.ops.memory import PADDING, padded
from textmill.ops.unigram import encode as encode_module
from textmill.ops.unigram import reference
from textmill.ops.unigram.encode import OUT_SLACK, UnigramEncoder
from textmill.ops.unigram.tables import cut_rule
from textmill.ops.unigram.vocabulary import Kind, UnigramVocabulary

from .sentencepiece_models import peer_of

Pieces = list[tuple[str, float]]

SPECIAL: Pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
SPECIAL_KINDS = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL]
BYTES: Pieces = [(f"<0x{value:02X}>", 0.0) for value in range(256)]
ALPHABET = "ab▁ä☃𝄞"
WORDS: Pieces = [
    ("▁", -2.0),
    ("a", -2.5),
    ("b", -2.5),
    ("▁a", -3.0),
    ("ab", -4.0),
    ("ba", -4.0),
    ("▁aba", -5.0),
    ("▁▁", -3.5),
]


def encode(encoder: UnigramEncoder, text: bytes, before: bytes = b"") -> list[int]:
    """The ids of the text, alone and with other bytes around it, which must not count."""
    alone = encoder.encode_sentence(padded(text), 0, len(text)).tolist()
    inside = padded(before + text + "ab▁".encode())
    inside[len(inside) - PADDING :] = ord("a")
    assert encoder.encode_sentence(inside, len(before), len(before) + len(text)).tolist() == alone
    return alone


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[Pieces, list[int]]:
    """Pieces over a few characters. Few different scores, so that there are many ties; some so large that the running
    score is soon far from 0."""
    scores = draw(
        st.sampled_from(
            [[-1.0, -2.0, -3.0], [-0.1, -0.2, -0.3, -1.1], [-1000.3, -2000.6, -3000.7], [-30000.0, -60000.1, -5.0]]
        )
    )
    strings = draw(st.lists(st.text(ALPHABET, min_size=1, max_size=4), unique=True, min_size=1, max_size=14))
    pieces = [(string, draw(st.sampled_from(scores))) for string in strings]
    kinds = draw(
        st.lists(
            st.sampled_from([*[Kind.NORMAL] * 8, Kind.USER_DEFINED, Kind.UNUSED]),
            min_size=len(pieces),
            max_size=len(pieces),
        )
    )
    kinds[0] = Kind.NORMAL
    return pieces, [int(kind) for kind in kinds]


texts = st.text(ALPHABET, max_size=40) | st.lists(st.sampled_from(["▁a", "ab", "▁ba▁", "aa", "☃"]), max_size=60).map(
    "".join
)


@settings(max_examples=300)
@given(vocabularies(), st.lists(texts, min_size=1, max_size=4), st.booleans())
def test_equals_the_definition_and_sentencepiece(
    vocabulary: tuple[Pieces, list[int]], texts: list[str], byte_fallback: bool
) -> None:
    pieces, kinds = SPECIAL + vocabulary[0], SPECIAL_KINDS + vocabulary[1]
    if byte_fallback:
        pieces, kinds = pieces + BYTES, kinds + [Kind.BYTE] * 256
    encoder = UnigramEncoder(pieces, unknown=0, byte_fallback=byte_fallback, kinds=kinds)
    peer = peer_of(pieces, kinds, byte_fallback=byte_fallback)
    # twice: segmented, then out of the cache
    for text in texts * 2:
        expected = peer.encode(text)
        assert reference.encode(text.encode(), encoder.vocabulary) == expected
        assert encode(encoder, text.encode(), b"x") == expected


@settings(max_examples=300)
@given(vocabularies(), st.lists(texts, min_size=1, max_size=4), st.integers(0, 2), st.booleans())
def test_equals_the_definition_and_tokenizers(
    vocabulary: tuple[Pieces, list[int]], texts: list[str], fallback: int, spelled: bool
) -> None:
    """fallback: none; to some bytes; to all bytes. spelled: the unknown token may be met in the text."""
    pieces = [("☃b" if spelled else "<unk>", 0.0), *vocabulary[0], *BYTES[: [0, 0xA0, 256][fallback]]]
    encoder = UnigramEncoder(pieces, unknown=0, byte_fallback=fallback > 0, precision="float64")
    peer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, 0, fallback > 0))
    for text in texts * 2:
        expected = peer.encode(text).ids
        assert reference.encode(text.encode(), encoder.vocabulary) == expected
        assert encode(encoder, text.encode(), b"x") == expected


@settings(max_examples=200)
@given(vocabularies(), st.lists(st.binary(min_size=1, max_size=12) | texts.map(str.encode), max_size=6), st.booleans())
def test_any_bytes_in_many_pieces(
    vocabulary: tuple[Pieces, list[int]], texts: list[bytes], byte_fallback: bool
) -> None:
    pieces = [("<unk>", 0.0), *vocabulary[0], *BYTES]
    encoder = UnigramEncoder(pieces, unknown=0, byte_fallback=byte_fallback)
    texts = [text for text in texts if text]
    expected = [reference.encode(text, encoder.vocabulary) for text in texts]
    ends = np.cumsum([0, *map(len, texts)])[1:].astype(np.int32)
    buffer = padded(b"xy" + b"".join(texts))
    ids, token_ends = encoder.encode_with_ends(buffer, 2, ends)
    assert ids.tolist() == [number for row in expected for number in row]
    assert encoder.count(buffer, 2, ends) == len(ids)
    assert (np.diff([0, *token_ends]) > 0).all()
    # every piece ends where a token ends, and has as many tokens as alone
    assert [int((token_ends <= end).sum()) for end in ends] == np.cumsum([0, *map(len, expected)])[1:].tolist()
    assert set(ends.tolist()) <= set(token_ends.tolist())


def test_token_ends() -> None:
    encoder = UnigramEncoder(SPECIAL[:1] + WORDS, unknown=0)
    text = "▁aba☃☃b☃▁a".encode()
    ids, ends = encoder.encode_with_ends(padded(text), 0, np.array([len(text)], np.int32))
    tokens = [text[begin:end].decode() for begin, end in zip([0, *ends], ends, strict=False)]
    assert tokens == ["▁aba", "☃☃", "b", "☃", "▁a"]
    assert ids.tolist() == [7, 0, 3, 0, 4]


def test_unknown_characters_of_two_words_are_one_token() -> None:
    """Where the blank itself is unknown, so is the run across it; pieces stay apart."""
    encoder = UnigramEncoder([("<unk>", 0.0), ("a", -1.0)], unknown=0)
    text = "a☃▁☃a".encode()
    assert encoder.encode_sentence(padded(text), 0, len(text)).tolist() == [1, 0, 1]
    ids, ends = encoder.encode_with_ends(padded(text), 0, np.array([4, len(text)], np.int32))
    assert (ids.tolist(), ends.tolist()) == ([1, 0, 0, 1], [1, 4, 10, 11])


def test_the_same_word_is_cut_differently_far_from_zero() -> None:
    """Two segmentations differ by less than a float32 keeps at 100,000: the running score decides, cached or not."""
    pieces = [*SPECIAL, ("▁", -1.0), ("a", -3.0), ("b", -3.0), ("aa", -6.004), ("ab", -6.001), ("c", -999.7)]
    kinds = [*SPECIAL_KINDS, *[Kind.NORMAL] * 6]
    encoder, peer = UnigramEncoder(pieces, unknown=0, kinds=kinds), peer_of(pieces, kinds)
    text = "▁aab▁" + "c▁aab▁aaab▁" * 1000
    expected = peer.encode(text)
    words = {word for word in " ".join(map(str, expected)).split(" 3 ") if " 8" not in word}
    assert len(words) > 3, "the text must have words with more than one segmentation"
    for _ in range(2):
        assert encode(encoder, text.encode()) == expected
    assert reference.encode(text.encode(), encoder.vocabulary) == expected


@pytest.mark.parametrize("unit", ["a", "ab", "☃", "中", "▁", "▁a", "a▁"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_megabyte_without_a_break(unit: str, precision: str) -> None:
    pieces = [*SPECIAL[:1], *WORDS, ("中", -3.0), ("中中", -4.5), ("a" * 12, -9.0)]
    encoder = UnigramEncoder(pieces, unknown=0, precision=precision)
    text = unit.encode() * (1_000_000 // len(unit.encode()))
    ids, ends = encoder.encode_with_ends(padded(text), 0, np.array([len(text)], np.int32))
    assert ends[-1] == len(text)
    if unit == "☃":
        assert ids.tolist() == [0]
    else:
        assert b"".join(pieces[number][0].encode() for number in ids) == text


def test_pieces_with_a_zero_byte() -> None:
    pieces = [("<unk>", 0.0), ("\0", -2.0), ("a\0", -2.5), ("a", -2.0), ("\0\0", -9.0)]
    encoder = UnigramEncoder(pieces, unknown=0)
    for text in (b"\0", b"a", b"a\0\0", b"\0ab\0a"):
        assert encode(encoder, text) == reference.encode(text, encoder.vocabulary)


def test_where_text_is_cut() -> None:
    rules = {
        ("▁a", "▁▁a", "b"): 1,
        ("a▁", "a▁▁", "b"): 2,
        ("a▁b",): 0,
        ("▁a", "b▁"): 0,
        ("a",): 1,
        ("▁▖▁",): 0,
    }
    for strings, rule in rules.items():
        vocabulary = UnigramVocabulary.build([(string, -1.0) for string in strings], unknown=None)
        assert cut_rule(vocabulary) == rule, strings


def test_the_cache_grows_and_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    letters = list("ab☃ä")
    words = ["▁" + "".join(generator.choice(letters, size=size)) for size in generator.integers(0, 40, size=3000)] * 2
    text = "".join(words).encode()
    for first_buckets, first_arena, cache_bytes in ((2, 1 << 12, 1 << 30), (2, 1 << 12, 0), (4, 1 << 12, 1 << 15)):
        monkeypatch.setattr(encode_module, "_FIRST_BUCKETS", first_buckets)
        monkeypatch.setattr(encode_module, "_FIRST_ARENA_BYTES", first_arena)
        encoder = UnigramEncoder(SPECIAL[:1] + WORDS, unknown=0, cache_bytes=cache_bytes)
        expected = reference.encode(text, encoder.vocabulary)
        assert encode(encoder, text) == expected
        assert encode(encoder, text) == expected
        assert encoder.cache_bytes < 1 << 15 if cache_bytes == 0 else encoder.cache_bytes > 1 << 12


def test_clones_in_threads() -> None:
    encoder = UnigramEncoder(SPECIAL[:1] + WORDS, unknown=0)
    text = "▁aba▁abba▁☃b".encode() * 2000
    expected = encode(encoder, text)
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda own=own: found.append(encode(own, text)))
        for own in (encoder, encoder, encoder.clone(), encoder.clone())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_nothing_to_encode() -> None:
    encoder = UnigramEncoder(SPECIAL[:1] + WORDS, unknown=0)
    none = np.empty(0, np.int32)
    assert encoder.encode(padded(b""), 0, none).tolist() == []
    assert encoder.encode_sentence(padded(b"a"), 1, 1).tolist() == []
    assert encoder.count(padded(b""), 0, none) == 0
    assert [part.tolist() for part in encoder.encode_with_ends(padded(b""), 0, none)] == [[], []]
    # no piece at all may be chosen
    empty = UnigramEncoder(SPECIAL, unknown=0, kinds=SPECIAL_KINDS)
    assert encode(empty, b"abc") == [0]


def test_a_vocabulary_without_an_unknown_piece() -> None:
    encoder = UnigramEncoder(WORDS, unknown=None)
    assert encode(encoder, "▁aba".encode()) == [6]
    text = "▁aba▁b☃".encode()
    with pytest.raises(DataError, match="has no unknown piece, and the word at byte 10 "):
        encoder.encode_sentence(padded(text), 0, len(text))
    with_bytes = UnigramEncoder(WORDS + BYTES, unknown=None, byte_fallback=True)
    assert encode(with_bytes, b"\xff") == [len(WORDS) + 255]


@pytest.mark.parametrize(
    ("pieces", "settings", "message"),
    [
        ([("a", float("nan"))], {}, "a score must be a finite number, got nan for 'a'"),
        ([("a", 0.0)], {"unknown": 1}, "the unknown id must be that of one of 1 pieces, got 1"),
        ([("a", 0.0)], {"kinds": []}, "1 pieces need as many kinds, got 0"),
        ([("a", 0.0)], {"kinds": [7]}, "a kind must be in 1..6"),
        ([("a", 0.0), ("a", 0.0)], {"kinds": [1, 1]}, "the piece 'a' stands twice"),
        ([("\ud800", 0.0)], {}, "a piece must be valid Unicode"),
    ],
)
def test_vocabularies_that_cannot_be(pieces: Pieces, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UnigramEncoder(pieces, **{"unknown": None, **settings})


def test_blocks_that_no_splitter_makes() -> None:
    encoder = UnigramEncoder(SPECIAL[:1] + WORDS, unknown=0)
    text, out = padded(b"aabb"), np.empty(4 + OUT_SLACK, np.int32)
    for ends in ([2, 2], [0], [-1], [3, 1], [1 << 30, 4], [-(1 << 31), 4]):
        with pytest.raises(DataError, match="the ends of pieces must grow"):
            encoder.encode_into(text, 0, np.array(ends, np.int32), None, out)
        with pytest.raises(DataError, match=r"ends of pieces must grow|a block needs"):
            encoder.encode(text, 0, np.array(ends, np.int32))
    with pytest.raises(DataError, match="a block needs 64 bytes of padding"):
        encoder.encode(text, 0, np.array([5], np.int32))
    with pytest.raises(DataError, match="out must be contiguous int32 of 20 or more, got 19"):
        encoder.encode_into(text, 0, np.array([4], np.int32), None, out[1:])
    assert encoder.encode_into(text, 0, np.array([1, 4], np.int32), 1, out) == 1


def test_a_large_vocabulary_is_ready_soon() -> None:
    """Every place of the trie is found again: 50,000 pieces over all kinds of characters."""
    generator = np.random.default_rng(0)
    points = np.concatenate([np.arange(97, 123), np.arange(0x4E00, 0x4F00), np.arange(0x1F300, 0x1F340)])
    strings = {"".join(map(chr, generator.choice(points, size=size))) for size in generator.integers(1, 6, size=50_000)}
    pieces = [("<unk>", 0.0), *((string, -1.0) for string in sorted(strings))]
    encoder = UnigramEncoder(pieces, unknown=0)
    ends = np.cumsum([len(piece.encode()) for piece, _ in pieces[1:]]).astype(np.int32)
    text = "".join(piece for piece, _ in pieces[1:]).encode()
    assert encoder.encode(padded(text), 0, ends).tolist() == list(range(1, len(pieces)))
