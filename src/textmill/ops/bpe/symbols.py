"""The symbols of BPE training: their names, and the table of them that the kernels read.

A name is the UTF-8 bytes of a token as the vocabulary writes it. The name of a product is the name of its left part
and the *tail* of its right part: the name without `prefix`, if it begins with it ("##" in WordPiece vocabularies).
"""

from collections.abc import Sequence

import numpy as np

from textmill.ops.bpe import cpu_pairs as layout
from textmill.ops.bpe.cpu_window import PAIR_MIX, PAIR_SALT

_BASE = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


class SymbolTable:
    """The names of the first symbols, and room for `wanted` symbols in all."""

    def __init__(
        self,
        names: Sequence[bytes],
        lengths: np.ndarray,
        wanted: int,
        *,
        prefix: bytes = b"",
        checked: bool = False,
        max_words: int = 0,
    ) -> None:
        """lengths: int64, one for each name, in the unit of `max_token_length`.

        checked: whether a product may have the name of a symbol that exists, so that each must be looked up.
        """
        self.names = list(names)
        self.wanted = max(wanted, len(self.names))
        self._prefix = prefix
        self._checked = checked
        self._number_of: dict[bytes, int] = {}
        self.rows = np.zeros((self.wanted, layout.SYMBOL_WORDS), dtype=np.int64)
        self.rows[: len(self.names), layout.LENGTH >> 3] = lengths
        self.hashes = np.zeros((1, 2), dtype=np.int64)
        if max_words:
            self.rows[: len(self.names), layout.WORDS >> 3] = [words_of(name) for name in self.names]
        if checked:
            for number, name in enumerate(self.names):
                self._number_of.setdefault(name, number)
            self.hashes = np.zeros((1 << (2 * self.wanted).bit_length(), 2), dtype=np.int64)
            for number in range(len(self.names)):
                self._describe(number)

    def product(self, left: int, right: int) -> int:
        """The symbol that a merge makes: one that exists, or the next number, described in the table."""
        name = self.join(left, right)
        number = self._number_of.get(name)
        if number is None:
            number = self._append(name)
            self._describe(number)
        return number

    def join(self, left: int, right: int) -> bytes:
        """The name of two symbols joined."""
        return self.names[left] + self.names[right].removeprefix(self._prefix)

    def catch_up(self, merges: np.ndarray) -> None:
        """Takes over the names of new symbols that merges (rows left, right, count, made) have made, in order."""
        columns = [layout.LEFT, layout.RIGHT, layout.MADE]
        for left, right, made in merges[merges[:, layout.MADE] >= len(self.names)][:, columns].tolist():
            # a symbol that exists can be made again later: only its first merge names it
            if made == len(self.names):
                self._append(self.join(left, right))

    def _append(self, name: bytes) -> int:
        self.names.append(name)
        if self._checked:
            self._number_of.setdefault(name, len(self.names) - 1)
        return len(self.names) - 1

    def _describe(self, number: int) -> None:
        name = self.names[number]
        row = self.rows[number].view(np.uint64)
        whole, (tail, power) = fingerprint(name)[0], fingerprint(name.removeprefix(self._prefix))
        row[layout.NAME >> 3], row[layout.TAIL >> 3], row[layout.TAIL_POWER >> 3] = whole, tail, power
        row[layout.OPENS_PREFIX >> 3] = name != self._prefix and self._prefix.startswith(name)
        bits = (len(self.hashes) - 1).bit_length()
        bucket = _bucket(whole, bits)
        while self.hashes[bucket, 1] != 0:
            bucket = (bucket + 1) & (len(self.hashes) - 1)
        self.hashes[bucket].view(np.uint64)[:] = whole, number + 1


def fingerprint(name: bytes) -> tuple[int, int]:
    """(the bytes + 1 as digits of a number, the number's base to the power of the length), both modulo 2**64.

    >>> fingerprint(b"ab")[0] == (fingerprint(b"a")[0] * fingerprint(b"b")[1] + fingerprint(b"b")[0]) % 2**64
    True
    """
    number, power = 0, 1
    for value in name:
        number, power = (number * _BASE + value + 1) & _WORD, power * _BASE & _WORD
    return number, power


def words_of(name: bytes) -> int:
    """The `WORDS` field of a name: how many runs of bytes that are not ASCII white space it has, and three flags.

    >>> words_of(b" by the") >> 3, words_of(b" ") >> 3
    (2, 0)
    """
    count = len(name.split())
    flags = layout.BEGINS_INSIDE * (not name[:1].isspace()) | layout.ENDS_INSIDE * (not name[-1:].isspace())
    flags |= layout.CLOSED * (b"\n" in name or b"\r" in name)
    return (count << layout.WORD_COUNT_SHIFT) | flags


def _bucket(name: int, bits: int) -> int:
    """What `cpu_window.pair_bucket` gives, which as a Numba function would have to be compiled for Python."""
    product = (name ^ PAIR_SALT) * PAIR_MIX
    return ((product >> 64) ^ (product & _WORD)) >> (64 - bits)
