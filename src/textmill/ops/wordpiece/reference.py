"""The definition of BERT's tokenizer: normalise, split into words, and match each word greedily against a vocabulary.

Sources: Devlin et al. 2019, arXiv:1810.04805, and the code published with it; Wu et al. 2016, arXiv:1609.08144, for
WordPiece; Hiraoka 2022, arXiv:2209.04126, for MaxMatch-dropout. Where these leave a choice, `tokenizers` 0.23 decides.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from textmill.ops.wordpiece.characters import (
    CHINESE,
    CONTROL,
    MARK,
    PUNCTUATION,
    SPACE,
    WHITE,
    combining_classes,
    decompositions,
    flags,
    lower_case,
)

Char = tuple[str, int, int]
"""A character of the normalised text, and which characters [start, end) of the original text it stands for."""


@dataclass(frozen=True, kw_only=True)
class BertRules:
    """What BERT's normaliser does; the defaults are those of the uncased models."""

    clean_text: bool = True
    """Drop controls and U+FFFD, make all white space blanks."""
    chinese: bool = True
    """Make each Chinese character a word of its own."""
    strip_accents: bool | None = None
    """Decompose (NFD) and drop what is of category Mn. None: as `lowercase` says."""
    lowercase: bool = True

    @property
    def strips(self) -> bool:
        """Whether accents are dropped."""
        return self.lowercase if self.strip_accents is None else self.strip_accents


def has(char: str, flag: int) -> bool:
    """Whether the character has one of these flags."""
    return bool(_flag_bytes()[ord(char)] & flag)


@cache
def _flag_bytes() -> bytes:
    # looked up one by one, bytes are faster than an array
    return flags().tobytes()


def normalise(text: str, rules: BertRules) -> list[Char]:
    """The normalised text, character by character.

    >>> normalise("É中", BertRules())
    [('e', 0, 1), (' ', 1, 2), ('中', 1, 2), (' ', 1, 2)]
    """
    chars = [(char, place, place + 1) for place, char in enumerate(text)]
    if rules.clean_text:
        chars = [
            (" " if has(char, WHITE) else char, start, end) for char, start, end in chars if not has(char, CONTROL)
        ]
    if rules.chinese:
        chars = [
            (one, start, end) for char, start, end in chars for one in (f" {char} " if has(char, CHINESE) else char)
        ]
    if rules.strips:
        chars = [char for char in decompose(chars) if not has(char[0], MARK)]
    if rules.lowercase:
        chars = [(one, start, end) for char, start, end in chars for one in lower_case().get(ord(char), char)]
    return chars


def decompose(chars: Sequence[Char]) -> Iterator[Char]:
    """The characters in NFD.

    Marks that change places leave their spans behind: the first part of each character takes the next span in order,
    its other parts take the span of what stands before them.

    >>> accented = [("e", 0, 1), ("\u0301", 1, 2), ("\u0323", 2, 3)]
    >>> [(f"{ord(char):04X}", start, end) for char, start, end in decompose(accented)]
    [('0065', 0, 1), ('0323', 1, 2), ('0301', 2, 3)]
    """
    parts: list[tuple[int, int, str, bool]] = []
    starters = 0
    for char, *_ in chars:
        for number, part in enumerate(decompositions().get(ord(char), char)):
            combining = int(combining_classes()[ord(part)])
            starters += combining == 0
            # sorting is stable: between two starters, marks go by their class
            parts.append((starters, combining, part, number == 0))
    parts.sort(key=lambda item: item[:2])
    spans = iter([span for _, *span in chars])
    span: list[int] = [0, 0]
    for _, _, part, first in parts:
        span = next(spans) if first else span
        yield part, span[0], span[1]


