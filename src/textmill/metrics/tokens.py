"""How tokens lie on a text: what each script costs, and what of it the vocabulary cannot say.

Legend: N tokens, C characters, V vocabulary size, G groups of characters. A token comes with the bytes of the text it
stands for: [start, end). Where a tokenizer drops blanks, they are counted with the token that follows, so that the
tokens of all tokenizers cover the same text and their figures can be compared.
"""

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Int, UInt8

from textmill.errors import DataError
from textmill.metrics.token_groups import BLANKS, GROUPS, character_groups, num_words, runs_by_group
from textmill.metrics.tokenizer import bytes_per_token, renyi_efficiency, token_counts, unused_share

NORMAL, UNKNOWN, BYTE, SPECIAL = 0, 1, 2, 3
"""Kinds of ids: `UNKNOWN` stands for any text, `BYTE` for one byte of a character that has no token."""


def tiles(ends: Int[np.ndarray, "N"], num_bytes: int) -> Int[np.ndarray, "N+1"]:
    """Where tokens begin and end once they tile the text: token i has bounds[i] to bounds[i + 1] - 1.

    What no token stands for goes with the token after it, at the end of the text with the last. Of tokens that come
    from the same characters the first one has them.

    >>> tiles(np.array([1, 5, 5, 9]), 10).tolist()
    [0, 1, 5, 5, 10]
    """
    bounds = np.zeros(len(ends) + 1, np.int64)
    bounds[1:] = np.maximum.accumulate(ends)
    if len(ends):
        bounds[-1] = num_bytes
    return bounds


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What was counted on a text. Tallies of several texts add up."""

    counts: Int[np.ndarray, "V"]
    """Occurrences of each id."""
    tokens: Int[np.ndarray, "G"]
    """Tokens by the group of most of their characters, blanks apart."""
    bytes: Int[np.ndarray, "G"]
    """Bytes in those tokens."""
    characters: Int[np.ndarray, "G"]
    """Characters that begin in those tokens."""
    runs: Int[np.ndarray, "G"]
    """See `runs_by_group`."""
    unknown: Int[np.ndarray, "G"]
    """Those of `tokens` that stand for what the vocabulary cannot say."""
    words: int
    in_bytes: int
    """Tokens that hold only a part of a character."""
    visible: int
    """Characters other than blanks."""
    uncovered: int
    """Of those, the ones whose token is the unknown one or holds only a part of them, and those that have no token."""

    def __add__(self, other: Self) -> Self:
        fields = [field.name for field in dataclasses.fields(self)]
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in fields})


def tally(
    text: bytes,
    ids: Int[np.ndarray, "N"],
    starts: Int[np.ndarray, "N"],
    ends: Int[np.ndarray, "N"],
    kinds: UInt8[np.ndarray, "V"],
) -> Tally:
    """Counts what the tokens of one text are. The text is UTF-8, starts and ends count its bytes.

    >>> counted = tally("né!".encode(), np.array([0, 1, 1, 2]), np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4]),
    ...     np.zeros(3, np.uint8))
    >>> counted.counts.tolist(), counted.in_bytes, counted.uncovered, counted.words
    ([1, 2, 1], 2, 1, 1)

    Raises:
        DataError: an id outside the vocabulary.
    """
    counts = token_counts(ids, len(kinds))
    groups = character_groups(text.decode("utf-8", "surrogateescape"))
    if not len(ids) or not len(groups):
        nothing = np.zeros(len(GROUPS), np.int64)
        return Tally(
            counts=counts,
            tokens=nothing,
            bytes=nothing,
            characters=nothing,
            runs=runs_by_group(groups),
            unknown=nothing,
            words=num_words(groups),
            in_bytes=0,
            visible=int((groups != BLANKS).sum()),
            uncovered=int((groups != BLANKS).sum()),
        )
    begins = (np.frombuffer(text, np.uint8) & 0xC0) != 0x80
    # entry b is the character that byte b belongs to
    place = np.maximum(np.cumsum(begins) - 1, 0)
    first = place[np.minimum(starts, len(text) - 1)]
    last = np.maximum(place[np.maximum(np.minimum(ends, len(text)) - 1, 0)], first)
    of_token = _groups_of_tokens(groups, first, last)
    bounds = tiles(ends, len(text))
    # entry b is the number of characters that begin before byte b
    before = np.concatenate([[0], np.cumsum(begins)])
    part = _parts(begins, starts, ends) | (kinds[ids] == BYTE)
    lost = (kinds[ids] == UNKNOWN) | part
    said = _inside(first, last, groups)
    return Tally(
        counts=counts,
        tokens=np.bincount(of_token, minlength=len(GROUPS)),
        bytes=_sums(of_token, np.diff(bounds)),
        characters=_sums(of_token, np.diff(before[bounds])),
        runs=runs_by_group(groups),
        unknown=np.bincount(of_token[kinds[ids] == UNKNOWN], minlength=len(GROUPS)),
        words=num_words(groups),
        in_bytes=int(part.sum()),
        visible=int((groups != BLANKS).sum()),
        uncovered=int(((groups != BLANKS) & (_inside(first[lost], last[lost], groups) | ~said)).sum()),
    )


def _groups_of_tokens(
    groups: UInt8[np.ndarray, "C"], first: Int[np.ndarray, "N"], last: Int[np.ndarray, "N"]
) -> UInt8[np.ndarray, "N"]:
    """The group that most characters of each token belong to, blanks apart; of blanks alone, blanks.

    Of groups with equally many characters the first one in `GROUPS`: letters, digits, punctuation.
    """
    most = np.zeros(len(first), np.int64)
    found = np.full(len(first), BLANKS, np.uint8)
    for group in np.unique(groups[groups != BLANKS]):
        # entry c is the number of characters of the group before character c
        before = np.concatenate([[0], np.cumsum(groups == group)])
        count = before[last + 1] - before[first]
        found = np.where(count > most, group, found)
        most = np.maximum(most, count)
    return found


def _parts(begins: np.ndarray, starts: Int[np.ndarray, "N"], ends: Int[np.ndarray, "N"]) -> np.ndarray:
    """Of each token, whether it begins or ends inside a character."""
    edges = np.concatenate([begins, [True]])
    return (ends > starts) & ~(edges[np.minimum(starts, len(begins))] & edges[np.minimum(ends, len(begins))])


def _sums(groups: UInt8[np.ndarray, "N"], values: Int[np.ndarray, "N"]) -> Int[np.ndarray, "G"]:
    # sums of whole numbers below 2^53 are exact in floating point
    return np.bincount(groups, weights=values, minlength=len(GROUPS)).astype(np.int64)


def _inside(first: Int[np.ndarray, "M"], last: Int[np.ndarray, "M"], groups: UInt8[np.ndarray, "C"]) -> np.ndarray:
    """bool [C]: whether a character lies in at least one of the ranges first[i] to last[i]."""
    steps = np.zeros(len(groups) + 1, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last + 1, -1)
    return np.cumsum(steps[:-1]) > 0


@dataclass(frozen=True, kw_only=True)
class GroupFigures:
    """What one group of characters costs."""

    tokens: int
    bytes_per_token: float
    characters_per_token: float
    tokens_per_word: float
    """Tokens for each run of characters of the group; of Chinese characters and kana, for each character."""
    unknown_rate: float
    """Where this is high, few tokens are no merit."""


@dataclass(frozen=True, kw_only=True)
class TextFigures:
    """The figures of one tokenizer on one text."""

    num_tokens: int
    num_bytes: int
    num_characters: int
    num_words: int
    bytes_per_token: float
    characters_per_token: float
    tokens_per_word: float
    """Fertility; see `num_words` for what a word is."""
    coverage: float
    """Share of the characters other than blanks that lie whole in tokens that are not the unknown one."""
    unknown_rate: float
    """Share of the tokens that are the unknown one."""
    byte_rate: float
    """Share of the tokens that hold only a part of a character: byte fallback, or a byte-level token."""
    renyi_efficiency: float
    entropy_bits: float
    """Of the distribution of tokens, in bits per token."""
    unused_share: float
    rarely_used: int
    """Tokens that occur, but fewer than `RARE` times."""
    groups: dict[str, GroupFigures]


RARE = 5
"""A token seen less often teaches a model little."""


def text_figures(counted: Tally, *, alpha: float = 2.5) -> TextFigures:
    """The figures of a tally; alpha is that of `renyi_efficiency`.

    Raises:
        DataError: nothing was counted.
    """
    num_tokens, num_characters = int(counted.tokens.sum()), int(counted.characters.sum())
    if not num_tokens or not counted.words:
        raise DataError(
            f"figures need a text with words, got {num_tokens} tokens and {counted.words} words",
            fix="measure on more text",
        )
    num_bytes = int(counted.bytes.sum())
    return TextFigures(
        num_tokens=num_tokens,
        num_bytes=num_bytes,
        num_characters=num_characters,
        num_words=counted.words,
        bytes_per_token=bytes_per_token(num_bytes, num_tokens),
        characters_per_token=num_characters / num_tokens,
        tokens_per_word=num_tokens / counted.words,
        coverage=1 - counted.uncovered / max(1, counted.visible),
        unknown_rate=int(counted.unknown.sum()) / num_tokens,
        byte_rate=counted.in_bytes / num_tokens,
        renyi_efficiency=renyi_efficiency(counted.counts, alpha=alpha),
        entropy_bits=entropy_bits(counted.counts),
        unused_share=unused_share(counted.counts),
        rarely_used=len(rarely_used(counted.counts, RARE)),
        groups={
            name: GroupFigures(
                tokens=int(counted.tokens[i]),
                bytes_per_token=float(counted.bytes[i] / counted.tokens[i]),
                characters_per_token=float(counted.characters[i] / counted.tokens[i]),
                tokens_per_word=float(counted.tokens[i] / max(1, counted.runs[i])),
                unknown_rate=float(counted.unknown[i] / counted.tokens[i]),
            )
            for i, name in enumerate(GROUPS)
            if counted.tokens[i]
        },
    )


def entropy_bits(counts: Int[np.ndarray, "V"]) -> float:
    """Shannon's entropy of the tokens' distribution, in bits: H(p) = -sum_i p_i log2 p_i.

    What an ideal code needs for a token if it knows no context.

    >>> entropy_bits(np.array([2, 1, 1, 0]))
    1.5

    Raises:
        DataError: no tokens.

    Source: Shannon 1948, "A mathematical theory of communication", section 6.
    """
    total = int(counts.sum())
    if not total:
        raise DataError("the entropy of no tokens is not defined, got 0 tokens", fix="measure on more text")
    shares = counts[counts > 0] / total
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def rarely_used(counts: Int[np.ndarray, "V"], fewer_than: int) -> Int[np.ndarray, "M"]:
    """Ids that occur, but fewer than so many times, the rarest first: a model hardly learns what they mean.

    >>> rarely_used(np.array([9, 2, 0, 1]), 5).tolist()
    [3, 1]
    """
    ids = np.flatnonzero((counts > 0) & (counts < fewer_than))
    return ids[np.argsort(counts[ids], kind="stable")]


def never_used(counts: Int[np.ndarray, "V"]) -> Int[np.ndarray, "M"]:
    """Ids that do not occur.

    >>> never_used(np.array([9, 0, 1, 0])).tolist()
    [1, 3]
    """
    return np.flatnonzero(counts == 0)


def parity(num_tokens: int, reference_tokens: int) -> float:
    """How many times as many tokens a language needs to say the same: tokens of a text over those of its translation.

    >>> parity(150, 100)
    1.5

    Raises:
        DataError: the reference has no tokens.

    Source: Petrov et al. 2023, arXiv:2305.15425, section 3 (tokenization premium).
    """
    if reference_tokens <= 0:
        raise DataError(
            f"parity needs a text to compare with, got {reference_tokens} tokens", fix="give parallel texts"
        )
    return num_tokens / reference_tokens
