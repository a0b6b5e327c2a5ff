"""Pre-tokenisation: a text cut into the pieces that the tokenizer's algorithm then never merges across.

`Splitter` is the one interface. The patterns of `PATTERNS` run in Numba kernels (`cpu.py`), any other regular
expression runs in the `regex` module (`reference.py`), whose Unicode version may be newer than the kernels' 16.0.
"""

import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from textmill.errors import DataError
from textmill.ops.memory import PADDING, padded
from textmill.ops.split import cpu
from textmill.ops.split.classes import class_table
from textmill.ops.split.dialect import check_portable
from textmill.ops.split.reference import PATTERNS, compiled, piece_ends

__all__ = ["BLOCK_PIECES", "PATTERNS", "Splitter", "pieces", "splitter"]

BLOCK_PIECES = 1 << 16
"""Pieces per block: 256 KiB of English text, so that text, ends and ids stay in the second-level cache."""

_KERNELS: dict[str, Callable[..., int]] = {
    "gpt2": cpu.split_gpt2,
    "cl100k": cpu.split_cl100k,
    "llama3": cpu.split_llama3,
    "o200k": cpu.split_o200k,
}

_PATTERN_NAMES = {pattern: name for name, pattern in PATTERNS.items()} | {
    # other spellings of the same pieces: GPT-2's own, tiktoken's, and what textmill writes into tokenizer.json
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    PATTERNS["gpt2"].replace(r"\Z", "$"): "gpt2",
    PATTERNS["cl100k"].replace(r"\Z", "$"): "cl100k",
    PATTERNS["cl100k"].replace(r"\Z", r"\z").replace("{1,3}+", "{1,3}"): "cl100k",
}


class Splitter:
    """A pattern that cuts UTF-8 text into pieces; they tile the text."""

    def __init__(self, name: str, pattern: str) -> None:
        self.name = name
        """A name of `PATTERNS`, or "" for another regular expression."""
        self.pattern = pattern
        self._kernel = _KERNELS.get(name)
        if self._kernel is None:
            compiled(pattern)
            check_portable(pattern)
        self._classes = class_table()

    def __reduce__(self) -> tuple[Callable[[str], "Splitter"], tuple[str]]:
        return splitter, (self.name or self.pattern,)

    def __call__(self, text: np.ndarray, start: int, stop: int, ends: np.ndarray) -> int:
        """How many pieces of `text[start:stop]` were found; see `cpu.py`. For the patterns that have a kernel.

        Args:
            text: uint8, from `padded`.
            ends: int32, receives the end of each piece relative to `start`.

        Raises:
            DataError: what the kernel relies on does not hold: dtypes, padding, less than 2 GiB.
        """
        assert self._kernel is not None, "use blocks()"
        flat = text.flags.c_contiguous and ends.flags.c_contiguous
        if not (flat and text.dtype == np.uint8 and ends.dtype == np.int32 and len(ends) > 0):
            raise DataError(
                f"a splitter takes contiguous uint8 text and int32 ends, got {text.dtype} and {ends.dtype}",
                fix="use textmill.ops.memory.padded",
            )
        if not (0 <= start <= stop <= len(text) - PADDING and stop - start < 1 << 31):
            raise DataError(
                f"cannot split bytes {start} to {stop} of a buffer of {len(text)}: "
                f"it needs {PADDING} bytes of padding, and offsets are 32-bit numbers",
                fix="use textmill.ops.memory.padded on less than 2 GiB",
            )
        return self._kernel(text, start, stop, ends, self._classes)

    def blocks(self, text: np.ndarray, start: int, stop: int, ends: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(origin, ends of the next pieces relative to it) until the pieces reach `stop`.

        With a kernel the yielded array is a view of `ends`, good until the next step.
        """
        if self._kernel is None:
            if start < stop:
                yield start, piece_ends(self.pattern, text[start:stop].tobytes()).astype(np.int32)
            return
        while start < stop:
            count = self(text, start, stop, ends)
            yield start, ends[:count]
            start += int(ends[count - 1])


@functools.lru_cache(maxsize=64)
def splitter(name_or_pattern: str) -> Splitter:
    """The splitter of a name in `PATTERNS`, or of a regular expression.

    A regular expression that is another spelling of a named pattern gives that pattern's kernel.

    Raises:
        NotSupportedError: the regular expression does not compile in the `regex` module, or means something else to
            other libraries (see `dialect`).
    """
    name = _PATTERN_NAMES.get(name_or_pattern, name_or_pattern)
    if name in PATTERNS:
        return Splitter(name, PATTERNS[name])
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
