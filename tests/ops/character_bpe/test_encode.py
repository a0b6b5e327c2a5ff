import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.character_bpe import OUT_SLACK, CharacterBpeEncoder, PieceKind, reference
from textmill.ops.character_bpe import encode as encode_module
from textmill.ops.memory import PADDING, padded

Token = tuple[int, int]
ALPHABET = "abé▁的𝄞"
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def encode_pieces(encoder: CharacterBpeEncoder, pieces: list[bytes], before: bytes = b"") -> list[Token]:
    """(id, size) of each token, checked to be the same with and without ends, and to be counted right."""
    ends = np.cumsum([len(piece) for piece in pieces]).astype(np.int32)
    text = padded(before + b"".join(pieces))
    text[-PADDING:] = 0x81
    ids, token_ends = encoder.encode_with_ends(text, len(before), ends)
    assert encoder.encode(text, len(before), ends).tolist() == ids.tolist()
    assert encoder.count(text, len(before), ends) == len(ids)
    assert ids.dtype == token_ends.dtype == np.int32
    return list(zip(ids.tolist(), np.diff(token_ends, prepend=0).tolist(), strict=True))


def expect(encode: Callable[[str], list[Token]], pieces: list[str]) -> list[Token]:
    """The tokens of all pieces; bytes that leave no token at a piece's end belong to the next token."""
    tokens: list[Token] = []
    waiting = 0
    for piece in pieces:
        of_piece = encode(piece)
        left = len(piece.encode()) - sum(size for _, size in of_piece)
        for number, size in of_piece:
            tokens.append((number, size + waiting))
            waiting = 0
        waiting += left
    return tokens


@st.composite
def merge_models(draw: st.DrawFn) -> tuple[dict[str, int], list[tuple[str, str]], dict[str, Any]]:
    """A vocabulary that some training could have made, with any of the settings that go together."""
    prefix, suffix = draw(st.sampled_from([("", ""), ("", ""), ("##", ""), ("", "</w>"), ("##", "</w>")]))
    characters = draw(st.lists(st.sampled_from(ALPHABET), unique=True, max_size=len(ALPHABET)))
    names = [
        before + character + after
        for character in characters
        for before in ({"", prefix})
        for after in ({"", suffix})
        if draw(st.integers(0, 7))
    ]
    merges: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(0, 14)) if names else 0):
        left = draw(st.sampled_from([name for name in names if not suffix or not name.endswith(suffix)] or names))
        rights = [name for name in names if name.startswith(prefix) and len(name) > len(prefix)]
        if rights:
            right = draw(st.sampled_from(rights))
            merges.append((left, right))
            names.append(left + right[len(prefix) :])
    merges = draw(st.permutations(merges)) if draw(st.booleans()) else merges
    fallback = not prefix and not suffix and draw(st.booleans())
    names += ["<unk>"] * draw(st.booleans())
    # with some bytes missing, a character may become the unknown token after all
    names += BYTES[draw(st.sampled_from([0, 0, 200])) :] if fallback else []
    unique = list(dict.fromkeys(names))
    numbers = draw(st.permutations(range(len(unique)))) if len(unique) < 60 else range(len(unique))
    tokens = {name: 3 * number for name, number in zip(unique, numbers, strict=True)}
    return (
        tokens,
        merges,
        {
            "unknown": "<unk>" if "<unk>" in tokens else None,
            "fuse_unknown": draw(st.booleans()),
            "byte_fallback": fallback,
            "prefix": prefix,
            "suffix": suffix,
            "whole_pieces": draw(st.booleans()),
        },
    )


PIECES = st.lists(st.text(ALPHABET + "x", min_size=1, max_size=40), max_size=8)


