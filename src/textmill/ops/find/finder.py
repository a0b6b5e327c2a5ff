"""The launcher: what the kernel needs, made from the strings on first use; a few strings go to Python's `re`."""

import functools
import itertools
import operator
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textmill.errors import ConfigError

FEW_STRINGS = 32
FEW_BYTES = 512
"""`re` tries all strings at a place, one after the other: that bounds it to this many steps for a byte of text."""
SHORT_TEXT = 1 << 20
"""Where strings differ in their first byte, `re` reads 100 MB/s and the kernel 2 GB/s, once it is loaded."""
MOST_BYTES = (1 << 31) - 1
_FIRST_ROOM = 1024
_GROWTH = 4


class _Tables(NamedTuple):
    """What `cpu.build` writes, and the length of each string."""

    nodes: np.ndarray
    labels: np.ndarray
    roots: np.ndarray
    endings: np.ndarray
    lengths: np.ndarray


class StringFinder:
    """Finds any of the strings in a text, in time linear in the text. Immutable: threads may share it.

    Nothing is built before the first text comes.
    """

    def __init__(self, strings: Sequence[bytes]) -> None:
        """Empty strings are never found, and of equal ones the first.

        Raises:
            ConfigError: 2 GiB or more of strings.
        """
        self._lengths = np.fromiter(map(len, strings), dtype=np.int64, count=len(strings))
        total = int(self._lengths.sum())
        if total > MOST_BYTES:
            raise ConfigError(
                f"the strings to look for must have less than 2 GiB in all, got {total} bytes", fix="look for fewer"
            )
        self._strings = list(strings)
        self._few = len(strings) <= FEW_STRINGS and total <= FEW_BYTES
        self._none = total == 0

    def find(self, data: bytes | memoryview, start: int, stop: int) -> list[tuple[int, int]]:
        """(place, number of the string) of each match in data[start:stop], in order; places count from data's begin.

        The leftmost match comes first, and of those that begin there the longest; the next begins behind its end.

        >>> StringFinder([b"ab", b"abc", b"cd"]).find(b"abcdcd", 0, 6)
        [(0, 1), (4, 2)]
        """
        start, stop = max(start, 0), min(stop, len(data))
        if start >= stop or self._none:
            return []
        if self._few and (stop - start < SHORT_TEXT or self._one_first_byte):
            numbers, matches = self._numbers, self._pattern.finditer(data, start, stop)
            return [(match.start(), numbers[match.group()]) for match in matches]
        text = np.frombuffer(data, dtype=np.uint8)
        # or the kernel would be compiled twice, for buffers that may be written to and for others
        text.flags.writeable = False
        return self._find(text, start, stop)

    def _find(self, text: np.ndarray, start: int, stop: int) -> list[tuple[int, int]]:
        from textmill.ops.find import cpu

        assert text.flags.c_contiguous
        assert 0 <= start <= stop <= len(text)
        starts, numbers = np.empty(_FIRST_ROOM, dtype=np.int64), np.empty(_FIRST_ROOM, dtype=np.int32)
        state = np.zeros(cpu.STATE_WORDS, dtype=np.int64)
        state[cpu.AT] = stop
        while True:
            cpu.find(text, start, *self._tables, starts, numbers, state)
            count = int(state[cpu.COUNT])
            if state[cpu.AT] == start:
                break
            starts, numbers = _longer(starts, count), _longer(numbers, count)
        kept = slice(int(state[cpu.KEPT]), count)
        return list(zip(starts[kept][::-1].tolist(), numbers[kept][::-1].tolist(), strict=True))

    @functools.cached_property
    def _numbers(self) -> dict[bytes, int]:
        # from the last to the first, which stays
        numbers = {self._strings[i]: i for i in range(len(self._strings) - 1, -1, -1)}
        numbers.pop(b"", None)
        return numbers

    @functools.cached_property
    def _one_first_byte(self) -> bool:
        return len({string[0] for string in self._numbers}) == 1

    @functools.cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        longest_first = sorted(self._numbers, key=len, reverse=True)
        return re.compile(b"|".join(map(re.escape, longest_first)))

    @functools.cached_property
    def _tables(self) -> _Tables:
        from textmill.ops.find import cpu

        backwards = [string[::-1] for string in self._strings]
        order = sorted(range(len(backwards)), key=backwards.__getitem__)
        ordered = [backwards[i] for i in order]
        # empty strings stand first, and equal ones in their own order
        new = np.fromiter(map(operator.ne, ordered, [b"", *ordered]), dtype=bool, count=len(ordered))
        numbers = np.array(order, dtype=np.int32)[new]
        text = np.frombuffer(b"".join(itertools.compress(ordered, new.tolist())), dtype=np.uint8)
        offsets = np.zeros(len(numbers) + 1, dtype=np.int64)
        np.cumsum(self._lengths[numbers], out=offsets[1:])
        most = len(text) + 1
        nodes, labels = np.empty((most, cpu.NODE_WORDS), np.int32), np.zeros(most + cpu.LABEL_PADDING, np.uint8)
        roots, endings = np.zeros(cpu.NUM_BYTES, np.int32), np.zeros(cpu.NUM_PAIRS, np.uint8)
        work = np.empty(cpu.WORK_WORDS * len(numbers), np.int32)
        cpu.build(text, offsets, numbers, nodes, labels, roots, endings, work)
        return _Tables(nodes, labels, roots, endings, self._lengths)


def _longer(array: np.ndarray, count: int) -> np.ndarray:
    longer = np.empty(len(array) * _GROWTH, dtype=array.dtype)
    longer[:count] = array[:count]
    return longer
