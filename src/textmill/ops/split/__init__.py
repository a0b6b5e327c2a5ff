"""Pre-tokenisation: a text cut into the pieces that the tokenizer's algorithm then never merges across.

`Splitter` is the one interface. How it cuts, by what it is asked for:

- the commonest patterns of `PATTERNS` in hand-written kernels (`cpu.py`);
- the other names, and most regular expressions, in one kernel that follows the tables of a machine (`cpu_machine.py`),
  which is made from the pattern in some milliseconds (`syntax.py`, `automaton.py`, `machines.py`);
- any other regular expression in the `regex` module (`reference.py`), fifty times slower; its Unicode version may be
  newer than the kernels' 16.0.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from textmill.errors import DataError
from textmill.ops.memory import PADDING, padded
from textmill.ops.split import cpu
from textmill.ops.split.classes import class_table
from textmill.ops.split.dialect import check_portable
from textmill.ops.split.marked import GAP, MATCH
from textmill.ops.split.plain import PLAIN
from textmill.ops.split.reference import PATTERNS, compiled, marked_ends, piece_ends

__all__ = ["BLOCK_PIECES", "GAP", "MATCH", "PATTERNS", "PLAIN", "Splitter", "pieces", "splitter"]

BLOCK_PIECES = 1 << 16
"""Pieces per block: 256 KiB of English text, so that text, ends and ids stay in the second-level cache."""

_KERNELS: dict[str, Callable[..., int]] = {
    "gpt2": cpu.split_gpt2,
    "cl100k": cpu.split_cl100k,
    "llama3": cpu.split_llama3,
    "o200k": cpu.split_o200k,
    "qwen2": cpu.split_qwen2,
}
"""Their patterns leave nothing unmatched."""

_PATTERN_NAMES = {pattern: name for name, pattern in PATTERNS.items()} | {
    # other spellings of the same pieces: GPT-2's own, tiktoken's, and what textmill writes into tokenizer.json
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    PATTERNS["gpt2"].replace(r"\Z", "$"): "gpt2",
    PATTERNS["cl100k"].replace(r"\Z", "$"): "cl100k",
    PATTERNS["cl100k"].replace(r"\Z", r"\z").replace("{1,3}+", "{1,3}"): "cl100k",
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "kimi",
}

_WHOLE = PLAIN["whole"].pattern

_NO_MARKS = np.empty(0, np.uint8)

Kernel = Callable[[np.ndarray, int, int, np.ndarray, np.ndarray], int]
"""kernel(text, start, stop, ends, marks) -> number of pieces; without marks, an empty array."""


def _by_hand(kernel: Callable[..., int]) -> Kernel:
    classes = class_table()

    def cut(text: np.ndarray, start: int, stop: int, ends: np.ndarray, marks: np.ndarray) -> int:
        count = kernel(text, start, stop, ends, classes)
        marks[:count] = MATCH
        return count

    return cut


def _by_machine(tables: tuple[Any, ...]) -> Kernel:
    from textmill.ops.split.cpu_machine import split_by_machine

    return lambda text, start, stop, ends, marks: split_by_machine(text, start, stop, ends, marks, *tables)


def _whole(_: np.ndarray, start: int, stop: int, ends: np.ndarray, marks: np.ndarray) -> int:
    if start == stop:
        return 0
    ends[0] = stop - start
    marks[:1] = MATCH
    return 1


def _check_range(text: np.ndarray, start: int, stop: int) -> None:
    if not (0 <= start <= stop <= len(text) - PADDING and stop - start < 1 << 31):
        raise DataError(
            f"cannot split bytes {start} to {stop} of a buffer of {len(text)}: "
            f"it needs {PADDING} bytes of padding, and offsets are 32-bit numbers",
            fix="use textmill.ops.memory.padded on less than 2 GiB",
        )


class Splitter:
    """A pattern that cuts UTF-8 text into pieces; they tile the text.

    A piece is a match of the pattern, or a longest stretch between two matches, a gap.
    """

    def __init__(self, name: str, pattern: str) -> None:
        self.name = name
        """A name of `PATTERNS` or `PLAIN`, or "" for another regular expression."""
        self.pattern = pattern
        self.drops_gaps = name in PLAIN and PLAIN[name].drops_gaps
        """Whether the rule keeps matches alone: then take `cut`, and `marked.compacted` of what it returns."""
        if not name:
            compiled(pattern)
            check_portable(pattern)

    def __reduce__(self) -> tuple[Callable[[str], "Splitter"], tuple[str]]:
        return splitter, (self.name or self.pattern,)

    @functools.cached_property
    def _kernel(self) -> Kernel | None:
        """None: the `regex` module must do it. Made on first use, as machines take some milliseconds."""
        if self.name in _KERNELS:
            return _by_hand(_KERNELS[self.name])
        if self.pattern == _WHOLE:
            return _whole
        return None if self.tables is None else _by_machine(self.tables)

    @property
    def is_fast(self) -> bool:
        """Whether a kernel cuts, not the `regex` module."""
        return self._kernel is not None

    def __call__(self, text: np.ndarray, start: int, stop: int, ends: np.ndarray, marks: np.ndarray = _NO_MARKS) -> int:
        """How many pieces of `text[start:stop]` were found; see `cpu.py`. For the patterns that have a kernel.

        Args:
            text: uint8, from `padded`.
            ends: int32, receives the end of each piece relative to `start`.
            marks: uint8, as long as `ends`, receives `MATCH` or `GAP` for each piece; empty: not wanted.

        Raises:
            DataError: what the kernel relies on does not hold: dtypes, padding, less than 2 GiB; or the pattern would
                take time by the square of the text's length.
        """
        assert self._kernel is not None, "use blocks()"
        flat = text.flags.c_contiguous and ends.flags.c_contiguous and marks.flags.c_contiguous
        types = text.dtype == np.uint8 and ends.dtype == np.int32 and marks.dtype == np.uint8
        if not (flat and types and len(ends) > 0 and len(marks) in (0, len(ends))):
            raise DataError(
                f"a splitter takes contiguous uint8 text and int32 ends, got {text.dtype} and {ends.dtype}, "
                f"and as many uint8 marks or none, got {len(marks)} {marks.dtype} for {len(ends)} ends",
                fix="use textmill.ops.memory.padded",
            )
        _check_range(text, start, stop)
        return self.checked_count(self._kernel(text, start, stop, ends, marks))

    def checked_count(self, count: int) -> int:
        """The number of pieces that a kernel found.

        Raises:
            DataError: the kernel gave up; see `cpu_machine.TOO_LONG`.
        """
        if count < 0:
            raise DataError(
                f"the splitting pattern {self.pattern!r} reads this text again and again, far beyond its matches",
                fix="limit its repeats, as in {0,100}",
            )
        return count

    def blocks(self, text: np.ndarray, start: int, stop: int, ends: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(origin, ends of the next pieces relative to it) until the pieces reach `stop`.

        With a kernel the yielded array is a view of `ends`, good until the next step.
        """
        if self._kernel is None:
            _check_range(text, start, stop)
            if start < stop:
                yield start, piece_ends(self.pattern, text[start:stop].tobytes()).astype(np.int32)
            return
        while start < stop:
            count = self(text, start, stop, ends)
            yield start, ends[:count]
            start += int(ends[count - 1])

    @functools.cached_property
    def tables(self) -> tuple[Any, ...] | None:
        """What `cpu_machine` takes of the pattern's machine; None: it has none."""
        from textmill.ops.split import machines

        if not self.name:
            found = machines.checked(self.pattern)
            return None if found is None else found.tables
        return machines.build(self.pattern, internal=self.name in PLAIN).tables

    def cut(self, text: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """(end of every piece relative to `start`, its mark): int32 and uint8, `MATCH` or `GAP`.

        Raises:
            DataError: as for a call.
        """
        _check_range(text, start, stop)
        if self._kernel is None:
            found, matches = marked_ends(self.pattern, text[start:stop].tobytes())
            return found.astype(np.int32), matches.astype(np.uint8)
        ends = np.empty(min(BLOCK_PIECES, stop - start + 1), np.int32)
        marks = np.empty(len(ends), np.uint8)
        all_ends, all_marks = [ends[:0]], [marks[:0]]
        done = start
        while done < stop:
            count = self(text, done, stop, ends, marks)
            all_ends.append(ends[:count] + np.int32(done - start))
            all_marks.append(marks[:count].copy())
            done += int(ends[count - 1])
        return np.concatenate(all_ends), np.concatenate(all_marks)


@functools.lru_cache(maxsize=64)
def splitter(name_or_pattern: str) -> Splitter:
    """The splitter of a name in `PATTERNS` or `PLAIN`, or of a regular expression.

    A regular expression that is another spelling of a named pattern gives that pattern's splitter.

    Raises:
        NotSupportedError: the regular expression does not compile in the `regex` module, or means something else to
            other libraries (see `dialect`).
    """
    name = _PATTERN_NAMES.get(name_or_pattern, name_or_pattern)
    if name in PATTERNS:
        return Splitter(name, PATTERNS[name])
    if name in PLAIN:
        return Splitter(name, PLAIN[name].pattern)
    return Splitter("", name_or_pattern)


def pieces(name_or_pattern: str, data: bytes, *, block_pieces: int = BLOCK_PIECES) -> list[bytes]:
    r"""The pieces of a text, for tests and for reading along.

    >>> pieces("gpt2", b"Don't stop  now")
    [b'Don', b"'t", b' stop', b' ', b' now']
    """
    found = []
    ends = np.empty(block_pieces, np.int32)
    for origin, block in splitter(name_or_pattern).blocks(padded(data), 0, len(data), ends):
        cuts = [0, *block.tolist()]
        found += [data[origin + a : origin + b] for a, b in itertools.pairwise(cuts)]
    return found
