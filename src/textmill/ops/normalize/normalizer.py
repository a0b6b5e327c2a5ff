"""`SentencePieceNormalizer`: the launcher of the kernel."""

from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from textmill.errors import DataError
from textmill.ops.memory import PADDING
from textmill.ops.normalize import cpu, tables
from textmill.ops.normalize import cpu_rules as rules
from textmill.ops.normalize.charsmap import Charsmap, build_trie
from textmill.ops.normalize.reference import BlankRules

_MOST_BYTES = (1 << 31) - 1
_NO_SOURCES = np.empty(0, dtype=np.int32)
_ARRAYS = (rules.CLASSES, rules.UNTOUCHED, rules.OWN_RULES, rules.UNITS, rules.STRINGS, rules.USER)


class SentencePieceNormalizer:
    """A table of replacements and what becomes of blanks. Immutable, so threads may share it.

    >>> from textmill.ops.memory import padded
    >>> from textmill.ops.normalize import build_charsmap, read_charsmap
    >>> normalizer = SentencePieceNormalizer(read_charsmap(build_charsmap({"ﬁ": "fi"})), BlankRules())
    >>> buffer, length, _ = normalizer(padded(" ﬁve  ".encode()), 7)
    >>> buffer[:length].tobytes().decode()
    '▁five'
    """

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds addresses of its own arrays: make another one")

    def __init__(self, charsmap: Charsmap, blanks: BlankRules, user_defined: Iterable[str] = ()) -> None:
        strings = sorted({string.encode() for string in user_defined} - {b""})
        if any(0 in string for string in strings):
            raise DataError("a user-defined piece cannot hold U+0000", fix="leave it out")
        user_units = build_trie((string, 0) for string in strings) if strings else np.empty(0, np.uint32)
        classes = tables.byte_classes(charsmap, strings)
        untouched, own_rules = tables.wide_characters(charsmap, user_units)
        self._owned = [classes, untouched, own_rules, charsmap.units, charsmap.strings, user_units]
        self._model = np.zeros(rules.MODEL_WORDS, dtype=np.int64)
        for word, array in zip(_ARRAYS, self._owned, strict=True):
            self._model[word] = array.ctypes.data
        self._model[[rules.NUM_UNITS, rules.NUM_BYTES, rules.NUM_USER]] = [len(array) for array in self._owned[3:]]
        simple = [rules.LETTERS, rules.RULED_LETTERS, rules.BLANKS_ARE, rules.LINES_ARE]
        self._model[simple] = tables.simple_bytes(classes)
        self._model[[rules.FIRST_LEAD, rules.NUM_LEADS]] = tables.untouched_leads(untouched)
        self._model[rules.SQUEEZE], self._model[rules.ESCAPE] = blanks.squeeze_blanks, blanks.escape_blanks
        self._model[rules.PREFIX] = blanks.dummy_prefix and not blanks.blank_as_suffix
        self._model[rules.SUFFIX] = blanks.dummy_prefix and blanks.blank_as_suffix

    def __call__(
        self, text: np.ndarray, length: int, *, sources: bool = False
    ) -> tuple[np.ndarray, int, np.ndarray | None]:
        """(the normalised text as a padded uint8 buffer, its bytes, where they came from).

        With `sources`, entry i of the last, int32 [bytes + 1], is the byte of the text at which what became byte i of
        the result begins, and the last entry the end of what was read.

        Args:
            text: uint8, from `padded`; `length` bytes of it count.

        Raises:
            DataError: no such buffer, or 2 GiB and more.
        """
        bounds = np.array([0, length], dtype=np.int64)
        # plain English with escaped blanks grows by a third
        out = np.empty(_room_for(length), dtype=np.uint8)
        out, ends, origin = self._normalized(text, bounds, out, sources=sources)
        written = int(ends[0])
        return out[: written + PADDING], written, origin[: written + 1] if sources else None

    def documents(self, text: np.ndarray, bounds: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(`out` or a larger buffer with the normalised documents one after the other, int64: where each ends there).

        Args:
            text: uint8, from `padded`; document i is text[bounds[i]:bounds[i + 1]], bounds int64.
            out: uint8, to be written to.

        Raises:
            DataError: no such buffers, or 2 GiB and more.
        """
        out, ends, _ = self._normalized(text, bounds, out, sources=False)
        return out, ends

    def _normalized(
        self, text: np.ndarray, bounds: np.ndarray, out: np.ndarray, *, sources: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        _check(text, bounds)
        if out.dtype != np.uint8 or not (out.flags.c_contiguous and out.flags.writeable):
            raise DataError(f"out must be contiguous uint8 to be written to, got {out.dtype}", fix="use np.empty")
        if len(out) < 2 * cpu.ROOM:
            out = np.empty(_room_for(int(bounds[-1] - bounds[0])), dtype=np.uint8)
        origin = np.empty(len(out), dtype=np.int32) if sources else _NO_SOURCES
        ends, state = np.empty(len(bounds) - 1, dtype=np.int64), np.zeros(cpu.STATE_WORDS, dtype=np.int64)
        while not cpu.normalize_block(text, bounds, self._model, out, origin, ends, state):
            out = _grown(out, int(state[cpu.WRITTEN]))
            origin = _grown(origin, int(state[cpu.WRITTEN])) if sources else origin
        written = int(state[cpu.WRITTEN])
        if written > _MOST_BYTES:
            raise DataError(f"normalised, the text has {written} bytes", fix="cut it into documents below 2 GiB")
        out[written : written + PADDING] = 0
        if sources:
            origin[written] = state[cpu.READ]
        return out, ends, origin


def _check(text: np.ndarray, bounds: np.ndarray) -> None:
    usable = text.dtype == np.uint8 and text.flags.c_contiguous and bounds.dtype == np.int64 and len(bounds) > 0
    usable = usable and int(bounds[0]) >= 0 and int(bounds[-1]) <= len(text) - PADDING
    if not usable or int(bounds[-1]) > _MOST_BYTES or bool((bounds[1:] < bounds[:-1]).any()):
        raise DataError(
            f"cannot normalise bytes {bounds[:1]} to {bounds[-1:]} of a buffer of {text.dtype} [{len(text)}]",
            fix="use textmill.ops.memory.padded on less than 2 GiB",
        )


def _room_for(length: int) -> int:
    return length + length // 2 + 4 * cpu.ROOM


def _grown(array: np.ndarray, used: int) -> np.ndarray:
    larger = np.empty(2 * len(array), dtype=array.dtype)
    larger[:used] = array[:used]
    return larger