def words(chars: Sequence[Char]) -> Iterator[list[Char]]:
    """The words: runs without white space, punctuation on its own.

    >>> ["".join(item[0] for item in word) for word in words(normalise("it's  so", BertRules()))]
    ['it', "'", 's', 'so']
    """
    word: list[Char] = []
    for item in chars:
        cuts = has(item[0], SPACE | PUNCTUATION)
        if cuts and word:
            yield word
            word = []
        if has(item[0], PUNCTUATION):
            yield [item]
        elif not cuts:
            word.append(item)
    if word:
        yield word


def match(
    word: bytes,
    tokens: Mapping[bytes, int],
    *,
    unknown: int,
    prefix: bytes = b"##",
    longest_word: int = 100,
    dropped: Callable[[int, int], bool] | None = None,
) -> list[tuple[int, int, int]]:
    """(id, begin, end) of each token of a word, in bytes: always the longest token that matches.

    A token that goes on within a word is in the vocabulary with `prefix` before it. A word that cannot be matched to
    its end, or has more than `longest_word` characters, is one unknown token.

    dropped: for MaxMatch-dropout, whether the match of bytes [begin, end) is to be passed over. The shortest match of a
    place stays, whatever it says: in most vocabularies that is a single character.

    >>> match(b"bathe", {b"bat": 1, b"ba": 2, b"##the": 3, b"##he": 4}, unknown=0)
    [(1, 0, 3), (4, 3, 5)]
    >>> match(b"bathe", {b"bat": 1, b"ba": 2, b"##the": 3, b"##he": 4}, unknown=0, dropped=lambda begin, end: True)
    [(2, 0, 2), (3, 2, 5)]
    """
    whole = [(unknown, 0, len(word))]
    if sum(byte & 0xC0 != 0x80 for byte in word) > longest_word:
        return whole
    found: list[tuple[int, int, int]] = []
    begin = 0
    while begin < len(word):
        before = prefix if begin else b""
        ends = [end for end in range(len(word), begin, -1) if before + word[begin:end] in tokens]
        if not ends:
            return whole
        end = next((end for end in ends[:-1] if dropped is None or not dropped(begin, end)), ends[-1])
        found.append((tokens[before + word[begin:end]], begin, end))
        begin = end
    return found


def encode(
    text: str, tokens: Mapping[str, int], rules: BertRules, *, unknown: str, prefix: str = "##", longest_word: int = 100
) -> list[tuple[int, int, int]]:
    """(id, start, end) of each token, in characters of the text.

    >>> encode("Été!", {"ete": 5, "!": 6, "[UNK]": 0}, BertRules(), unknown="[UNK]")
    [(5, 0, 3), (6, 3, 4)]
    """
    by_bytes = {token.encode(): number for token, number in tokens.items()}
    found = []
    for word in words(normalise(text, rules)):
        spans = [item[1:] for item in word for _ in item[0].encode()]
        data = "".join(item[0] for item in word).encode()
        for number, begin, end in match(
            data, by_bytes, unknown=tokens[unknown], prefix=prefix.encode(), longest_word=longest_word
        ):
            found.append((number, spans[begin][0], spans[end - 1][1]))
    return found


_WORD_BITS = (1 << 64) - 1
_SALTS = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


def is_dropped(seed: int, place: int, begin: int, end: int, probability: float) -> bool:
    """Whether MaxMatch-dropout passes over bytes [begin, end) of a normalised word.

    A function of its arguments alone, thus the same for any number of threads. place: the byte of the text where the
    span of the word's first character begins.

    >>> sum(is_dropped(1, place, 0, 3, 0.25) for place in range(1000))
    247
    """
    state = _fold(_fold(seed & _WORD_BITS ^ _SALTS[0], place ^ _SALTS[1]) ^ _SALTS[0], (begin << 32 | end) ^ _SALTS[1])
    return state >> 11 < int(probability * (1 << 53))


def _fold(a: int, b: int) -> int:
    """The upper half of the 128-bit product xor its lower half."""
    product = a * b
    return (product >> 64 ^ product) & _WORD_BITS
