"""Whole-or-absent writes, checksums, and claims on output folders.

Every file and folder the package writes goes through here: written under a temporary name beside its destination,
flushed to the disk, then renamed. A reader sees the old content or the new, never a part.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from textmill.errors import FormatError, OutputError

PARTIAL = ".partial-"
"""Marks temporary names; a leftover from a killed process is safe to delete."""

LOCK = ".lock"
"""The file that a process at work in an output folder holds."""

_OLD = f"{PARTIAL}old"
"""Inside a temporary folder: the folder that is being replaced, on its way out."""

_DEEPEST = 100
"""JSON that is nested deeper is no file of ours or of the ecosystem."""

_FIXES = {
    errno.ENOSPC: (
        "the disk is full",
        "free some space or choose another output folder, then run the same command again",
    ),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another output folder"),
    errno.EFBIG: ("the file is larger than the system allows", "choose another output folder"),
    errno.EROFS: ("the file system is read-only", "choose an output folder that can be written"),
    errno.EACCES: ("permission denied", "choose an output folder that you may write to"),
    errno.EPERM: ("operation not permitted", "choose an output folder that you may write to"),
    errno.EEXIST: ("a part of the path is a file", "choose another output folder"),
    errno.ENOTDIR: ("a part of the path is a file", "choose another output folder"),
    errno.EISDIR: ("the path is a folder", "choose another output path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter output path"),
}


@contextlib.contextmanager
def clear_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns the operating system's write errors into an `OutputError` that names the path and the fix."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FIXES:
            raise
        problem, fix = _FIXES[error.errno]
        raise OutputError(f"cannot write {os.fspath(path)}: {problem}", fix=fix) from error


def fsync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends well, and vanishes when it doesn't.

    Raises:
        OutputError: disk full, read-only, no permission.
    """
    path = Path(path)
    with clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:80]}{PARTIAL}", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), 0o666 & ~_umask())
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        fsync_folder(path.parent)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder that becomes `path`, replacing what stood there, when the block ends well.

    Raises:
        OutputError: disk full, read-only, no permission.
    """
    path = Path(path)
    with clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:80]}{PARTIAL}", dir=path.parent))
        try:
            temporary.chmod(0o777 & ~_umask())
            yield temporary
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    file.chmod(0o666 & ~_umask())
                    with open(file, "rb") as opened:
                        os.fsync(opened.fileno())
                else:
                    fsync_folder(file)
            fsync_folder(temporary)
            if path.exists():
                aside = Path(tempfile.mkdtemp(prefix=f".{path.name[:80]}{PARTIAL}", dir=path.parent))
                os.replace(path, aside / _OLD)
                os.replace(temporary, path)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                os.replace(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        fsync_folder(path.parent)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = 2) -> None:
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str], *, most_bytes: int = 1 << 30) -> Any:
    """The value in a JSON file.

    Raises:
        FormatError: missing, not UTF-8, not JSON, nested too deep, a key twice, a number of thousands of digits, or
            larger than `most_bytes`.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise FormatError(f"{path} has {size} bytes, more than the {most_bytes} a JSON file may have here")
        value = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_without_duplicates)
    except FileNotFoundError:
        raise FormatError(f"{path} does not exist", fix="check the path") from None
    except IsADirectoryError:
        raise FormatError(f"{path} is a folder, expected a JSON file") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 at byte {error.start}", fix="write the file again") from None
    except ValueError as error:
        # besides malformed text: a key that stands twice, an integer that Python refuses to read
        raise FormatError(f"{path} is not JSON: {error}", fix="write the file again") from None
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}", fix="check the path") from None
    except RecursionError:
        raise _too_deep(path) from None
    # those who use the value go down into it by recursion
    level = [value]
    for _ in range(_DEEPEST):
        if not {dict, list} & set(map(type, level)):
            return value
        parts = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = list(itertools.chain.from_iterable(parts))
    if level:
        raise _too_deep(path)
    return value


def sha256_file(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_partials(folder: Path) -> None:
    """Deletes what a killed process left half-written directly inside `folder`, and puts back what it took away."""
    for leftover in folder.glob(f".*{PARTIAL}*"):
        if leftover.is_dir():
            replaced = folder / leftover.name[1:].rpartition(PARTIAL)[0]
            if (leftover / _OLD).exists() and not replaced.exists():
                os.replace(leftover / _OLD, replaced)
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def claim_output(folder: str | os.PathLike[str], *, marker: str, force: bool = False) -> Path:
    """The output folder, made if it is missing, refused if it holds something that isn't ours.

    Args:
        marker: a file or folder name that says an earlier run of the same kind wrote here.
        force: write into a folder that holds something else; nothing in it is deleted.

    Raises:
        OutputError: it is a file, can't be written, or holds something else.
    """
    folder = Path(folder)
    with clear_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"the output {folder} is a file, expected a folder", fix="choose another -o")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        entries = [entry.name for entry in folder.iterdir() if PARTIAL not in entry.name and entry.name != LOCK]
    if entries and marker not in entries and not force:
        shown = ", ".join(sorted(entries)[:3]) + (", ..." if len(entries) > 3 else "")
        raise OutputError(
            f"the output folder {folder} already holds something else ({shown})",
            fix="choose another -o, or add --force to write beside it",
        )
    return folder


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; the standard library would silently take the last of two equal keys."""
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r:.80} stands twice in one object")
    return value


def _too_deep(path: Path) -> FormatError:
    return FormatError(f"{path} is nested too deep to be read", fix="check that it is the right file")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
