"""Plain text into documents, on a stream of byte blocks that is never held whole.

A document too long for streaming and for a fair train/validation split is cut into *sections* of at most 8 KiB:
each ends at the last paragraph end that fits, else at the last line end, else at the last space, else between two
characters. Cutting loses nothing: the sections joined are the document. Line ends stay as they are, Windows' too.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal

from textmill.corpus.report import FileReport
from textmill.errors import ConfigError, DataError

Documents = Literal["auto", "file", "line", "paragraph"]
Errors = Literal["strict", "replace", "skip"]

SECTION_BYTES = 8 * 1024
"""The longest section: about two thousand tokens, and small enough that a text of 1 MB has a fair share to hold out."""

BOM = b"\xef\xbb\xbf"

_BLANK_LINES = re.compile(rb"\n[ \t\r]*\n")
_LEADING_BLANK_LINES = re.compile(rb"(?:[ \t\r]*\n)*")


def cut_documents(
    blocks: Iterable[bytes], documents: Documents = "auto", limit: int = SECTION_BYTES
) -> Iterator[tuple[int, bytes]]:
    """The documents in a stream of blocks, each with the offset of its first byte. How the blocks fall is no matter.

    `auto`: the whole text in sections. `file`: the whole text as one document, which is held in memory. `line`: each
    line without its end. `paragraph`: each run of lines between blank ones, without the line end at its end. A line
    or a paragraph longer than `limit` comes in sections.

    >>> list(cut_documents([b"one\\ntw", b"o\\n"], "line"))
    [(0, b'one'), (4, b'two')]
    >>> list(cut_documents([b"a\\nb\\n\\n\\nc"], "paragraph"))
    [(0, b'a\\nb'), (6, b'c')]
    >>> list(cut_documents([b"one two\\nthree"], limit=10))
    [(0, b'one two\\n'), (8, b'three')]

    Raises:
        ConfigError: an unknown way of cutting.
    """
    if documents == "auto":
        return cut_sections(blocks, limit)
    if documents == "file":
        return _whole(blocks)
    if documents == "line":
        return _lines(blocks, limit)
    if documents == "paragraph":
        return _paragraphs(blocks, limit)
    raise ConfigError(f"documents must be auto, file, line or paragraph, got {documents!r}", fix="use auto")


def cut_sections(blocks: Iterable[bytes], limit: int = SECTION_BYTES) -> Iterator[tuple[int, bytes]]:
    """The text in sections of at most `limit` bytes, each with its offset; joined they are the text again."""
    offset, rest = 0, b""
    for block in blocks:
        rest = rest + block if rest else block
        start = 0
        while len(rest) - start > limit:
            end = section_end(rest, start, limit)
            yield offset + start, rest[start:end]
            start = end
        offset, rest = offset + start, rest[start:]
    if rest:
        yield offset, rest


def section_end(text: bytes, start: int, limit: int) -> int:
    """Where the section of `text` that begins at `start` ends, if `text` goes on beyond `start + limit`.

    >>> section_end("日本".encode(), 0, 4)  # not inside the second character
    3
    """
    stop = start + limit
    end = text.rfind(b"\n\n", start, stop) + 2
    if text.find(b"\r", start, stop) >= 0:
        end = max(end, text.rfind(b"\n\r\n", start, stop) + 3)
    if end <= start + 2:
        end = text.rfind(b"\n", start, stop) + 1
    if end <= start:
        end = text.rfind(b" ", start, stop) + 1
    if end <= start:
        # a character's second to fourth bytes are 10xxxxxx; more than three in a row are not UTF-8 at all
        end = next((stop - back for back in range(min(4, limit)) if text[stop - back] & 0xC0 != 0x80), stop)
    return end


def clean_document(document: bytes, errors: Errors, report: FileReport, where: str, offset: int = 0) -> bytes | None:
    """The document as valid UTF-8, counted in `report`; None when it is dropped (empty, or invalid under `skip`).

    Args:
        where: names the file and perhaps the row, for the error message.
        offset: where the document's first byte lies in it.

    Raises:
        DataError: invalid UTF-8 under `strict`.
    """
    if not document or document.isspace():
        report.empty += 1
        return None
    if not document.isascii():
        try:
            document.decode()
        except UnicodeDecodeError as error:
            if errors == "strict":
                raise _not_utf8(document, error, where, offset) from None
            if errors == "skip":
                report.skipped += 1
                return None
            document = _replaced(document, report)
    report.documents += 1
    report.bytes += len(document)
    return document


def split_bom(blocks: Iterator[bytes]) -> tuple[int, Iterator[bytes]]:
    """The length of the byte order mark that some editors put before the text (3 or 0), and the blocks without it.

    The first block must hold the whole mark.
    """
    first = next(blocks, b"")
    content = first.removeprefix(BOM)
    return len(first) - len(content), chain([content] if content else [], blocks)


def check_errors(errors: str) -> None:
    """Raises ConfigError when `errors` is no way of treating invalid UTF-8."""
    if errors not in ("strict", "replace", "skip"):
        raise ConfigError(f"errors must be strict, replace or skip, got {errors!r}", fix="use strict")


def _whole(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    if text := b"".join(blocks):
        yield 0, text


def _lines(blocks: Iterable[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    offset, rest = 0, b""
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if len(line) < limit:
                yield offset, line.removesuffix(b"\r")
            else:
                for start, section in cut_sections([line + b"\n"], limit):
                    yield offset + start, _without_line_end(section)
            offset += len(line) + 1
        start = 0
        while len(rest) - start > limit:
            end = section_end(rest, start, limit)
            yield offset + start, _without_line_end(rest[start:end])
            start = end
        offset, rest = offset + start, rest[start:]
    if rest:
        yield offset, _without_line_end(rest)


def _without_line_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _paragraphs(blocks: Iterable[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    offset, rest = 0, b""
    for block in blocks:
        rest += block
        start = 0
        for blank in _BLANK_LINES.finditer(rest):
            yield from _paragraph(rest[start : blank.end()], offset + start, limit)
            start = blank.end()
        while len(rest) - start > limit:
            end = section_end(rest, start, limit)
            yield from _paragraph(rest[start:end], offset + start, limit)
            start = end
        offset, rest = offset + start, rest[start:]
    yield from _paragraph(rest, offset, limit)


def _paragraph(text: bytes, offset: int, limit: int) -> Iterator[tuple[int, bytes]]:
    """The paragraph in `text` without the blank lines around it, in sections; nothing when all of it is blank."""
    for start, section in cut_sections([text], limit):
        begin = _LEADING_BLANK_LINES.match(section).end()  # type: ignore[union-attr]
        ink = len(section.rstrip())
        if ink > begin:
            end = section.find(b"\n", ink)  # the spaces that end the last line stay
            yield offset + start + begin, section[begin : len(section) if end < 0 else end].rstrip(b"\r")


def _replaced(document: bytes, report: FileReport) -> bytes:
    text = document.decode(errors="replace")
    # U+FFFD that stood in the document already are not ours
    report.replaced += text.count("\ufffd") - document.count("\ufffd".encode())
    return text.encode()


def _not_utf8(document: bytes, error: UnicodeDecodeError, where: str, offset: int) -> DataError:
    if document.startswith((b"\xff\xfe", b"\xfe\xff")):
        fix = "the file looks like UTF-16: convert it, for example with `iconv -f UTF-16 -t UTF-8`"
    else:
        fix = "convert the file to UTF-8, or pass --errors replace or --errors skip"
    found = document[error.start : error.start + 4].hex(" ")
    return DataError(f"{where}: byte {offset + error.start} is not valid UTF-8 (found {found})", fix=fix)
