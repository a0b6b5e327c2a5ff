"""How tokens lie on a text: what each script costs, and what of it the vocabulary cannot say.

Legend: N tokens, C characters, V vocabulary size, G groups of characters. A token comes with the bytes of the text it
stands for: [start, end). Where a tokenizer drops blanks, they are counted with the token that follows, so that the
tokens of all tokenizers cover the same text and their figures can be compared.
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Int, UInt8

from textmill.errors import DataError
from textmill.metrics.tokenizer import bytes_per_token, renyi_efficiency, token_counts, unused_share
from textmill.ops.split.classes import CATEGORIES, NUM_CODE_POINTS, SCRIPTS, category_table, script_table, space_table

GROUPS = (
    *("Latin", "Greek", "Cyrillic", "Han", "Kana", "Hangul", "Arabic", "Hebrew", "Devanagari", "Thai"),
    *("other letters", "digits", "punctuation", "emoji", "symbols", "blanks", "other"),
)
"""What characters are counted as: letters by script, digits of all scripts together; "other" are controls and the like.
"""

NORMAL, UNKNOWN, BYTE, SPECIAL = 0, 1, 2, 3
"""Kinds of ids: `UNKNOWN` stands for any text, `BYTE` for one byte of a character that has no token."""

_KANA = ("Hiragana", "Katakana")
_ONE_BY_ONE = (GROUPS.index("Han"), GROUPS.index("Kana"))
_BLANKS = GROUPS.index("blanks")
_INHERITED = len(GROUPS)
_EMOJI_BLOCKS = ((0x2600, 0x27BF), (0x1F000, 0x1FAFF))
_JOINER = 0x200D


@functools.cache
def group_table() -> UInt8[np.ndarray, "code_points"]:
    """The place in `GROUPS` of each code point, or `len(GROUPS)`: as the character before. Read-only.

    From the project's own tables of Unicode 16.0. Emoji are the symbols of the blocks U+2600 to U+27BF and U+1F000 to
    U+1FAFF. Marks that belong to no script, such as a combining acute accent, and the joiner of emoji count as the
    character before them.

    >>> [GROUPS[group_table()[ord(character)]] for character in "aя中あ한9!😀€ "]
    ['Latin', 'Cyrillic', 'Han', 'Kana', 'Hangul', 'digits', 'punctuation', 'emoji', 'symbols', 'blanks']
    """
    kinds = np.array([category[0] for category in CATEGORIES])[category_table()]
    script = script_table()
    table = np.full(NUM_CODE_POINTS, GROUPS.index("other"), np.uint8)
    letters = (kinds == "L") | (kinds == "M")
    table[letters] = GROUPS.index("other letters")
    for number, name in enumerate(SCRIPTS):
        group = "Kana" if name in _KANA else name
        if group in GROUPS and group != "other":
            table[letters & (script == number)] = GROUPS.index(group)
    table[kinds == "N"] = GROUPS.index("digits")
    table[kinds == "P"] = GROUPS.index("punctuation")
    table[kinds == "S"] = GROUPS.index("symbols")
    for first, last in _EMOJI_BLOCKS:
        block = slice(first, last + 1)
        table[block][kinds[block] == "S"] = GROUPS.index("emoji")
    table[space_table().astype(bool)] = _BLANKS
    table[(kinds == "M") & (script == 0)] = _INHERITED
    table[_JOINER] = _INHERITED
    # long vowel marks and the like are common to both kana
    table[[0x30FC, 0xFF70]] = GROUPS.index("Kana")
    table.flags.writeable = False
    return table


def character_groups(text: str) -> UInt8[np.ndarray, "C"]:
    r"""The place in `GROUPS` of each character of a text.

    >>> [GROUPS[group] for group in character_groups("e\u0301 1")]
    ['Latin', 'Latin', 'blanks', 'digits']
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    groups = group_table()[codes]
    own = np.where(groups == _INHERITED, 0, np.arange(len(groups)))
    groups = groups[np.maximum.accumulate(own)] if len(groups) else groups
    return np.where(groups == _INHERITED, GROUPS.index("other"), groups).astype(np.uint8)


def num_words(groups: UInt8[np.ndarray, "C"]) -> int:
    """How many words a text has: runs of characters other than blanks, but each Chinese character and kana is one.

    >>> num_words(character_groups("Two words, 三个字 more"))
    6
    """
    alone = np.isin(groups, _ONE_BY_ONE)
    inside = (groups != _BLANKS) & ~alone
    begins = inside & ~np.concatenate([np.zeros(min(1, len(inside)), bool), inside[:-1]])
    return int(alone.sum() + begins.sum())


