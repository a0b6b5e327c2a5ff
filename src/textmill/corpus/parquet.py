"""One text column of a parquet file, read in small batches."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from textmill.corpus.inputs import Source
from textmill.corpus.streams import BLOCK, opened
from textmill.errors import DataError, FormatError

BATCH_ROWS = 256
"""Rows decoded at once."""


def parquet_rows(source: Source, field: str) -> Iterator[tuple[int, float, bytes]]:
    """(number from 1, share of the file done, text) of each row; a null is empty text.

    Raises:
        DataError: no such column, or it holds no text.
        FormatError: the file is damaged, cut short or no parquet.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_seekable(source))
        stack.enter_context(_named_damage(source))
        # a small buffer instead of whole column chunks
        table = stack.enter_context(pq.ParquetFile(file, buffer_size=BLOCK, pre_buffer=False))
        _check_column(table.schema_arrow, field, source.name)
        rows = max(1, table.metadata.num_rows)
        number = 0
        for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=[field]):
            for value in _as_bytes(batch.column(0)).to_pylist():
                number += 1
                yield number, number / rows, value or b""


@contextlib.contextmanager
def _seekable(source: Source) -> Iterator[IO[bytes]]:
    """The expanded file; parquet is read from its end, so a compressed one is expanded on the disk first."""
    with opened(source) as (stream, raw):
        if not source.compression:
            yield raw
            return
        with tempfile.TemporaryFile() as expanded:
            shutil.copyfileobj(stream, expanded, BLOCK)
            expanded.seek(0)
            yield expanded


def _check_column(schema: Any, field: str, name: str) -> None:
    if field not in schema.names:
        found = ", ".join(repr(column) for column in schema.names[:10])
        raise DataError(f"{name} has no column {field!r}, only {found}", fix="name the text's column by --field")
    kind = schema.field(field).type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not any(test(value) for test in (*tests, pa.types.is_string_view, pa.types.is_binary_view)):
        raise DataError(f"{name}: column {field!r} must be text, got {kind}", fix="choose another --field")


def _as_bytes(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # as bytes, because the text may be invalid UTF-8 and is checked by our own rule
    return column.cast(pa.large_binary())


@contextlib.contextmanager
def _named_damage(source: Source) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(
            f"{source.name} is not a sound parquet file: {first_line}", fix="write or copy it again"
        ) from error
