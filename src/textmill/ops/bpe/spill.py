"""Counting more distinct pieces than memory holds: full tables go to temporary files, which are merged at the end."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textmill.errors import ConfigError
from textmill.files import replacing
from textmill.ops.bpe.count import PieceCounter, PieceCounts
from textmill.ops.bpe.counts_file import CountsReader, CountsWriter, write_counts
from textmill.ops.bpe.cpu_count import CURSOR
from textmill.ops.bpe.merge_counts import MAX_FILES, merge_counts, merged_blocks
from textmill.ops.bpe.sort import concatenated, sorted_counts

SMALLEST_LIMIT = 1 << 22


class SpillingCounter(PieceCounter):
    """A `PieceCounter` whose arrays stay within a limit. Use it in a `with` block, which deletes the temporary files.

    >>> import numpy as np
    >>> from textmill.ops.memory import padded
    >>> with SpillingCounter(1 << 24, None) as counter:
    ...     counter.add(padded(b"a cat a"), 0, np.array([1, 5, 7], np.int32))
    ...     counter.finish().to_mapping()
    {b' a': 1, b' cat': 1, b'a': 1}
    """

    def __init__(self, limit_bytes: int, folder: str | os.PathLike[str] | None) -> None:
        """limit_bytes: for the table and for sorting it, each half. A piece that does not fit is counted anyway.

        folder: where the temporary files go; the system's own place if None.

        Raises:
            ConfigError: a limit below `SMALLEST_LIMIT`.
        """
        if limit_bytes < SMALLEST_LIMIT:
            raise ConfigError(
                f"limit_bytes must be >= {SMALLEST_LIMIT}, got {limit_bytes}", fix="give at least four megabytes"
            )
        super().__init__()
        self._limit = limit_bytes // 2
        self._folder = tempfile.TemporaryDirectory(prefix=".counting-", dir=folder)
        self._runs: list[Path] = []

    def __enter__(self) -> "SpillingCounter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._folder.cleanup()

    @property
    def num_runs(self) -> int:
        """How many temporary files were written."""
        return len(self._runs)

    def counts(self) -> PieceCounts:
        """The same as `finish`."""
        return self.finish()

    def finish(self) -> PieceCounts:
        """All that was counted, in the order of the pieces' bytes. It must fit in memory; else use `finish_to`."""
        if not self._runs:
            return sorted_counts(self.borrowed_counts())
        self.spill()
        self._join_runs()
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(CountsReader(path)) for path in self._runs]
            return concatenated(list(merged_blocks(readers)))

    def finish_to(self, path: str | os.PathLike[str], facts: Mapping[str, Any], *, min_count: int = 1) -> int:
        """How many pieces the file of counts has that was written: those that were counted `min_count` times.

        Raises:
            OutputError: disk full, read-only, no permission.
        """
        self.spill()
        self._join_runs()
        number = 0
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(CountsReader(run)) for run in self._runs]
            writer = CountsWriter(stack.enter_context(replacing(path)), facts)
            for block in merged_blocks(readers, min_count):
                writer.write(block)
                number += len(block)
            writer.finish()
        return number

    def spill(self) -> None:
        """Writes what the table holds to a temporary file, and empties it."""
        if self.num_unique == 0:
            return
        path = Path(self._folder.name) / f"{len(self._runs)}.counts"
        write_counts(path, self.borrowed_counts(), {})
        self._runs.append(path)
        self.clear()

    def _join_runs(self) -> None:
        """So few files that all can be open at once."""
        if len(self._runs) > MAX_FILES:
            path = Path(self._folder.name) / "joined.counts"
            merge_counts(self._runs, path)
            for run in self._runs:
                run.unlink(missing_ok=True)
            self._runs = [path]

    def _grow_table(self, factor: int = 4) -> None:
        grows_by = self._table.nbytes + self._offsets.nbytes
        for smaller in (factor, 2):
            if self.num_unique == 0 or self.memory_bytes + (smaller - 1) * grows_by <= self._limit:
                super()._grow_table(smaller)
                return
        self._make_room()

    def _grow_arena(self, needed: int) -> None:
        if self.num_unique == 0 or self.memory_bytes + max(len(self._arena), needed) <= self._limit:
            super()._grow_arena(needed)
        else:
            self._make_room()

    def _make_room(self) -> None:
        """Empties the table in the middle of a block, whose next piece the state remembers."""
        cursor = self._state[CURSOR]
        self.spill()
        self._state[CURSOR] = cursor
