"""Unreachable tokens against the definition: all texts of a small alphabet encoded, one by one."""

import itertools
import random
from collections.abc import Iterator

import pytest

from textmill.metrics.tokens import BYTE, NORMAL, SPECIAL, UNKNOWN
from textmill.tasks.reachable import kinds_of_ids, surface, unreachable_tokens
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.models import (
    BpeModel,
    CharacterBpeModel,
    UnigramModel,
    WordPieceModel,
    WordsModel,
)
from textmill.tokenizers.pipeline import WHOLE, AddedToken, Pipeline, byte_level
from textmill.tokenizers.steps import BertNormalizer, BertSplit, Whitespace

LETTERS = "abc"


def texts(longest: int) -> Iterator[str]:
    for length in range(longest + 1):
        yield from map("".join, itertools.product(LETTERS, repeat=length))


def by_enumeration(tokenizer: Tokenizer, longest: int) -> set[int]:
    """Ids that no text of at most so many letters gives, special and unknown ones apart."""
    given = set()
    for text in texts(longest):
        given |= set(tokenizer.encode(text))
    return {id for id, kind in enumerate(kinds_of_ids(tokenizer).tolist()) if kind == NORMAL and id not in given}


def random_merges(source: random.Random) -> list[tuple[str, str]]:
    """Merges of known symbols in random order, so that some never happen."""
    known = list(LETTERS)
    merges = []
    for _ in range(9):
        left, right = source.choice(known), source.choice(known)
        if left + right not in known and len(left + right) <= 4:
            known.append(left + right)
            merges.append((left, right))
    source.shuffle(merges)
    return merges


@pytest.mark.parametrize("seed", range(12))
def test_bpe(seed: int) -> None:
    merges = random_merges(random.Random(seed))
    strings = [*LETTERS, *(left + right for left, right in merges)]
    tokens = {token.encode(): id for id, token in enumerate(strings)}
    pairs = [(left.encode(), right.encode()) for left, right in merges]
    bytes_too = tokens | {bytes([byte]): len(tokens) + byte for byte in range(256) if bytes([byte]) not in tokens}
    tokenizer = Tokenizer(byte_level(BpeModel(tokens=bytes_too, merges=pairs), WHOLE))
    expected = {id for id in by_enumeration(tokenizer, 6) if id < len(strings)}
    found = unreachable_tokens(tokenizer)
    assert {id for id in found.tolist() if id < len(strings)} == expected
    assert found.tolist() == sorted(found)
    characters = CharacterBpeModel(
        tokens={token: id for id, token in enumerate([*strings, "?"])}, merges=merges, unknown="?"
    )
    assert set(unreachable_tokens(Tokenizer(Pipeline(model=characters))).tolist()) == expected


def test_some_merges_never_happen() -> None:
    # "ab" takes the b away before "bc" can be merged, so "abc" is never made of "a" and "bc"
    tokens = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"bc": 257, b"abc": 258}
    model = BpeModel(tokens=tokens, merges=[(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")])
    assert unreachable_tokens(Tokenizer(byte_level(model, WHOLE))).tolist() == [258]


@pytest.mark.parametrize("seed", range(12))
def test_unigram(seed: int) -> None:
    source = random.Random(seed)
    strings = sorted({"".join(source.choices(LETTERS, k=source.randint(2, 4))) for _ in range(10)})
    pieces = [("?", 0.0), *((piece, source.uniform(-9, -1)) for piece in [*LETTERS, *strings])]
    tokenizer = Tokenizer(Pipeline(model=UnigramModel(pieces=pieces, unknown=0)))
    found = set(unreachable_tokens(tokenizer).tolist())
    assert found == by_enumeration(tokenizer, 6)


def test_some_pieces_are_never_best() -> None:
    pieces = [("?", 0.0), ("a", -1.0), ("b", -1.0), ("ab", -3.0)]
    assert unreachable_tokens(Tokenizer(Pipeline(model=UnigramModel(pieces=pieces, unknown=0)))).tolist() == [3]


def wordpiece(*tokens: str) -> Tokenizer:
    model = WordPieceModel(tokens={token: id for id, token in enumerate(["[UNK]", *tokens])})
    special = AddedToken(content="[UNK]", id=0)
    steps = Pipeline(model=model, normalizers=(BertNormalizer(),), splits=(BertSplit(),), added=(special,))
    return Tokenizer(steps)


def test_wordpiece() -> None:
    tokens = ["a", "b", "ab", "abc", "##a", "##b", "##ab", "##bc", "##c", "ba", "中"]
    assert unreachable_tokens(wordpiece(*tokens)).tolist() == []
    # capitals are made small, accents stripped, Chinese characters and punctuation stand alone
    never = ["Ab", "é", "##中", "##!", "a!", "[unused1]"]
    assert unreachable_tokens(wordpiece(*tokens, *never)).tolist() == [len(tokens) + 1 + i for i in range(len(never))]


def test_words() -> None:
    model = WordsModel(tokens={"?": 0, "cat": 1, "a cat": 2, "!": 3}, unknown="?")
    assert unreachable_tokens(Tokenizer(Pipeline(model=model, splits=(Whitespace(),)))).tolist() == [2]


def test_tokens_that_begin_inside_a_character_are_judged_by_their_merges() -> None:
    tokens = {bytes([byte]): byte for byte in range(256)} | {b"\xb8\xad": 256, b"x\xe4": 257, b"\xff\xfe": 258}
    merges = [(b"\xb8", b"\xad"), (b"x", b"\xe4")]
    tokenizer = Tokenizer(byte_level(BpeModel(tokens=tokens, merges=merges), "gpt2"))
    assert unreachable_tokens(tokenizer).tolist() == [258]


def test_a_splitter_can_make_tokens_unreachable() -> None:
    tokens = {bytes([byte]): byte for byte in range(256)} | {b" a": 256, b"a ": 257}
    merges = [(b" ", b"a"), (b"a", b" ")]
    tokenizer = Tokenizer(byte_level(BpeModel(tokens=tokens, merges=merges), "gpt2"))
    assert unreachable_tokens(tokenizer).tolist() == [257]


def test_kinds_and_surfaces() -> None:
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    model = CharacterBpeModel(
        tokens={"<unk>": 0, "</s>": 1, "▁a": 2} | {name: 3 + byte for byte, name in enumerate(names)},
        merges=None,
        kinds={"<unk>": "unknown", "</s>": "control"} | dict.fromkeys(names, "byte"),
        unknown="<unk>",
        byte_fallback=True,
    )
    tokenizer = Tokenizer(Pipeline(model=model))
    assert kinds_of_ids(tokenizer).tolist() == [UNKNOWN, SPECIAL, NORMAL, *[BYTE] * 256]
    assert surface(tokenizer, 2) == b" a"
    marked = CharacterBpeModel(
        tokens={"?": 0, "a</w>": 1, "##b</w>": 2}, merges=[], unknown="?", prefix="##", suffix="</w>"
    )
    assert [surface(Tokenizer(Pipeline(model=marked)), id) for id in (1, 2)] == [b"a", b"b"]
    assert [surface(wordpiece("a", "##b", "##"), id) for id in (1, 2, 3)] == [b"a", b"b", b"##"]
