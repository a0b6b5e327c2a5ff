"""Merging files of counts in bounded memory.

All files are read in step: of the blocks at hand, everything up to the smallest of their last pieces is complete, so it
is added up, sorted and written. Memory: one block of each file, and no more than `MAX_FILES` files at once; more are
merged in groups first.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from textmill.errors import ConfigError, DataError
from textmill.files import replacing
from textmill.ops.bpe.count import PieceCounter, PieceCounts
from textmill.ops.bpe.counts_file import BLOCK_BYTES, BLOCK_PIECES, CountsReader, CountsWriter
from textmill.ops.bpe.sort import in_blocks, sorted_order

MAX_FILES = 100


def merge_counts(paths: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], *, min_count: int = 1) -> int:
    """How many pieces the file `out` has: those of all files, each with the sum of its counts, if that is `min_count`.

    Raises:
        ConfigError: min_count below 1.
        DataError: no files, or files whose facts differ.
        FormatError: a file is missing, malformed, truncated, or changed since it was written.
        OutputError: disk full, read-only, no permission.
    """
    if min_count < 1:
        raise ConfigError(f"min_count must be >= 1, got {min_count}", fix="1 keeps every piece")
    if not paths:
        raise DataError("there are no counts to merge", fix="give at least one file of counts")
    facts = common_facts(paths)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        while len(paths) > MAX_FILES:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".merging-", dir=out.parent)))
            paths = _merge_groups(paths, folder, facts)
        return _merge_some(paths, out, facts, min_count)


def common_facts(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """The facts of all files.

    Raises:
        DataError: they differ.
        FormatError: a file is not one of counts.
    """
    facts: dict[str, Any] = {}
    for number, path in enumerate(paths):
        with CountsReader(path) as reader:
            if number > 0 and reader.facts != facts:
                raise DataError(
                    f"files of counts merge only if they were counted alike: {paths[0]} has {_shown(facts)}, "
                    f"{path} has {_shown(reader.facts)}",
                    fix="count all texts with the same settings",
                )
            facts = reader.facts
    return facts


def merged_blocks(readers: Sequence[CountsReader], min_count: int = 1) -> Iterator[PieceCounts]:
    """Blocks of rising pieces with the sums of their counts."""
    sources = [source for source in map(_Source, readers) if source.block is not None]
    while sources:
        limit = min(source.last for source in sources)
        counter = PieceCounter()
        for source in sources:
            counter.add_counts(source.take_up_to(limit))
        counts = counter.borrowed_counts()
        order = sorted_order(counts)
        yield from in_blocks(counts, order[counts.counts[order] >= min_count], BLOCK_PIECES, BLOCK_BYTES)
        sources = [source for source in sources if source.block is not None]


class _Source:
    """What is left of the block at hand of one file."""

    def __init__(self, reader: CountsReader) -> None:
        self._blocks = iter(reader)
        self._next_block()

    def _next_block(self) -> None:
        self.block = next(self._blocks, None)
        self._first = 0
        self.last = b"" if self.block is None else self.block.piece(len(self.block) - 1)

    def take_up_to(self, limit: bytes) -> PieceCounts:
        """The pieces up to `limit`, the next block if none is left."""
        block = self.block
        assert block is not None
        first, low, high = self._first, self._first, len(block)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if block.piece(middle) <= limit else (low, middle)
        taken = PieceCounts(arena=block.arena, offsets=block.offsets[first : low + 1], counts=block.counts[first:low])
        self._first = low
        if low == len(block):
            self._next_block()
        return taken


def _merge_some(paths: Sequence[str | os.PathLike[str]], out: Path, facts: Mapping[str, Any], min_count: int) -> int:
    number = 0
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(CountsReader(path)) for path in paths]
        file = stack.enter_context(replacing(out))
        writer = CountsWriter(file, facts)
        for block in merged_blocks(readers, min_count):
            writer.write(block)
            number += len(block)
        writer.finish()
    return number


def _merge_groups(
    paths: Sequence[str | os.PathLike[str]], folder: Path, facts: Mapping[str, Any]
) -> list[str | os.PathLike[str]]:
    """Files in the folder, one for each `MAX_FILES` of the paths."""
    merged: list[str | os.PathLike[str]] = []
    for first in range(0, len(paths), MAX_FILES):
        path = folder / f"{first}.counts"
        _merge_some(paths[first : first + MAX_FILES], path, facts, 1)
        merged.append(path)
    return merged


def _shown(facts: Mapping[str, Any]) -> str:
    text = json.dumps(facts, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 200 else f"{text[:200]}..."
