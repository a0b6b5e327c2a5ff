"""How a file of token ids lies on the disk. Versions 1 and 2; all numbers little-endian.

    0      magic, 8 bytes
    8      version, uint32
    12     length of the header text, uint32
    16     header: JSON, padded with spaces up to byte 4096
    4096   token ids, uint16 or uint32
           zeros up to a multiple of 64
           document starts, int64: where in this file's ids each document begins
           document bytes, int64: the length of the text each document was made from
           version 2: sentence counts, int64: how many sentences each document has
           version 2: sentence bounds, int64: where each sentence begins and the document's last ends (see sentences.py)
           trailer: SHA-256 of bytes 0 to 4096, then the end magic, 8 bytes

A file without sentences is of version 1, whatever program writes it. The header holds the counts and the SHA-256 of
each section (ids; starts and bytes; in version 2 also sentence counts and bounds). The trailer comes last, so a
file that was cut short is known by its end, and one that was changed by its sums.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from textmill.config import from_json, to_json
from textmill.errors import ConfigError, FormatError

MAGIC = b"TMTOKENS"
END_MAGIC = b"SNEKOTMT"
VERSION = 1
"""A file without sentences."""
SENTENCE_VERSION = 2
"""A file whose documents' sentences are marked."""
VERSIONS = (VERSION, SENTENCE_VERSION)
READ_VERSIONS = " and ".join(map(str, VERSIONS))
HEADER_BYTES = 4096
ALIGNMENT = 64
REBUILD = "build the shards again from the text"

_PREFIX = struct.Struct("<8sII")


@dataclass(frozen=True, kw_only=True)
class FileHeader:
    """What one file holds."""

    dtype: Literal["uint16", "uint32"]
    tokens: int
    documents: int
    text_bytes: int
    """UTF-8 bytes of the text that the tokens stand for, end-of-text tokens not counted."""
    vocab_size: int
    tokens_sha256: str
    documents_sha256: str
    sentences: int | None = None
    """How many there are; None where sentences are not marked, which makes the file one of version 1."""
    sentences_sha256: str | None = None

    @property
    def version(self) -> int:
        return VERSION if self.sentences is None else SENTENCE_VERSION

    @property
    def tokens_end(self) -> int:
        return HEADER_BYTES + self.tokens * np.dtype(self.dtype).itemsize

    @property
    def documents_begin(self) -> int:
        return -(-self.tokens_end // ALIGNMENT) * ALIGNMENT

    @property
    def documents_end(self) -> int:
        return self.documents_begin + 16 * self.documents

    @property
    def num_bounds(self) -> int:
        """Each document has one bound more than sentences."""
        return 0 if self.sentences is None else self.sentences + self.documents

    @property
    def sentences_end(self) -> int:
        counts = 0 if self.sentences is None else self.documents
        return self.documents_end + 8 * (counts + self.num_bounds)

    @property
    def file_bytes(self) -> int:
        return self.sentences_end + hashlib.sha256().digest_size + len(END_MAGIC)


def header_block(header: FileHeader) -> bytes:
    """The first `HEADER_BYTES` bytes of a file."""
    text = json.dumps({name: value for name, value in to_json(header).items() if value is not None}).encode()
    block = _PREFIX.pack(MAGIC, header.version, len(text)) + text
    assert len(block) <= HEADER_BYTES
    return block.ljust(HEADER_BYTES)


def trailer(block: bytes) -> bytes:
    """The last bytes of the file that begins with this header block."""
    return hashlib.sha256(block).digest() + END_MAGIC


def read_header(path: Path) -> tuple[FileHeader, str]:
    """The header of a file whose size and trailer agree with it, and the SHA-256 of its header block.

    Raises:
        FormatError: missing, no token shard, of another version, cut short, or changed.
    """
    try:
        with open(path, "rb") as file:
            block = file.read(HEADER_BYTES)
            header = _parsed(block, path)
            found = path.stat().st_size
            if found != header.file_bytes:
                problem = f"{path} has {found} bytes, its header promises {header.file_bytes}"
                raise FormatError(f"{problem}: it was cut short or added to", fix=REBUILD)
            file.seek(header.sentences_end)
            if file.read() != trailer(block):
                raise FormatError(f"{path}: the header was changed after it was written", fix=REBUILD)
    except OSError as error:
        raise FormatError(f"cannot read the token shard {path}: {error.strerror}", fix=REBUILD) from None
    return header, hashlib.sha256(block).hexdigest()


def verify_sections(path: Path, header: FileHeader) -> None:
    """Compares the file's content with the sums in its header.

    Raises:
        FormatError: a byte differs.
    """
    with open(path, "rb") as file:
        for name, begin, end, expected in (
            ("token ids", HEADER_BYTES, header.tokens_end, header.tokens_sha256),
            ("document table", header.documents_begin, header.documents_end, header.documents_sha256),
            ("sentence table", header.documents_end, header.sentences_end, header.sentences_sha256),
        ):
            if expected is None:
                continue
            file.seek(begin)
            if _sha256_of(file, end - begin) != expected:
                raise FormatError(f"{path}: the {name} differ from their checksum: the file was changed", fix=REBUILD)


def _parsed(block: bytes, path: Path) -> FileHeader:
    if len(block) < HEADER_BYTES:
        raise FormatError(f"{path} has {len(block)} bytes, too few for a token shard", fix=REBUILD)
    magic, version, length = _PREFIX.unpack_from(block)
    if magic != MAGIC:
        raise FormatError(f"{path} is not a token shard (it begins with {magic!r})", fix=REBUILD)
    if version not in VERSIONS:
        problem = f"{path} is a token shard of version {version}, this program reads {READ_VERSIONS}"
        raise FormatError(problem, fix=REBUILD)
    try:
        values: Any = json.loads(block[_PREFIX.size : _PREFIX.size + length])
        header = from_json(FileHeader, values, where=f"the header of {path}")
    except (ValueError, RecursionError, ConfigError) as error:
        raise FormatError(f"{path} has a damaged header: {error}", fix=REBUILD) from None
    if (header.sentences is None) != (header.sentences_sha256 is None) or header.version != version:
        raise FormatError(f"{path} has a damaged header: it says two things about sentences", fix=REBUILD)
    sizes = (header.tokens, header.documents, header.text_bytes, header.sentences or 0)
    if min(sizes) < 0 or max(header.documents, header.sentences or 0) > header.tokens:
        raise FormatError(f"{path} has impossible counts in its header", fix=REBUILD)
    return header


def _sha256_of(file: IO[bytes], length: int) -> str:
    digest = hashlib.sha256()
    while length > 0 and (block := file.read(min(length, 1 << 20))):
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()


def dtype_for(vocab_size: int) -> Literal["uint16", "uint32"]:
    """The smallest type that holds every id.

    >>> dtype_for(65536), dtype_for(65537)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def whole_numbers(values: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """Whether all of these are there as whole numbers that are not negative."""
    return all(type(values.get(name)) is int and values[name] >= 0 for name in names)
