"""Sources into documents: plain text is cut, and each row of a jsonl, csv, tsv or parquet file is a document.

Rows are read one at a time; the memory needed is that of the longest row.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from textmill.corpus.builtin import builtin_documents
from textmill.corpus.documents import Documents, Errors, check_errors, clean_document, cut_documents, split_bom
from textmill.corpus.inputs import Source, resolve_inputs
from textmill.corpus.report import FileReport, ReadReport
from textmill.corpus.streams import blocks
from textmill.errors import DataError

MOST_ROW_BYTES = 1 << 30
"""A longer row is taken for damage."""


def read_documents(
    inputs: Sequence[str | os.PathLike[str] | Source],
    *,
    field: str = "text",
    errors: Errors = "strict",
    documents: Documents = "auto",
    report: ReadReport | None = None,
) -> Iterator[bytes]:
    """Each document as UTF-8 bytes, streamed in the order of the inputs. Empty documents are dropped and counted.

    The inputs are resolved at once, so a wrong path is an error before the first document is asked for.

    Args:
        inputs: files, folders, globs, "-", "builtin", or sources that are resolved already.
        field: which field of a jsonl row or column of a table holds the text; a number such as "3" is a column of a
            csv or tsv file without a header, counted from 1.
        errors: what becomes of invalid UTF-8: an error that names file and byte offset in the expanded content,
            U+FFFD, or leaving the document out.
        documents: how plain text is cut (see `cut_documents`); rows are always whole documents.
        report: counts what was read.

    Raises:
        DataError: missing or unreadable input, invalid UTF-8 under "strict", a row without the field.
        FormatError: compressed or parquet content that is damaged or cut short.
    """
    check_errors(errors)
    cut_documents([], documents)  # an unknown way of cutting is an error now, not at the first document
    return _read(resolve_inputs(inputs), field, documents, errors, ReadReport() if report is None else report)


def _read(
    sources: Iterable[Source], field: str, documents: Documents, errors: Errors, report: ReadReport
) -> Iterator[bytes]:
    for source in sources:
        before = report.stored_bytes
        counts = report.files.setdefault(source.name, FileReport())
        yield from _READERS[source.format](_Reading(source, field, documents, errors, counts, report))
        report.stored_bytes = before + (source.stored_size() or 0)


@dataclass(frozen=True)
class _Reading:
    """One source being read, and all that decides how."""

    source: Source
    field: str
    documents: Documents
    errors: Errors
    counts: FileReport
    report: ReadReport

    def content(self) -> tuple[int, Iterator[bytes]]:
        """The length of the byte order mark, and the blocks after it."""
        before = self.report.stored_bytes

        def progress(position: int) -> None:
            self.report.stored_bytes = before + position

        return split_bom(blocks(self.source, progress))

    def clean(self, document: bytes, where: str = "", offset: int = 0) -> bytes | None:
        return clean_document(document, self.errors, self.counts, self.source.name + where, offset)


def _read_text(reading: _Reading) -> Iterator[bytes]:
    base, content = reading.content()
    for offset, document in cut_documents(content, reading.documents):
        cleaned = reading.clean(document, offset=base + offset)
        if cleaned is not None:
            yield cleaned


def _read_jsonl(reading: _Reading) -> Iterator[bytes]:
    base, content = reading.content()
    counts = reading.counts
    for number, offset, line in _rows(content, reading.source.name):
        if not line or line.isspace():
            continue
        where = f"{reading.source.name}, line {number}"
        if not line.isascii():
            # the row is checked as it lies in the file, where the offset means something
            found = FileReport()
            checked = clean_document(line, reading.errors, found, where, base + offset)
            counts.replaced += found.replaced
            counts.skipped += found.skipped
            if checked is None:
                continue
            line = checked
        # \ud800 without its other half is JSON but no text
        document = _json_text(line, reading.field, where).encode("utf-8", "surrogatepass")
        cleaned = reading.clean(document, f", line {number}, field {reading.field!r}")
        if cleaned is not None:
            yield cleaned


def _json_text(line: bytes, field: str, where: str) -> str:
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}", fix="mend or remove the line") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} must be an object, got {type(row).__name__}", fix=f'write {{"{field}": "..."}}')
    if field not in row:
        raise DataError(f"{where} has no field {field!r}, only {_listed(row)}", fix="name the text's field by --field")
    value = row[field]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{where}: field {field!r} must be text, got {type(value).__name__}", fix="choose another --field"
        )
    return value


def _read_table(reading: _Reading) -> Iterator[bytes]:
    source, counts = reading.source, reading.counts
    lines = _TableLines(reading)
    csv.field_size_limit(MOST_ROW_BYTES)  # Python's own limit is 128 KiB, and one for the whole process
    if source.format == "tsv":
        # tab-separated files don't quote: a quotation mark is a part of the text
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(lines, strict=True)
    column: int | None = None
    try:
        for row in rows:
            where = f"{source.name}, line {lines.number}"
            invalid, lines.invalid = lines.invalid, False
            if column is None:
                column, is_header = _column(row, reading.field, where)
                if is_header:
                    continue
            if not row:
                continue
            if invalid and reading.errors == "skip":
                counts.skipped += 1
                continue
            if column >= len(row):
                raise DataError(f"{where} has {len(row)} fields, the text is field {column + 1}", fix="mend the line")
            cleaned = reading.clean(row[column].encode())
            if cleaned is not None:
                yield cleaned
    except csv.Error as error:
        raise DataError(
            f"{source.name}, line {lines.number} is not {source.format}: {error}",
            fix="mend its quotation marks or line ends",
        ) from None


class _TableLines:
    """The lines of a table as text, for the csv module; remembers their number and whether one was invalid UTF-8."""

    def __init__(self, reading: _Reading) -> None:
        self.number = 0
        self.invalid = False
        self._reading = reading
        self._base, content = reading.content()
        self._rows = _rows(content, reading.source.name)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, offset, line = next(self._rows)
        if not line.isascii():
            # a row that is to be skipped must still be parsed, or the quotation marks after it would go astray
            errors: Errors = "replace" if self._reading.errors == "skip" else self._reading.errors
            found = FileReport()
            where = f"{self._reading.source.name}, line {self.number}"
            line = clean_document(line, errors, found, where, self._base + offset) or line
            self.invalid = self.invalid or found.replaced > 0
            if self._reading.errors == "replace":
                self._reading.counts.replaced += found.replaced
        return line.decode() + "\n"


def _column(header: Sequence[str], field: str, where: str) -> tuple[int, bool]:
    """The place of the text in a row, and whether this first row is a header."""
    # the number first: a label in the first row of a file without a header may well be "1"
    if field.isdecimal() and 1 <= int(field) <= len(header):
        return int(field) - 1, False
    if field in header:
        return header.index(field), True
    raise DataError(
        f"{where}: the header has no column {field!r}, only {_listed(header)}",
        fix="name the text's column by --field, or give its number if the file has no header",
    )


def _rows(content: Iterable[bytes], name: str) -> Iterator[tuple[int, int, bytes]]:
    """(number from 1, offset, line without its \\n) of each line, however long."""
    number, offset = 1, 0
    parts: list[bytes] = []
    size = 0
    for block in content:
        lines = block.split(b"\n")
        for line in lines[:-1]:
            if parts:
                line = b"".join([*parts, line])
                parts, size = [], 0
            yield number, offset, line
            number += 1
            offset += len(line) + 1
        parts.append(lines[-1])
        size += len(lines[-1])
        if size > MOST_ROW_BYTES:
            raise DataError(f"{name}, line {number} is longer than {MOST_ROW_BYTES >> 20} MiB", fix="is it plain text?")
    if rest := b"".join(parts):
        yield number, offset, rest


def _read_parquet(reading: _Reading) -> Iterator[bytes]:
    from textmill.corpus.parquet import parquet_rows  # pyarrow takes a while to load

    report, stored = reading.report, reading.source.stored_size() or 0
    before = report.stored_bytes
    for number, share, value in parquet_rows(reading.source, reading.field):
        report.stored_bytes = before + int(share * stored)
        cleaned = reading.clean(value, f", row {number}")
        if cleaned is not None:
            yield cleaned


def _read_builtin(reading: _Reading) -> Iterator[bytes]:
    for document in builtin_documents(reading.report):
        cleaned = reading.clean(document)
        if cleaned is not None:
            yield cleaned


def _listed(names: Iterable[str]) -> str:
    shown = [repr(name[:40]) for name in names]
    return ", ".join(shown[:10]) + (", ..." if len(shown) > 10 else "") if shown else "none"


_READERS: dict[str, Callable[[_Reading], Iterator[bytes]]] = {
    "text": _read_text,
    "jsonl": _read_jsonl,
    "csv": _read_table,
    "tsv": _read_table,
    "parquet": _read_parquet,
    "builtin": _read_builtin,
}
