"""The alphabet of character-level BPE: which characters have symbols, their names, and pieces as streams of them.

A character stands in four places of a piece: first, last, both, or inside. A `prefix` marks all but the first ("##" of
WordPiece), a `suffix` marks the last ("</w>" of the original BPE), so a character can have up to four symbols.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.ops.bpe import cpu_alphabet as kernels
from textmill.ops.bpe.count import PieceCounts
from textmill.ops.bpe.trainer import Stream


@dataclass(frozen=True, kw_only=True)
class Alphabet:
    """Which characters training begins with, and how their symbols are written."""

    prefix: str = ""
    """Before every character but the first of its piece: `continuing_subword_prefix` of `tokenizers`."""
    suffix: str = ""
    """After the last character of a piece: `end_of_word_suffix` of `tokenizers`."""
    reserved: tuple[str, ...] = ()
    """Tokens that come before the alphabet, such as special tokens; a merge that makes such a text makes the token."""
    initial: tuple[str, ...] = ()
    """Characters that are kept whatever their count: `initial_alphabet`."""
    limit: int | None = None
    """Keep so many characters, the most frequent ones: `limit_alphabet`. The others are left out of their pieces, and
    their neighbours stand side by side, as in `tokenizers`."""
    coverage: float = 1.0
    """Keep the fewest characters that make up this share of the text, the most frequent ones, as `character_coverage`
    of SentencePiece. The others cut their pieces: no token holds them or stands across them."""
    order: tuple[str, ...] = ()
    """Symbols in the order of a vocabulary that is to be matched. By default characters come by code point, then
    their marked forms by their text. (`tokenizers` numbers the marked forms in an order that changes from run to
    run, which decides between pairs of equal count.)"""

    def __post_init__(self) -> None:
        if not 0 < self.coverage <= 1:
            raise ConfigError(f"coverage must be in (0, 1], got {self.coverage}", fix="SentencePiece uses 0.9995")
        if self.limit is not None and self.limit < 0:
            raise ConfigError(f"the alphabet's limit must be >= 0, got {self.limit}", fix="leave it out for no limit")
        for character in self.initial:
            if len(character) != 1:
                raise ConfigError(
                    f"the initial alphabet holds single characters, got {character!r}", fix="give each on its own"
                )
        for token in (*self.reserved, *self.order):
            if not token:
                raise ConfigError("a token of the vocabulary has at least one character, got an empty one")


def kept_characters(totals: dict[str, int], alphabet: Alphabet) -> tuple[set[str], set[str]]:
    """(characters left out, characters that cut) of those counted in `totals`.

    Of equally frequent characters the smaller code point is kept.

    >>> left_out, cutting = kept_characters({"a": 5, "b": 4, "c": 1}, Alphabet(limit=2))
    >>> sorted(left_out), sorted(cutting)
    (['c'], [])
    >>> kept_characters({"a": 5, "b": 4, "c": 1}, Alphabet(coverage=0.9))[1]
    {'c'}
    """
    by_count = sorted(totals, key=lambda character: (-totals[character], character))
    cutting: set[str] = set()
    text_length, covered = sum(totals.values()), 0
    for character in by_count:
        if covered >= alphabet.coverage * text_length and character not in alphabet.initial:
            cutting.add(character)
        covered += totals[character]
    left_out: set[str] = set()
    if alphabet.limit is not None:
        # characters asked for come before all others
        wanted = sorted(set(alphabet.initial))
        first = [*wanted, *(character for character in by_count if character not in alphabet.initial)]
        left_out = set(first[alphabet.limit :])
    return left_out, cutting - left_out


@dataclass(frozen=True, kw_only=True)
class CharacterStream:
    """Pieces as streams of symbols, with the symbols' names."""

    names: list[str]
    """The symbols in the order of the vocabulary: reserved tokens, then the alphabet."""
    stream: Stream


def character_totals(pieces: PieceCounts) -> dict[str, int]:
    """How often each character stands in the text that was counted.

    >>> character_totals(PieceCounts.from_mapping({b"aab": 3, b"b": 2}))
    {'a': 6, 'b': 5}

    Raises:
        DataError: as `characters_of`.
    """
    totals, _ = _counted_characters(pieces)
    return {chr(code): int(totals[code]) for code in np.flatnonzero(totals).tolist()}


def _counted_characters(pieces: PieceCounts) -> tuple[np.ndarray, np.ndarray]:
    """(int64: how often each code point stands in the text, uint8: in which of the four places)."""
    pieces.check()
    totals, forms = np.zeros(kernels.NUM_CODES, np.int64), np.zeros(kernels.NUM_CODES, np.uint8)
    bad = int(kernels.count_characters(pieces.arena, pieces.offsets, pieces.counts, totals, forms))
    if bad >= 0:
        raise DataError(
            f"training on characters needs UTF-8, got the piece {pieces.piece(bad)[:40]!r}",
            fix="decode the text with errors='replace' first, or train on bytes",
        )
    return totals, forms


def characters_of(pieces: PieceCounts, alphabet: Alphabet) -> CharacterStream:
    """The pieces' characters as symbols of the alphabet.

    Raises:
        DataError: a piece is not UTF-8, or the arrays do not fit together (see `PieceCounts.check`).
    """
    totals, forms = _counted_characters(pieces)
    codes = np.flatnonzero(forms)
    counted = {chr(code): int(totals[code]) for code in codes.tolist()}
    left_out, cutting = kept_characters(counted, alphabet)
    rows = np.full(kernels.NUM_CODES, kernels.LEFT_OUT, dtype=np.int32)
    for character in cutting:
        rows[ord(character)] = kernels.CUT
    kept = sorted((set(counted) | set(alphabet.initial)) - left_out - cutting)
    numbers = _numbered(alphabet.reserved, alphabet.order, kept)
    # `tokenizers` knows its alphabet by the names in its vocabulary: a reserved token of one character belongs to it
    known = [character for character in counted if character in numbers]
    for row, character in enumerate(known):
        rows[ord(character)] = row
    symbol_of = np.zeros((len(known) + 1, kernels.NUM_FORMS), dtype=np.int32)
    marked = []
    for row, character in enumerate(known):
        marked += [
            (_name(character, form, alphabet), row, form)
            for form in range(kernels.NUM_FORMS)
            if forms[ord(character)] >> form & 1
        ]
    for name, row, form in sorted(marked):
        symbol_of[row, form] = numbers.setdefault(name, len(numbers))
    stream = np.empty(int(pieces.offsets[-1]), dtype=np.int32)
    offsets = np.empty(len(pieces) + 1, dtype=np.int64)
    used = int(kernels.to_symbols(pieces.arena, pieces.offsets, rows, symbol_of, stream, offsets))
    stream = stream[:used].copy()
    return CharacterStream(names=list(numbers), stream=Stream(symbols=stream, offsets=offsets, counts=pieces.counts))


def _numbered(*groups: Sequence[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for group in groups:
        for name in group:
            numbers.setdefault(name, len(numbers))
    return numbers


def _name(character: str, form: int, alphabet: Alphabet) -> str:
    prefix = "" if form & kernels.FIRST else alphabet.prefix
    return prefix + character + (alphabet.suffix if form & kernels.LAST else "")
