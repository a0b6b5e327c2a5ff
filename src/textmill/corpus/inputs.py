"""What the word INPUT may mean: a file, a folder, a glob, `-` for standard input, or `builtin`.

A file's name tells its format and compression: `notes.txt`, `rows.jsonl.gz`, `table.csv.zst`.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textmill.errors import DataError

Format = Literal["text", "jsonl", "csv", "tsv", "parquet", "builtin"]
Compression = Literal["", "gz", "xz", "zst"]

BUILTIN = "builtin"
"""The input name of the built-in corpus; a file of that name is reached as `./builtin`."""

STDIN = "-"
"""The input name of standard input, read as plain text."""

FORMATS: dict[str, Format] = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".rst": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
"""The suffixes that a folder is searched for. A file or glob that is named outright may have any other: plain text."""

COMPRESSIONS: dict[str, Compression] = {".gz": "gz", ".xz": "xz", ".zst": "zst"}

FOREIGN = {
    ".json": "write one object a line and call it .jsonl",
    ".zip": "unpack it and name the folder",
    ".tar": "unpack it and name the folder",
    ".tgz": "unpack it and name the folder",
    ".7z": "unpack it and name the folder",
    ".bz2": "compress it as .gz, .xz or .zst, or not at all",
    ".lz4": "compress it as .gz, .xz or .zst, or not at all",
    ".pdf": "extract its text to a .txt file",
    ".doc": "save it as .txt",
    ".docx": "save it as .txt",
    ".xlsx": "save it as .csv",
}
"""Suffixes that are surely not plain text, and what to do about them."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One thing to read."""

    name: str
    """As it appears in messages and reports."""
    path: Path | None
    """None for standard input and the built-in corpus."""
    format: Format
    compression: Compression = ""

    def stored_size(self) -> int | None:
        """The bytes on the disk, for a progress bar; None where nobody knows."""
        if self.path is None or not self.path.is_file():
            return None
        return self.path.stat().st_size


def resolve_inputs(inputs: "Sequence[str | os.PathLike[str] | Source]") -> list[Source]:
    """The sources that `inputs` name, in the order given; folders and globs in sorted order; no file twice.

    A source that is resolved already stays as it is.
    A folder is searched with its subfolders for the suffixes in `FORMATS`, hidden names left out.

    >>> [source.format for source in resolve_inputs(["builtin", "-"])]
    ['builtin', 'text']

    Raises:
        DataError: nothing given, nothing found, or a file of a kind that can't be read.
    """
    if not inputs:
        raise DataError("no input was given", fix="name a file, a folder, a glob, - for standard input, or builtin")
    sources: dict[str, Source] = {}
    for given in inputs:
        for source in [given] if isinstance(given, Source) else _expand(os.fspath(given)):
            key = source.name if source.path is None else os.path.realpath(source.path)
            sources.setdefault(key, source)
    return list(sources.values())


def source_of(path: Path) -> Source:
    """The source that a file's name describes.

    >>> source_of(Path("rows.jsonl.gz")).format, source_of(Path("rows.jsonl.gz")).compression
    ('jsonl', 'gz')
    >>> source_of(Path("program.py")).format
    'text'

    Raises:
        DataError: the suffix is of a kind that can't be read.
    """
    inner = Path(path.name)
    compression = COMPRESSIONS.get(inner.suffix.lower(), "")
    if compression:
        inner = inner.with_suffix("")
    suffix = inner.suffix.lower()
    if suffix in FOREIGN:
        raise DataError(f"{path} is a {suffix} file, which can't be read as text", fix=FOREIGN[suffix])
    return Source(name=str(path), path=path, format=FORMATS.get(suffix, "text"), compression=compression)


def _expand(given: str) -> Iterator[Source]:
    if given == BUILTIN:
        yield Source(name=BUILTIN, path=None, format="builtin")
        return
    if given == STDIN:
        yield Source(name="standard input", path=None, format="text")
        return
    path = Path(given).expanduser()
    if path.is_dir():
        yield from _folder(path)
    elif path.exists():
        yield source_of(path)
    elif glob.has_magic(given):
        yield from _glob(str(path))
    else:
        raise DataError(f"the input {given} does not exist", fix=f"check the path (looked in {Path.cwd()})")


def _folder(folder: Path) -> Iterator[Source]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".") and _is_known(name)]
    if not found:
        raise DataError(
            f"the folder {folder} holds no file to read",
            fix=f"its files must end in {', '.join(FORMATS)} (also with {', '.join(COMPRESSIONS)}); or name a glob",
        )
    for path in sorted(found, key=lambda path: path.relative_to(folder).parts):
        yield source_of(path)


def _glob(pattern: str) -> Iterator[Source]:
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    files = [match for match in matches if not match.is_dir()]
    if not files:
        raise DataError(f"no file matches {pattern}", fix="check the pattern; ** reaches into subfolders")
    for path in files:
        yield source_of(path)


def _is_known(name: str) -> bool:
    inner = Path(name)
    if inner.suffix.lower() in COMPRESSIONS:
        inner = inner.with_suffix("")
    return inner.suffix.lower() in FORMATS