@settings(max_examples=300)
@given(merge_models(), PIECES, st.integers(0, 2**64 - 1), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_words_equal_the_definition(
    model: tuple[dict[str, int], list[tuple[str, str]], dict[str, Any]],
    pieces: list[str],
    seed: int,
    probability: float,
) -> None:
    tokens, merges, options = model
    encoder = CharacterBpeEncoder.from_merges(tokens, merges, **options)
    words = reference.WordModel(tokens=tokens, merges=merges, **options)
    expected = expect(lambda piece: reference.encode_word(piece, words), pieces)
    # twice: merged, then out of the cache
    for _ in range(2):
        assert encode_pieces(encoder, [piece.encode() for piece in pieces], b"xx") == expected
    check_dropout(
        encoder, pieces, seed, probability, lambda piece, dropped: reference.encode_word(piece, words, dropped)
    )


def check_dropout(
    encoder: CharacterBpeEncoder,
    pieces: list[str],
    seed: int,
    probability: float,
    encode: Callable[[str, Callable[[int, int], bool]], list[Token]],
) -> None:
    ends = np.cumsum([len(piece.encode()) for piece in pieces]).astype(np.int32)
    text = padded("".join(pieces).encode())
    ids, token_ends = encoder.encode_with_dropout(text, 0, ends, probability=probability, seed=seed)
    begins = iter([0, *ends.tolist()])
    expected = expect(lambda piece: encode(piece, reference.dropping(probability, seed, next(begins))), pieces)
    assert list(zip(ids.tolist(), np.diff(token_ends, prepend=0).tolist(), strict=True)) == expected


@st.composite
def score_models(draw: st.DrawFn) -> tuple[list[tuple[str, float]], dict[str, Any]]:
    """Any pieces with any scores, few enough for ties. Some can only be made of characters that are no pieces."""
    texts = draw(st.lists(st.text(ALPHABET, min_size=1, max_size=4), unique=True, max_size=25))
    fallback = draw(st.booleans())
    pieces = [("<unk>", 0.0), ("<s>", 0.0), *((name, 0.0) for name in BYTES * fallback)]
    kinds = [PieceKind.UNKNOWN, PieceKind.CONTROL, *[PieceKind.BYTE] * (256 * fallback)]
    pieces += [(text, float(draw(st.integers(-6, 0)))) for text in texts]
    usual = [PieceKind.NORMAL] * 6
    rare = draw(st.sampled_from([[], [PieceKind.UNUSED], [PieceKind.UNUSED, PieceKind.USER_DEFINED]]))
    kinds += [draw(st.sampled_from([*usual, *rare])) for _ in texts]
    return pieces, {"unknown": 0, "byte_fallback": fallback, "kinds": kinds}


@settings(max_examples=400)
@given(score_models(), PIECES, st.integers(0, 2**64 - 1), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_sentences_equal_the_definition(
    model: tuple[list[tuple[str, float]], dict[str, Any]], sentences: list[str], seed: int, probability: float
) -> None:
    pieces, options = model
    encoder = CharacterBpeEncoder.from_scores(pieces, **options)
    expected = expect(lambda sentence: reference.encode_sentence(sentence, pieces, **options), sentences)
    for _ in range(2):
        assert encode_pieces(encoder, [sentence.encode() for sentence in sentences], b"xx") == expected
    check_dropout(
        encoder,
        sentences,
        seed,
        probability,
        lambda sentence, dropped: reference.encode_sentence(sentence, pieces, **options, dropped=dropped),
    )


@settings(max_examples=300)
@given(score_models(), merge_models(), st.text(ALPHABET + "▁▁x", max_size=60))
def test_words_may_go_one_by_one_where_the_vocabulary_allows_it(
    score_model: tuple[list[tuple[str, float]], dict[str, Any]],
    merge_model: tuple[dict[str, int], list[tuple[str, str]], dict[str, Any]],
    sentence: str,
) -> None:
    pieces, options = score_model
    tokens, merges, merge_options = merge_model
    text, size = padded(sentence.encode()), len(sentence.encode())
    from_scores = CharacterBpeEncoder.from_scores(pieces, **options)
    from_merges = CharacterBpeEncoder.from_merges(tokens, merges, **merge_options)
    by_scores = reference.encode_sentence(sentence, pieces, **options)
    words = reference.WordModel(tokens=tokens, merges=merges, **merge_options)
    by_merges = expect(lambda word: reference.encode_word(word, words), [sentence])
    for encoder, expected in ((from_scores, by_scores), (from_merges, by_merges if sentence else [])):
        ends = encoder.boundaries(text, 0, size)
        if sentence and encoder is from_merges and not encoder.cuts_at_blanks:
            assert ends.tolist() == [size]
        ids, token_ends = encoder.encode_with_ends(text, 0, ends)
        assert list(zip(ids.tolist(), np.diff(token_ends, prepend=0).tolist(), strict=True)) == expected


@given(st.text("▁â–a的‖x", max_size=60), st.integers(0, 3))
def test_where_words_end(sentence: str, start: int) -> None:
    pieces = [("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), ("▁a", -0.5), ("▁▁", -3.0)]
    encoder = CharacterBpeEncoder.from_scores(pieces)
    assert encoder.cuts_at_blanks
    expected, position = [], 0
    for at, character in enumerate(sentence):
        if at and character == "▁" and sentence[at - 1] != "▁":
            expected.append(position)
        position += len(character.encode())
    expected += [position] * (position > 0)
    buffer = padded(b"x" * start + sentence.encode() + "▁a".encode())
    assert encoder.boundaries(buffer, start, position).tolist() == expected


@pytest.mark.parametrize(
    ("pieces", "kinds", "cuts"),
    [
        ([("▁", -1.0), ("a", -2.0), ("▁a", -3.0), ("▁▁", -4.0)], None, True),
        # the piece itself, a longer one and a user-defined symbol reach into the next word
        ([("▁", -1.0), ("a▁", -3.0)], None, False),
        ([("▁", -1.0), ("▁a▁a", -3.0)], None, False),
        ([("▁", -1.0), ("a▁", -3.0)], [2, 1, 4], False),
        # a run of unknown characters reaches across if ▁ is one of them
        ([("a", -1.0)], None, False),
        # two ways to make an unused piece: it comes apart as it was last made in the sentence
        ([("▁", -1.0), ("a", -2.0), ("aa", -3.0), ("aaa", -4.0)], [2, 1, 1, 1, 5], False),
        ([("▁", -1.0), ("a", -2.0), ("aa", -3.0)], [2, 1, 1, 5], True),
    ],
)
def test_when_words_may_go_one_by_one(pieces: list[tuple[str, float]], kinds: list[int] | None, cuts: bool) -> None:
    assert CharacterBpeEncoder.from_scores([("<unk>", 0.0), *pieces], kinds=kinds).cuts_at_blanks is cuts


@given(st.lists(st.binary(min_size=1, max_size=120), max_size=6), st.booleans())
def test_any_bytes(pieces: list[bytes], fallback: bool) -> None:
    """What is not UTF-8 is unknown, byte by byte; tokens tile the text all the same."""
    scored = [("<unk>", 0.0), ("é", -1.0), ("的", -2.0), ("é的", -3.0), ("a", -4.0)]
    kinds = [2, 1, 1, 1, 1]
    if fallback:
        scored, kinds = [*scored, *((name, 0.0) for name in BYTES)], [*kinds, *[6] * 256]
    encoder = CharacterBpeEncoder.from_scores(scored, kinds=kinds, byte_fallback=fallback)
    size = sum(len(piece) for piece in pieces)
    tokens = encode_pieces(encoder, pieces)
    assert sum(length for _, length in tokens) == size
    if fallback:
        names = [name.encode() if number < 5 else bytes([number - 5]) for number, (name, _) in enumerate(scored)]
        assert b"".join(names[number] for number, _ in tokens) == b"".join(pieces)


@pytest.mark.parametrize(
    "broken", [b"\xc0\xaf", b"\xe0\x80\x80", b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80", b"\xe7\x9a", b"\xff"]
)
def test_broken_characters_are_unknown(broken: bytes) -> None:
    pieces = [("<unk>", 0.0), ("/", -1.0), ("\0", -1.0), ("的", -1.0)]
    encoder = CharacterBpeEncoder.from_scores(pieces)
    assert encode_pieces(encoder, [broken, b"/"]) == [(0, len(broken)), (1, 1)]
    # the padding does not complete a character that the piece cuts short
    assert encode_pieces(encoder, [broken]) == [(0, len(broken))]


def test_short_and_long_pieces() -> None:
    """Up to `SHORT_BYTES` bytes by a scan, beyond that by a heap; up to `LONGEST_CACHED` from the cache."""
    texts = ["a", "b", "ab", "aab", "ba", "bab", "▁a", "abab", "的a", "aaaa", "aa", "bb", "▁▁", "aaabb"]
    scored = [("<unk>", 0.0), *((text, float(-(number % 5))) for number, text in enumerate(texts))]
    kinds = [2, *[1] * 11, 5, 1, 5]
    generator = np.random.default_rng(0)
    encoder = CharacterBpeEncoder.from_scores(scored, kinds=kinds)
    for length in (*range(1, 12), 30, 90, 95, 96, 97, 98, 300, 1500):
        sentence = "".join("ab▁的x"[i] for i in generator.choice(5, p=[0.4, 0.3, 0.1, 0.1, 0.1], size=length))
        expected = reference.encode_sentence(sentence, scored, kinds=kinds, unknown=0)
        assert encode_pieces(encoder, [sentence.encode()]) == expected, length


@pytest.mark.parametrize("unit", ["a", "ab", "的", "▁", "é"])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_megabyte_without_a_break(unit: str, dropout: bool) -> None:
    texts = ["a", "b", "的", "▁", "aa", "ab", "abab", "的的", "▁▁", "▁▁▁▁", "a▁"]
    scored = [("<unk>", 0.0), *((text, float(-number)) for number, text in enumerate(texts))]
    encoder = CharacterBpeEncoder.from_scores(scored)
    data = unit.encode() * (1_000_000 // len(unit.encode()))
    ends = np.array([len(data)], np.int32)
    if dropout:
        ids, token_ends = encoder.encode_with_dropout(padded(data), 0, ends, probability=0.3, seed=1)
    else:
        ids, token_ends = encoder.encode_with_ends(padded(data), 0, ends)
    assert token_ends[-1] == len(data)
    if unit != "é":
        assert "".join(scored[number][0] for number in ids) == data.decode()


def test_the_cache_grows_and_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {text: number for number, text in enumerate(["a", "b", "c", "ab", "abc", "ca", "<unk>", "bb"])}
    merges = [("a", "b"), ("ab", "c"), ("c", "a"), ("b", "b")]
    generator = np.random.default_rng(1)
    words = ["".join(generator.choice(list("abcx"), size=size)) for size in generator.integers(1, 40, size=2000)] * 2
    model = reference.WordModel(tokens=tokens, merges=merges, unknown="<unk>")
    expected = [token for word in words for token in reference.encode_word(word, model)]
    taken = {}
    for first_buckets, cache_bytes in ((2, 1 << 30), (2, 0), (4, 1 << 16)):
        monkeypatch.setattr(encode_module, "_FIRST_BUCKETS", first_buckets)
        monkeypatch.setattr(encode_module, "_FIRST_ARENA_BYTES", 1 << 14)
        encoder = CharacterBpeEncoder.from_merges(tokens, merges, unknown="<unk>").clone(cache_bytes)
        assert encode_pieces(encoder, [word.encode() for word in words]) == expected
        assert encode_pieces(encoder, [word.encode() for word in words]) == expected
        taken[cache_bytes] = encoder.cache_bytes
    assert taken[1 << 30] > 1 << 17
    assert taken[0] < 1 << 15


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), ("▁a", -0.5)]
    encoder = CharacterBpeEncoder.from_scores(pieces)
    words = ["▁a".encode(), b"?!", "a▁a▁".encode() * 9, b"x"] * 3
    expected = encode_pieces(encoder, words, b"before")
    for size in (1, 2, 5):
        monkeypatch.setattr(encode_module, "_PIECES_PER_BLOCK", size)
        assert encode_pieces(encoder, words, b"before") == expected


def test_clones_work_in_threads() -> None:
    """The parts of unused pieces belong to each encoder on its own."""
    scored = [("<unk>", 0.0), ("a", -1.0), ("aa", -2.0), ("aaa", -3.0), ("aaaa", -1.5)]
    encoder = CharacterBpeEncoder.from_scores(scored, kinds=[2, 1, 1, 5, 5])
    words = [b"a" * size for size in range(1, 60)] * 30
    expected = encode_pieces(encoder, words)
    results: list[list[Token]] = []
    threads = [
        threading.Thread(target=lambda one=one: results.append(encode_pieces(one, words)))
        for one in (encoder, encoder, encoder.clone(), encoder.clone())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_ids_that_cover_varying_text() -> None:
    """A continuing b covers one byte, and the text ##b with all its merges three."""
    tokens = {name: number for number, name in enumerate(["a", "b", "#", "##b", "###", "##", "a##b"])}
    merges = [("#", "###"), ("##", "##b")]
    encoder = CharacterBpeEncoder.from_merges(tokens, merges, prefix="##")
    assert encode_pieces(encoder, [b"ab", b"##b"]) == [(0, 1), (3, 1), (3, 3)]


def test_ids_far_apart_and_merges_in_reverse() -> None:
    tokens = {"a" * size: 2**31 - size for size in range(1, 40)}
    merges = [("a" * size, "a") for size in range(38, 0, -1)]
    encoder = CharacterBpeEncoder.from_merges(tokens, merges)
    model = reference.WordModel(tokens=tokens, merges=merges)
    for size in (1, 5, 50):
        assert encode_pieces(encoder, [b"a" * size]) == reference.encode_word("a" * size, model)


def test_no_pieces() -> None:
    encoder = CharacterBpeEncoder.from_merges({"a": 5}, [])
    assert encode_pieces(encoder, []) == []
    assert encoder.encode(padded(b"ab"), 0, np.array([1, 2], np.int32), 1).tolist() == [5]
    assert encoder.boundaries(padded(b""), 0, 0).tolist() == []
    for whole_pieces in (False, True):
        for tokens in ({}, {"": 1}):
            empty = CharacterBpeEncoder.from_merges(tokens, [], whole_pieces=whole_pieces)
            assert encode_pieces(empty, [b"a", b"b" * 200]) == []


def test_broken_input() -> None:
    encoder = CharacterBpeEncoder.from_merges({"a": 0}, [])
    out = np.empty(3 + OUT_SLACK, np.int32)
    with pytest.raises(DataError, match="out must be contiguous int32 of 19 or more, got 18 of int32"):
        encoder.encode_into(padded(b"abc"), 0, np.array([3], np.int32), None, out[1:])
    for ends in ([2, 1, 3], [0, 3], [1, 1 << 30, 3], [-5, 3]):
        block = padded(b"abc"), 0, np.array(ends, np.int32)
        with pytest.raises(DataError, match="the ends of pieces must grow"):
            encoder.encode_into(*block, None, out)
        with pytest.raises(DataError, match="the ends of pieces must grow"):
            encoder.encode_with_ends(*block)
        with pytest.raises(DataError, match="the ends of pieces must grow"):
            encoder.encode_with_dropout(*block, probability=0.5, seed=0)
    with pytest.raises(DataError, match="needs 64 bytes of padding"):
        encoder.encode(np.zeros(10, np.uint8), 0, np.array([3], np.int32))
    with pytest.raises(DataError, match="needs 64 bytes of padding"):
        encoder.boundaries(np.zeros(10, np.uint8), 0, 3)
    with pytest.raises(DataError, match="at most 2147483647 bytes, got -1"):
        encoder.boundaries(padded(b"abc"), 0, -1)
    for probability, seed, message in ((1.5, 0, r"probability must be in 0..1"), (0.5, -1, r"seed must be in")):
        with pytest.raises(ConfigError, match=message):
            encoder.encode_with_dropout(padded(b"a"), 0, np.array([1], np.int32), probability=probability, seed=seed)


def test_broken_vocabularies() -> None:
    from_merges, from_scores = CharacterBpeEncoder.from_merges, CharacterBpeEncoder.from_scores
    with pytest.raises(ConfigError, match="merge 0 needs the token 'ab', which is not in the vocabulary"):
        from_merges({"a": 0, "b": 1}, [("a", "b")])
    with pytest.raises(ConfigError, match="the unknown token '<unk>' is not in the vocabulary"):
        from_merges({"a": 0}, [], unknown="<unk>")
    for number in (-1, 1 << 31):
        with pytest.raises(ConfigError, match=r"ids of tokens must be in 0..2\*\*31-1"):
            from_merges({"a": number}, [])
    with pytest.raises(NotSupportedError, match="byte tokens do not go with a prefix or a suffix"):
        from_merges({"a": 0}, [], byte_fallback=True, suffix="</w>")
    for pieces, options, message in (
        ([("a", 0.0), ("a", 0.0)], {}, "distinct and not empty"),
        ([("a", 0.0), ("", 0.0)], {}, "distinct and not empty"),
        ([("a", 0.0), ("b", float("nan"))], {}, "must be finite"),
        ([("a", 0.0)], {"unknown": 1}, r"unknown must be in 0..0, got 1"),
        ([("a", 0.0)], {"kinds": [1, 2]}, "every piece has a kind, got 1 and 2"),
        ([("a", 0.0)], {"kinds": [7]}, r"must be in 1..6, got 7"),
        ([("a", 0.0)], {"byte_fallback": True}, "needs all 256 byte pieces, got 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            from_scores(pieces, **options)
    with pytest.raises(NotSupportedError, match="at most 1024 bytes, got 1025"):
        from_scores([("<unk>", 0.0), ("a" * 1025, 0.0)])