def runs_by_group(groups: UInt8[np.ndarray, "C"]) -> Int[np.ndarray, "G"]:
    """How many runs of characters of one group a text has, by group; of Chinese characters and kana, characters.

    >>> runs = runs_by_group(character_groups("it's 三个"))
    >>> {GROUPS[i]: int(runs[i]) for i in runs.nonzero()[0]}
    {'Latin': 2, 'Han': 2, 'punctuation': 1, 'blanks': 1}
    """
    begins = np.ones(len(groups), bool)
    begins[1:] = (groups[1:] != groups[:-1]) | np.isin(groups[1:], _ONE_BY_ONE)
    return np.bincount(groups[begins], minlength=len(GROUPS))


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
    """Tokens by the group of their first character that is not a blank."""
    bytes: Int[np.ndarray, "G"]
    """Bytes in those tokens."""
    characters: Int[np.ndarray, "G"]
    """Characters that begin in those tokens."""
    runs: Int[np.ndarray, "G"]
    """See `runs_by_group`."""
    words: int
    unknown: int
    """Tokens that stand for what the vocabulary cannot say."""
    in_bytes: int
    """Tokens that hold only a part of a character."""
    uncovered: int
    """Characters for which a token is unknown or holds only a part of them."""

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
            words=num_words(groups),
            unknown=0,
            in_bytes=0,
            uncovered=len(groups),
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
    return Tally(
        counts=counts,
        tokens=np.bincount(of_token, minlength=len(GROUPS)),
        bytes=_sums(of_token, np.diff(bounds)),
        characters=_sums(of_token, np.diff(before[bounds])),
        runs=runs_by_group(groups),
        words=num_words(groups),
        unknown=int((kinds[ids] == UNKNOWN).sum()),
        in_bytes=int(part.sum()),
        uncovered=_covered_by(first[lost], last[lost], len(groups)),
    )


def _groups_of_tokens(
    groups: UInt8[np.ndarray, "C"], first: Int[np.ndarray, "N"], last: Int[np.ndarray, "N"]
) -> UInt8[np.ndarray, "N"]:
    """The group of the first character of each token that isn't a blank; of blanks alone, blanks."""
    # entry c is the first character from c on that isn't a blank
    visible = np.where(groups == _BLANKS, len(groups), np.arange(len(groups)))
    visible = np.minimum.accumulate(visible[::-1])[::-1][first]
    return np.where(visible <= last, groups[np.minimum(visible, len(groups) - 1)], _BLANKS)


def _parts(begins: np.ndarray, starts: Int[np.ndarray, "N"], ends: Int[np.ndarray, "N"]) -> np.ndarray:
    """Of each token, whether it begins or ends inside a character."""
    edges = np.concatenate([begins, [True]])
    return (ends > starts) & ~(edges[np.minimum(starts, len(begins))] & edges[np.minimum(ends, len(begins))])


def _sums(groups: UInt8[np.ndarray, "N"], values: Int[np.ndarray, "N"]) -> Int[np.ndarray, "G"]:
    # sums of whole numbers below 2^53 are exact in floating point
    return np.bincount(groups, weights=values, minlength=len(GROUPS)).astype(np.int64)


def _covered_by(first: Int[np.ndarray, "M"], last: Int[np.ndarray, "M"], length: int) -> int:
    """How many of `length` characters lie in at least one of the ranges first[i] to last[i]."""
    steps = np.zeros(length + 1, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last + 1, -1)
    return int((np.cumsum(steps[:-1]) > 0).sum())


@dataclass(frozen=True, kw_only=True)
class GroupFigures:
    """What one group of characters costs."""

    tokens: int
    bytes_per_token: float
    characters_per_token: float
    tokens_per_word: float
    """Tokens for each run of characters of the group; of Chinese characters and kana, for each character."""


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
    """Share of the characters that lie whole in a token that is not the unknown one."""
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
        coverage=1 - counted.uncovered / num_characters,
        unknown_rate=counted.unknown / num_tokens,
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


def vocabulary_groups(vocabulary: list[bytes]) -> dict[str, int]:
    """How many tokens of a vocabulary belong to each group, by their first character that isn't a blank.

    "parts of characters" are tokens whose bytes are no characters.

    >>> vocabulary_groups([b" the", b"12", b"\\xe4\\xb8"])
    {'Latin': 1, 'digits': 1, 'parts of characters': 1}
    """
    found = dict.fromkeys((*GROUPS, "parts of characters"), 0)
    for token in vocabulary:
        try:
            text = token.decode()
        except UnicodeDecodeError:
            found["parts of characters"] += 1
            continue
        groups = character_groups(text.lstrip() or text)
        found[GROUPS[groups[0]] if len(groups) else "other"] += 1
    return {name: count for name, count in found.items() if count}
