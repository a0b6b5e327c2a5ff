"""A file of counted pieces, so that texts counted on many machines, or in parts, train one vocabulary.

Layout, numbers little-endian:

    magic        8 bytes, b"TMCOUNTS"
    version      uint32, 1
    length       uint32, of the header
    header       UTF-8 JSON, {"facts": {...}}: what the caller says of the counting, such as splitter and normaliser
    blocks       uint32 n, uint32 b, uint32[n] lengths, int64[n] counts, b bytes of pieces; the last has n = b = 0
    total        uint64, the number of pieces
    checksum     32 bytes, BLAKE2b of all before

Pieces rise from first to last by their bytes, so files merge in one pass. A block has at most `BLOCK_PIECES` pieces and
`BLOCK_BYTES` bytes, or it has one longer piece: what a reader holds is bounded by that, whatever the file says.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from textmill.errors import DataError, FormatError
from textmill.files import replacing
from textmill.ops.bpe import cpu_sort
from textmill.ops.bpe.count import PieceCounts
from textmill.ops.bpe.sort import concatenated, in_blocks, sorted_order
from textmill.ops.memory import PADDING

MAGIC = b"TMCOUNTS"
VERSION = 1
BLOCK_PIECES = 1 << 15
BLOCK_BYTES = 1 << 20
MAX_COUNT = 1 << 55
"""No piece may occur more often in one file: so no sum over files overflows."""

_MAX_HEADER = 1 << 20
_MAX_PIECE = (1 << 31) - 1
_DIGEST_BYTES = 32
_HEAD = struct.Struct("<8sII")
_BLOCK = struct.Struct("<II")
_TOTAL = struct.Struct("<Q")

Facts = Mapping[str, Any]


def write_counts(path: str | os.PathLike[str], counts: PieceCounts, facts: Facts) -> None:
    """Writes the counts to a file, whole or not at all. facts: JSON values; files merge only if theirs are equal.

    Raises:
        DataError: a count is below 1 or above `MAX_COUNT`.
        OutputError: disk full, read-only, no permission.
    """
    with replacing(path) as file:
        writer = CountsWriter(file, facts)
        for block in in_blocks(counts, sorted_order(counts), BLOCK_PIECES, BLOCK_BYTES):
            writer.write(block)
        writer.finish()


def read_counts(path: str | os.PathLike[str]) -> tuple[PieceCounts, dict[str, Any]]:
    """(the counts in the order of the pieces' bytes, the facts) of a file.

    Raises:
        FormatError: the file is missing, malformed, truncated, or changed since it was written.
    """
    with CountsReader(path) as reader:
        return concatenated(list(reader)), reader.facts


class CountsWriter:
    """Writes blocks of pieces to a file that is open."""

    def __init__(self, file: IO[bytes], facts: Facts) -> None:
        self._file = file
        self._digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self._total = 0
        header = json.dumps({"facts": facts}, ensure_ascii=False, sort_keys=True, allow_nan=False).encode()
        if len(header) > _MAX_HEADER:
            raise DataError(f"the facts of counts take {len(header)} bytes, at most {_MAX_HEADER} fit", fix="say less")
        self._put(_HEAD.pack(MAGIC, VERSION, len(header)) + header)

    def write(self, block: PieceCounts) -> None:
        """Adds a block of rising pieces that come after all before."""
        if len(block) == 0:
            return
        lowest, highest = int(block.counts.min()), int(block.counts.max())
        if lowest < 1 or highest > MAX_COUNT:
            raise DataError(
                f"a file holds counts of 1 to 2**55, got {lowest if lowest < 1 else highest}",
                fix="leave out pieces that do not occur",
            )
        length = int(block.offsets[-1])
        self._put(_BLOCK.pack(len(block), length))
        self._put(np.diff(block.offsets).astype("<u4").tobytes())
        self._put(block.counts.astype("<i8").tobytes())
        self._put(block.arena[:length].tobytes())
        self._total += len(block)

    def finish(self) -> None:
        """Writes the end of the file."""
        self._put(_BLOCK.pack(0, 0) + _TOTAL.pack(self._total))
        self._file.write(self._digest.digest())

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


class CountsReader:
    """The blocks of a file, one at a time. What was read is only certain once the last block was taken.

    Raises:
        FormatError: the file is missing, malformed, truncated, or changed since it was written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        try:
            self._file = open(self._path, "rb")  # noqa: SIM115  (closed by __exit__)
        except OSError as error:
            raise FormatError(f"cannot read {self._path}: {error.strerror}", fix="check the path") from None
        try:
            self._left = os.fstat(self._file.fileno()).st_size
            self.facts = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[PieceCounts]:
        last, total = b"", 0
        while True:
            number, length = _BLOCK.unpack(self._take(_BLOCK.size))
            if number == 0:
                break
            block = self._read_block(number, length)
            if block.piece(0) <= last:
                raise self._broken("its pieces are not in order")
            last, total = block.piece(number - 1), total + number
            yield block
        if length != 0 or _TOTAL.unpack(self._take(_TOTAL.size))[0] != total:
            raise self._broken("its number of pieces is wrong")
        digest = self._digest.digest()
        if self._left != _DIGEST_BYTES or self._file.read(_DIGEST_BYTES) != digest:
            raise self._broken("its checksum is wrong")

    def _read_header(self) -> dict[str, Any]:
        magic, version, length = _HEAD.unpack(self._take(_HEAD.size))
        if magic != MAGIC:
            raise self._broken("it does not begin as one")
        if version != VERSION:
            raise FormatError(
                f"{self._path} is of version {version} of counts, this program reads {VERSION}",
                fix="count again, or use the program that wrote it",
            )
        if length > _MAX_HEADER:
            raise self._broken("its header is too long")
        try:
            header = json.loads(self._take(length).decode())
        except (ValueError, RecursionError):
            raise self._broken("its header is not JSON") from None
        if not (isinstance(header, dict) and header.keys() == {"facts"} and isinstance(header["facts"], dict)):
            raise self._broken("its header has no facts")
        return header["facts"]

    def _read_block(self, number: int, length: int) -> PieceCounts:
        if not number <= length <= _MAX_PIECE or number > BLOCK_PIECES or (number > 1 and length > BLOCK_BYTES):
            raise self._broken("a block has an impossible size")
        lengths = np.frombuffer(self._take(4 * number), dtype="<u4").astype(np.int64)
        counts = np.frombuffer(self._take(8 * number), dtype="<i8").astype(np.int64)
        offsets = np.zeros(number + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        if lengths.min() < 1 or offsets[-1] != length or counts.min() < 1 or counts.max() > MAX_COUNT:
            raise self._broken("a block has impossible lengths or counts")
        arena = np.zeros(length + PADDING, dtype=np.uint8)
        arena[:length] = np.frombuffer(self._take(length), dtype=np.uint8)
        if cpu_sort.first_not_rising(arena, offsets) >= 0:
            raise self._broken("its pieces are not in order")
        return PieceCounts(arena=arena, offsets=offsets, counts=counts)

    def _take(self, length: int) -> bytes:
        """The next bytes; nothing is reserved for more than the file has."""
        data = self._file.read(length) if length <= self._left else b""
        if len(data) != length:
            raise self._broken("it is cut short")
        self._left -= length
        self._digest.update(data)
        return data

    def _broken(self, what: str) -> FormatError:
        return FormatError(f"{self._path} is no whole file of counts: {what}", fix="count again, or copy it again")
