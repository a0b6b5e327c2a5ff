"""Lines of text from a file or from stdin."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from textmill.errors import DataError


def lines(name: str) -> Iterator[str]:
    """The lines of a UTF-8 file or of stdin ("-"), without their line ends.

    Raises:
        DataError: no such file, or not UTF-8; names the byte.
    """
    if name == "-":
        yield from _decoded(sys.stdin.buffer, "standard input")
        return
    path = Path(name)
    if not path.is_file():
        raise DataError(f"{name} is not a file", fix="name a text file, or - for stdin")
    with open(path, "rb") as file:
        yield from _decoded(file, name)


def _decoded(file: IO[bytes] | Iterable[bytes], name: str) -> Iterator[str]:
    before = 0
    for line in file:
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{name} is not UTF-8 at byte {before + error.start}", fix="convert it to UTF-8") from None
        before += len(line)
