"""Token ids from the disk: memory-mapped, several files seen as one stream."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from textmill.data.layout import (
    HEADER_BYTES,
    READ_VERSIONS,
    REBUILD,
    SENTENCE_VERSION,
    VERSIONS,
    FileHeader,
    read_header,
    verify_sections,
    whole_numbers,
)
from textmill.data.sentences import SentenceTable, joined
from textmill.data.writer import FORMAT, MANIFEST, SPLITS, Split
from textmill.errors import DataError, FormatError
from textmill.files import read_json


@dataclass(frozen=True)
class _File:
    header: FileHeader
    tokens: np.ndarray
    starts: np.ndarray
    text_bytes: np.ndarray
    sentences: SentenceTable | None


class TokenShards:
    """One split of a folder of shards, as one long array of ids with document boundaries."""

    def __init__(self, folder: Path, split: Split, manifest: dict[str, Any], files: list[_File]) -> None:
        self.folder, self.split = folder, split
        self.tokenizer_fingerprint: str = manifest["tokenizer_fingerprint"]
        self.vocab_size: int = manifest["vocab_size"]
        self.end_of_text_id: int | None = manifest["end_of_text_id"]
        self.has_sentences: bool = manifest["version"] == SENTENCE_VERSION
        """Whether `sentences` can be asked for."""
        self._files = files
        self._views: dict[tuple[int, int], np.ndarray] = {}
        # entry i is the number of tokens before file i; the last entry is the number of all
        self._bounds = np.cumsum([0] + [file.header.tokens for file in files])
        self.num_tokens = int(self._bounds[-1])
        self.num_documents = sum(file.header.documents for file in files)
        self.text_bytes = sum(file.header.text_bytes for file in files)
        """UTF-8 bytes of the text, for bits per byte; end-of-text tokens stand for no bytes."""

    @classmethod
    def open(cls, folder: str | os.PathLike[str], split: Split = "train", verify: bool = True) -> Self:
        """The split's shards.

        Args:
            verify: compare all content with its checksums, which reads every byte once (about 1 s per GB); sizes and
                headers are checked always.

        Raises:
            FormatError: missing, cut short, changed, or of another version.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        files = [_open_file(folder, entry, manifest, verify) for entry in manifest["splits"][split]]
        return cls(folder, split, manifest, files)

    @property
    def document_starts(self) -> np.ndarray:
        """int64: where each document begins in the stream."""
        parts = [file.starts + bound for file, bound in zip(self._files, self._bounds[:-1], strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    @property
    def document_bytes(self) -> np.ndarray:
        """int64: UTF-8 bytes of each document's text."""
        parts = [file.text_bytes for file in self._files]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    @property
    def sentences(self) -> SentenceTable:
        """Where the sentences of all documents lie in the stream. Mapped from the disk when the split is one file;
        copied to memory when it is several, 8 bytes a sentence.

        Raises:
            DataError: the shards were built without sentences.
            FormatError: the table points outside its documents.
        """
        if not self.has_sentences:
            raise DataError(
                f"the shards in {self.folder} do not say where sentences begin",
                fix="build them again with sentences: lines (one to a line) or sentences: text (running text)",
            )
        tables = []
        for file, bound in zip(self._files, self._bounds[:-1].tolist(), strict=True):
            assert file.sentences is not None
            # kernels read where the table points: it must not lie, even where checksums agree
            if not file.sentences.fits(np.append(file.starts, file.header.tokens)):
                raise FormatError(f"a sentence table of {self.folder} points outside its documents", fix=REBUILD)
            tables.append(file.sentences.moved(bound))
        return joined(tables)

    @property
    def token_files(self) -> list[tuple[int, np.ndarray]]:
        """The ids of each file as they are stored (uint16 or uint32), and the stream position of the first one.

        A document never goes from one file into the next.
        """
        return [(int(bound), file.tokens) for file, bound in zip(self._files, self._bounds[:-1], strict=True)]

    def window(self, start: int, length: int) -> np.ndarray:
        """The int64 ids at stream positions [start, start + length)."""
        out = np.empty(length, np.int64)
        self._copy(start, out)
        return out

    def gather(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Row i holds the `length` ids that begin at stream position starts[i], as int64."""
        assert length >= 1
        assert len(starts) == 0 or (starts.min() >= 0 and starts.max() + length <= self.num_tokens)
        if len(self._files) == 1:
            return self._runs(0, length)[starts].astype(np.int64)
        out = np.empty((len(starts), length), np.int64)
        files = np.searchsorted(self._bounds, starts, side="right") - 1
        within = starts + length <= self._bounds[files + 1]
        for file in np.unique(files[within]).tolist():
            rows = within & (files == file)
            out[rows] = self._runs(file, length)[starts[rows] - self._bounds[file]]
        for row in np.flatnonzero(~within).tolist():
            self._copy(int(starts[row]), out[row])
        return out

    def _runs(self, file: int, length: int) -> np.ndarray:
        """All runs of `length` ids in a file as the rows of a view, which makes gathering them one call."""
        key = (file, length)
        if key not in self._views:
            self._views[key] = np.lib.stride_tricks.sliding_window_view(self._files[file].tokens, length)
        return self._views[key]

    def check_tokenizer(self, fingerprint: str) -> None:
        """Raises DataError when the shards were made with another tokenizer."""
        if fingerprint != self.tokenizer_fingerprint:
            raise DataError(
                f"the shards in {self.folder} were made with another tokenizer"
                f" ({self.tokenizer_fingerprint[:12]}, not {fingerprint[:12]})",
                fix=REBUILD + " with this tokenizer",
            )

    def _copy(self, start: int, out: np.ndarray) -> None:
        stop = start + len(out)
        assert 0 <= start <= stop <= self.num_tokens
        if len(self._files) == 1:
            out[:] = self._files[0].tokens[start:stop]
            return
        index = int(np.searchsorted(self._bounds, start, side="right")) - 1
        while start < stop:
            begin = int(self._bounds[index])
            part = self._files[index].tokens[start - begin : stop - begin]
            out[len(out) - (stop - start) :][: len(part)] = part
            start += len(part)
            index += 1


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FormatError(f"{path} is not a list of token shards", fix=REBUILD)
    if manifest.get("version") not in VERSIONS:
        found = manifest.get("version")
        raise FormatError(f"{path} is of version {found!r}, this program reads {READ_VERSIONS}", fix=REBUILD)
    end_of_text = manifest.get("end_of_text_id", -1)
    splits = manifest.get("splits")
    sound = (
        isinstance(manifest.get("tokenizer_fingerprint"), str)
        and whole_numbers(manifest, ("vocab_size",))
        and (end_of_text is None or whole_numbers(manifest, ("end_of_text_id",)))
        and isinstance(splits, dict)
        and all(isinstance(splits.get(split), list) and all(map(_is_entry, splits[split])) for split in SPLITS)
    )
    if not sound:
        raise FormatError(f"{path} lacks something or holds values of the wrong kind", fix=REBUILD)
    return manifest


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("header_sha256"), str)
        and isinstance(entry.get("name"), str)
        and Path(entry["name"]).name == entry["name"]
        and whole_numbers(entry, ("tokens", "documents", "text_bytes"))
    )


def _open_file(folder: Path, entry: dict[str, Any], manifest: dict[str, Any], verify: bool) -> _File:
    path = folder / entry["name"]
    header, header_sha256 = read_header(path)
    if header_sha256 != entry["header_sha256"]:
        raise FormatError(f"{path} is not the file that {MANIFEST} names: its header differs", fix=REBUILD)
    if header.vocab_size != manifest["vocab_size"]:
        problem = f"{path} has {header.vocab_size} ids, {MANIFEST} says {manifest['vocab_size']}"
        raise FormatError(problem, fix=REBUILD)
    if header.version != manifest["version"]:
        problem = f"{path} is of version {header.version}, {MANIFEST} says {manifest['version']}"
        raise FormatError(problem, fix=REBUILD)
    if verify:
        verify_sections(path, header)
    documents = _mapped(path, "int64", header.documents_begin, 2 * header.documents).reshape(2, header.documents)
    tokens = _mapped(path, header.dtype, HEADER_BYTES, header.tokens)
    return _File(header, tokens, documents[0], documents[1], _open_sentences(path, header))


def _open_sentences(path: Path, header: FileHeader) -> SentenceTable | None:
    if header.sentences is None:
        return None
    counts = _mapped(path, "int64", header.documents_end, header.documents)
    bounds = _mapped(path, "int64", header.documents_end + 8 * header.documents, header.num_bounds)
    return SentenceTable(counts, bounds)


def _mapped(path: Path, dtype: str, begin: int, count: int) -> np.ndarray:
    """`count` little-endian numbers of the file from byte `begin` on, read when they are looked at."""
    if count == 0:
        return np.zeros(0, dtype)  # an empty range can't be mapped
    # as a plain array: slicing a np.memmap is several times slower
    return np.asarray(np.memmap(path, np.dtype(dtype).newbyteorder("<"), "r", begin, (count,)))
