"""`CharacterMap`: normalisers that turn nearly every character into others whatever stands around it, in one pass."""

import re
from collections.abc import Callable

import numpy as np

from textmill.errors import DataError
from textmill.ops.memory import PADDING, padded
from textmill.ops.normalize import cpu_characters as kernels

NUM_CODE_POINTS = 0x110000
_FIRST_BYTES = 1 << 12
_OWN_BYTES = 1 << 16
_ZEROS = bytes(PADDING)
_MOST_BYTES = (1 << 31) - 1 - PADDING
_MOST_KNOWN = 1 << 14
_KNOWN_BYTES = 64
# of so many bytes at least, one in so many in hard stretches: then all the rest goes by the definition
_ENOUGH_BYTES = 1 << 12
_OFTEN = 4
_ASCII_BYTE = re.compile(rb"[\x00-\x7f]")


class CharacterMap:
    r"""Replaces characters. What becomes of one is worked out when it is first met.

    Where the neighbours of a character count, the stretch around it goes by the definition: from the last ASCII
    character before it to the next one behind it, \r\n being one. Text that is not UTF-8 is read as Python's
    `surrogateescape` reads it.

    An instance serves one thread at a time.

    >>> shout = CharacterMap(str.upper, str.upper)
    >>> shout("straße".encode()).decode()
    'STRASSE'
    """

    def __init__(self, of_character: Callable[[str], str | None], definition: Callable[[str], str]) -> None:
        """Args:
        of_character: what becomes of a character, whatever stands around it; None: that depends.
        definition: what becomes of a text.
        """
        self._of_character = of_character
        self._definition = definition
        self._entries = np.zeros(NUM_CODE_POINTS, dtype=np.int32)
        self._strings = np.zeros(_FIRST_BYTES, dtype=np.uint8)
        self._used = 0
        self._ascii = np.full(128, kernels.LOOK_UP, dtype=np.uint8)
        self._known: dict[bytes, bytes] = {}
        self._state = np.zeros(kernels.STATE_WORDS, dtype=np.int64)
        # the memory that short texts are worked on in
        self._text = np.zeros(_OWN_BYTES + PADDING, dtype=np.uint8)
        self._out = np.empty(_OWN_BYTES + _OWN_BYTES // 8 + 2 * kernels.ROOM, dtype=np.uint8)
        for code in range(len(self._ascii)):
            found = of_character(chr(code))
            if found is not None and len(found) == 1 and found.isascii():
                self._ascii[code] = ord(found)

    def __call__(self, data: bytes | memoryview) -> bytes:
        """The text with its characters replaced.

        Raises:
            DataError: it has 2 GiB or more, or grows to that.
        """
        length, state, hard = len(data), self._state, 0
        text, out = self._text, self._out
        if length <= _OWN_BYTES:
            # filling a slice of a view costs a third of what it costs in an array
            text.data[:length] = data
            text.data[length : length + PADDING] = _ZEROS
        else:
            text = padded(data)
            out = np.empty(_checked(length + length // 8) + 2 * kernels.ROOM, dtype=np.uint8)
        state.fill(0)
        while True:
            status = kernels.replace_characters(text, length, self._entries, self._ascii, self._strings, out, state)
            if status == kernels.DONE:
                return out[: int(state[kernels.WRITTEN])].tobytes()
            if status == kernels.FULL:
                out = _grown(out, 0)
                continue
            code = int(state[kernels.CODE])
            if self._entries[code] == kernels.UNKNOWN:
                self._work_out(code)
                continue
            start, stop = int(state[kernels.SAFE_AT]), _next_ascii(data, int(state[kernels.AT]), length)
            hard += stop - start
            if stop >= _ENOUGH_BYTES and hard * _OFTEN > stop:
                stop = length
            part = self._by_definition(bytes(data[start:stop]))
            written = int(state[kernels.SAFE_WRITTEN])
            if written + len(part) + kernels.ROOM > len(out):
                out = _grown(out, len(part))
            out.data[written : written + len(part)] = part
            state[kernels.AT] = state[kernels.SAFE_AT] = stop
            state[kernels.WRITTEN] = state[kernels.SAFE_WRITTEN] = written + len(part)

    def _by_definition(self, part: bytes) -> bytes:
        known = self._known.get(part)
        if known is None:
            text = self._definition(part.decode("utf-8", "surrogateescape"))
            known = text.encode("utf-8", "surrogateescape")
            if len(part) <= _KNOWN_BYTES and len(self._known) < _MOST_KNOWN:
                self._known[part] = known
        return known

    def _work_out(self, code: int) -> None:
        character = chr(code)
        found = self._of_character(character)
        if found == character:
            self._entries[code] = kernels.SAME
            return
        string = b"" if found is None else found.encode("utf-8", "surrogateescape")
        if found is None or len(string) > kernels.LONGEST_STRING:
            self._entries[code] = kernels.HARD
            return
        needed = self._used + 1 + len(string) + 8
        if needed > len(self._strings):
            self._strings = np.concatenate([self._strings, np.zeros_like(self._strings)])
        self._strings[self._used] = len(string)
        self._strings[self._used + 1 : self._used + 1 + len(string)] = np.frombuffer(string, dtype=np.uint8)
        self._entries[code] = kernels.FIRST_STRING + self._used
        self._used += 1 + len(string)


def _next_ascii(data: bytes | memoryview, at: int, length: int) -> int:
    r"""Where the first ASCII character after the one at a place begins, but for the \n of \r\n."""
    found = _ASCII_BYTE.search(data, at + 1)
    if found is not None and found.group() == b"\n" and data[found.start() - 1] == 0x0D:
        found = _ASCII_BYTE.search(data, found.start() + 1)
    return length if found is None else found.start()


def _grown(out: np.ndarray, by: int) -> np.ndarray:
    larger = np.empty(_checked(len(out) + len(out) // 2 + by) + kernels.ROOM, dtype=np.uint8)
    larger[: len(out)] = out
    return larger


def _checked(size: int) -> int:
    if size > _MOST_BYTES:
        raise DataError(f"a text may have at most {_MOST_BYTES} bytes, got {size}", fix="cut it into documents")
    return size
