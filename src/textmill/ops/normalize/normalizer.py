"""`SentencePieceNormalizer`: the launcher of the kernel."""

from collections.abc import Iterable

import numpy as np

from textmill.errors import DataError
from textmill.ops.memory import PADDING
from textmill.ops.normalize import cpu
from textmill.ops.normalize.charsmap import Charsmap, build_trie, children_of, has_leaf, label_of, offset_of
from textmill.ops.normalize.reference import ESCAPED_BLANK, BlankRules

_ASCII = 128
_MOST_BYTES = (1 << 31) - 1
_NO_SOURCES = np.empty(0, dtype=np.int32)


class SentencePieceNormalizer:
    """A table of replacements and what becomes of blanks. Immutable, so threads may share it.

    >>> from textmill.ops.memory import padded
    >>> from textmill.ops.normalize import build_charsmap, read_charsmap
    >>> normalizer = SentencePieceNormalizer(read_charsmap(build_charsmap({"ﬁ": "fi"})), BlankRules())
    >>> buffer, length, _ = normalizer(padded(" ﬁve  ".encode()), 7)
    >>> buffer[:length].tobytes().decode()
    '▁five'
    """

    def __init__(self, charsmap: Charsmap, blanks: BlankRules, user_defined: Iterable[str] = ()) -> None:
        self._charsmap = charsmap
        self._blanks = blanks
        strings = sorted({string.encode() for string in user_defined} - {b""})
        if any(0 in string for string in strings):
            raise DataError("a user-defined piece cannot hold U+0000", fix="leave it out")
        self._user_units = build_trie((string, 0) for string in strings) if strings else np.empty(0, np.uint32)
        self._classes = _classes(charsmap.units, {string[0] for string in strings})

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
        usable = text.dtype == np.uint8 and text.flags.c_contiguous and 0 <= length <= len(text) - PADDING
        if not usable or length > _MOST_BYTES:
            raise DataError(
                f"cannot normalise {length} bytes of a buffer of {text.dtype} [{len(text)}]",
                fix="use textmill.ops.memory.padded on less than 2 GiB",
            )
        rules = self._blanks
        settings = [int(rules.squeeze_blanks), int(rules.escape_blanks)]
        prefix = int(rules.dummy_prefix and not rules.blank_as_suffix)
        progress = [0, 0, int(rules.squeeze_blanks), cpu.NOTHING_READ, length]
        state = np.array([*progress, *settings, prefix], dtype=np.int64)
        # plain English with escaped blanks grows by a third
        out = np.empty(length + length // 2 + 4 * cpu.ROOM, dtype=np.uint8)
        origin = np.empty(len(out), dtype=np.int32) if sources else _NO_SOURCES
        parts = self._charsmap
        while True:
            cpu.normalize_block(text, self._classes, parts.units, parts.strings, self._user_units, out, origin, state)
            if state[cpu.AT] == length:
                break
            out = _grown(out, int(state[cpu.WRITTEN]))
            origin = _grown(origin, int(state[cpu.WRITTEN])) if sources else origin
        return self._finished(out, origin, state, sources)

    def _finished(
        self, out: np.ndarray, origin: np.ndarray, state: np.ndarray, sources: bool
    ) -> tuple[np.ndarray, int, np.ndarray | None]:
        written, read, rules = int(state[cpu.WRITTEN]), int(state[cpu.STOP]), self._blanks
        blank = ESCAPED_BLANK if rules.escape_blanks else b" "
        while rules.squeeze_blanks and out[max(written - len(blank), 0) : written].tobytes() == blank:
            written -= len(blank)
            read = int(origin[written]) if sources else read
        # a text without anything but blanks becomes nothing at all
        if rules.dummy_prefix and rules.blank_as_suffix and state[cpu.FRESH] == cpu.READING:
            out[written : written + len(blank)] = np.frombuffer(blank, dtype=np.uint8)
            if sources:
                origin[written : written + len(blank)] = read
            written += len(blank)
        out[written : written + PADDING] = 0
        if not sources:
            return out[: written + PADDING], written, None
        origin[written] = read
        return out[: written + PADDING], written, origin[: written + 1]


def _grown(array: np.ndarray, used: int) -> np.ndarray:
    larger = np.empty(2 * len(array), dtype=array.dtype)
    larger[:used] = array[:used]
    return larger


def _classes(units: np.ndarray, first_bytes: set[int]) -> np.ndarray:
    """uint8 [256]: the class of each byte.

    Args:
        first_bytes: those that user-defined strings begin with.
    """
    classes = np.full(256, cpu.RULED, dtype=np.uint8)
    for byte in range(_ASCII):
        if byte not in first_bytes and not any(label < _ASCII for label in _continuations(units, byte)):
            classes[byte] = cpu.BLANK if byte == ord(" ") else cpu.PLAIN
    return classes


def _continuations(units: np.ndarray, byte: int) -> list[int]:
    """How the rules go on that begin with the byte; 0 stands for the rule of the byte alone."""
    place = offset_of(int(units[0])) ^ byte
    if place >= len(units) or label_of(int(units[place])) != byte:
        return []
    unit = int(units[place])
    base = place ^ offset_of(unit)
    return children_of(units, base) + [0] * has_leaf(unit)
