"""Figures of tokens against their definitions, counted one character at a time."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import DataError
from textmill.metrics.token_groups import GROUPS, character_groups
from textmill.metrics.tokens import (
    BYTE,
    UNKNOWN,
    entropy_bits,
    never_used,
    parity,
    rarely_used,
    tally,
    text_figures,
    tiles,
)

KINDS = np.array([0, 0, UNKNOWN, BYTE, 0], np.uint8)
Token = tuple[int, int, int]


@st.composite
def tokenized(draw: st.DrawFn) -> tuple[str, list[Token]]:
    """A text and tokens (id, start, end in bytes) in order, with gaps, some sharing their bytes."""
    text = draw(st.text(alphabet="ab1 .\n中あé😀", max_size=12))
    size = len(text.encode())
    edges = sorted(draw(st.lists(st.integers(0, size), max_size=8)))
    tokens = []
    for start, end in itertools.pairwise(edges):
        if size and draw(st.booleans()):
            tokens.append((draw(st.integers(0, 4)), start, end))
    return text, tokens


def counted(text: str, tokens: list[Token]):
    ids, starts, ends = np.array(tokens, np.int64).reshape(-1, 3).T
    return tally(text.encode(), ids, starts, ends, KINDS)


def by_hand(text: str, tokens: list[Token]) -> dict:
    """The tally by its definition."""
    data = text.encode()
    owner, begins = [], []
    for place, character in enumerate(text):
        begins.append(len(owner))
        owner += [place] * len(character.encode())
    names = [GROUPS[group] for group in character_groups(text)]
    found = {name: dict.fromkeys(GROUPS, 0) for name in ("tokens", "bytes", "characters", "unknown")}
    in_bytes, lost, said, done = 0, set(), set(), 0
    for number, (id, start, end) in enumerate(tokens):
        first = owner[min(start, len(data) - 1)]
        last = max(owner[max(end - 1, 0)], first)
        inside = [names[place] for place in range(first, last + 1) if names[place] != "blanks"]
        group = max(GROUPS, key=inside.count) if inside else "blanks"
        stop = len(data) if number == len(tokens) - 1 else max(end, done)
        found["tokens"][group] += 1
        found["bytes"][group] += stop - done
        found["characters"][group] += sum(done <= begin < stop for begin in begins)
        found["unknown"][group] += KINDS[id] == UNKNOWN
        done = stop
        edges = {*begins, len(data)}
        part = (end > start and not {start, end} <= edges) or KINDS[id] == BYTE
        in_bytes += part
        said |= set(range(first, last + 1))
        if part or KINDS[id] == UNKNOWN:
            lost |= set(range(first, last + 1))
    visible = {place for place, name in enumerate(names) if name != "blanks"}
    uncovered = len(visible & lost | visible - said)
    return found | {"in_bytes": in_bytes, "visible": len(visible), "uncovered": uncovered}


@given(tokenized())
def test_a_tally_is_what_counting_gives(case: tuple[str, list[Token]]) -> None:
    text, tokens = case
    result, expected = counted(text, tokens), by_hand(text, tokens)
    for name in ("in_bytes", "visible", "uncovered"):
        assert getattr(result, name) == expected[name], name
    for name in ("tokens", "bytes", "characters", "unknown"):
        assert dict(zip(GROUPS, getattr(result, name).tolist(), strict=True)) == expected[name], name
    assert result.counts.tolist() == [sum(id == token for id, _, _ in tokens) for token in range(5)]
    if tokens:
        # nothing of the text is left out
        assert result.bytes.sum() == len(text.encode())
        assert result.characters.sum() == len(text)


@given(tokenized(), tokenized())
def test_tallies_add_up(one: tuple[str, list[Token]], other: tuple[str, list[Token]]) -> None:
    both = counted(*one) + counted(*other)
    for name in ("tokens", "bytes", "counts", "words", "uncovered"):
        assert np.all(getattr(both, name) == getattr(counted(*one), name) + getattr(counted(*other), name))


def test_figures_by_hand() -> None:
    #        a·bb 中(3 bytes, one token each) 12
    figures = text_figures(counted("a bb 中12", [(0, 0, 1), (1, 1, 4), (3, 5, 6), (3, 6, 7), (3, 7, 8), (4, 8, 10)]))
    assert (figures.num_tokens, figures.num_bytes, figures.num_characters, figures.num_words) == (6, 10, 8, 4)
    assert figures.bytes_per_token == 10 / 6
    assert figures.tokens_per_word == 6 / 4
    assert figures.coverage == 5 / 6
    assert (figures.unknown_rate, figures.byte_rate) == (0, 0.5)
    assert figures.unused_share == 1 / 5
    latin, han = figures.groups["Latin"], figures.groups["Han"]
    assert (latin.tokens, latin.bytes_per_token, latin.tokens_per_word) == (2, 2, 1)
    # the blank before the character is its first token's
    assert (han.tokens, han.bytes_per_token, han.tokens_per_word) == (3, 4 / 3, 3)
    shares = [1 / 6, 1 / 6, 3 / 6, 1 / 6]
    assert figures.entropy_bits == pytest.approx(-sum(p * math.log2(p) for p in shares))
    assert figures.renyi_efficiency == pytest.approx(math.log(sum(p**2.5 for p in shares)) / -1.5 / math.log(5))
    assert text_figures(counted("ab", [(0, 0, 1), (1, 1, 2)]), alpha=1).renyi_efficiency == pytest.approx(
        math.log(2) / math.log(5)
    )


def test_tokens_tile_the_text() -> None:
    assert tiles(np.array([3, 2, 3, 7]), 9).tolist() == [0, 3, 3, 3, 9]
    assert tiles(np.zeros(0, np.int64), 9).tolist() == [0]


def test_entropy_equals_that_of_renyi_at_one() -> None:
    counts = np.array([5, 3, 1, 0, 7])
    shares = counts[counts > 0] / counts.sum()
    assert entropy_bits(counts) == pytest.approx(sum(-p * math.log2(p) for p in shares))
    assert entropy_bits(np.array([4])) == 0
    assert math.copysign(1, entropy_bits(np.array([4]))) == 1


def test_seldom_and_never_used() -> None:
    counts = np.array([0, 7, 2, 2, 1])
    assert rarely_used(counts, 3).tolist() == [4, 2, 3]
    assert never_used(counts).tolist() == [0]


def test_mistakes_are_named() -> None:
    with pytest.raises(DataError, match="figures need a text with words, got 0 tokens and 0 words"):
        text_figures(counted("", []))
    with pytest.raises(DataError, match="got 1 tokens and 0 words"):
        text_figures(counted("  ", [(0, 0, 2)]))
    with pytest.raises(DataError, match="entropy of no tokens"):
        entropy_bits(np.zeros(3, np.int64))
    with pytest.raises(DataError, match="parity needs a text to compare with, got 0 tokens"):
        parity(3, 0)
    with pytest.raises(DataError, match=r"ids must be in \[0, 5\)"):
        counted("a", [(5, 0, 1)])
