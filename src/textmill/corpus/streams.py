"""Files as streams of expanded bytes: plain, gz, xz or zst, never held whole.

gz and xz are read by the standard library, zst by pyarrow's codec (Python has its own only from 3.14 on).
"""

import contextlib
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

from textmill.corpus.inputs import Compression, Source
from textmill.errors import DataError, FormatError

BLOCK = 1 << 20
"""Bytes of expanded content a read asks for."""

_MAGIC: dict[bytes, Compression] = {b"\x1f\x8b": "gz", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
"""How compressed content begins; no valid UTF-8 begins so."""


@contextlib.contextmanager
def opened(source: Source) -> Iterator[tuple[Any, IO[bytes]]]:
    """The source's expanded content as an object with `read`, and the file beneath it (whose `tell` shows progress).

    Raises:
        DataError: the file can't be opened.
        FormatError: the compressed content is damaged or cut short (raised where it is read, too).
    """
    with contextlib.ExitStack() as stack:
        raw = _raw(source, stack)
        stack.enter_context(_named_damage(source))
        compression = source.compression
        if source.path is None and not compression:
            compression = _sniffed(raw)
        yield _expanded(raw, compression, stack), raw


def blocks(source: Source, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """The expanded content in blocks of exactly `BLOCK` bytes but the last.

    Args:
        progress: is told the position in the stored file after each block.
    """
    with opened(source) as (stream, raw):
        while block := _full_block(stream):
            if progress is not None:
                progress(_position(raw))
            yield block


def _full_block(stream: Any) -> bytes:
    # pipes and decoders give what they have: joining makes the blocks depend on the content alone
    block: bytes = stream.read(BLOCK)
    if not block or len(block) == BLOCK:
        return block
    parts, size = [block], len(block)
    while size < BLOCK and (more := stream.read(BLOCK - size)):
        parts.append(more)
        size += len(more)
    return b"".join(parts)


def _position(raw: IO[bytes]) -> int:
    try:
        return raw.tell()
    except OSError:  # a pipe
        return 0


def _raw(source: Source, stack: contextlib.ExitStack) -> IO[bytes]:
    if source.path is None:
        return sys.stdin.buffer
    try:
        return stack.enter_context(open(source.path, "rb"))
    except OSError as error:
        raise DataError(
            f"cannot read {source.name}: {error.strerror}", fix="check the path and its permissions"
        ) from error


def _sniffed(raw: IO[bytes]) -> Compression:
    peek = getattr(raw, "peek", None)
    start: bytes = peek(8) if peek is not None else b""
    for magic, compression in _MAGIC.items():
        if start.startswith(magic):
            return compression
    return ""


def _expanded(raw: IO[bytes], compression: Compression, stack: contextlib.ExitStack) -> Any:
    if compression == "gz":
        return stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb"))
    if compression == "xz":
        return stack.enter_context(lzma.LZMAFile(raw, "rb"))
    if compression == "zst":
        import pyarrow

        return stack.enter_context(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd"))
    return raw


@contextlib.contextmanager
def _named_damage(source: Source) -> Iterator[None]:
    """Turns a decoder's complaint into an error that names the file."""
    fix = "copy or download the file again"
    try:
        yield
    except EOFError as error:
        raise FormatError(f"{source.name} is cut short: its compressed content has no end", fix=fix) from error
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise FormatError(f"{source.name} is not valid compressed content: {error}", fix=fix) from error
    except OSError as error:
        # pyarrow's codec reports damage as an OSError without a number
        if error.errno is not None:
            raise DataError(f"cannot read {source.name}: {error.strerror}", fix="check the disk") from error
        short = "truncated" in str(error).lower()
        problem = "is cut short: its compressed content has no end" if short else f"is not valid: {error}"
        raise FormatError(f"{source.name} {problem}", fix=fix) from error
