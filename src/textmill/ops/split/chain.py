r"""Several splits, one after the other: each cuts the pieces of the one before, as in `tokenizers`' Sequence.

    \p{N} alone, then gpt2:   "in 2024 "  ->  "in ", "2", "0", "2", "4", " "  ->  "in", " ", "2", "0", "2", "4", " "

A step sees each piece as a text of its own: what its pattern looks ahead at ends where the piece does.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from textmill.errors import DataError
from textmill.ops.split import BLOCK_PIECES, Splitter, splitter
from textmill.ops.split.marked import GAP, MATCH, behave
from textmill.ops.split.reference import marked_ends


@dataclasses.dataclass(frozen=True)
class Step:
    """One split."""

    split: str
    """A name of `PATTERNS` or `PLAIN`, or a regular expression."""
    behavior: str = "isolated"
    """What becomes of a match: one of `marked.BEHAVIORS`. Rules that drop the gaps drop them in any case."""
    invert: bool = False
    """Whether the stretches between the matches count as the matches."""


def cut_in_steps(
    steps: Sequence[Step],
    text: np.ndarray,
    start: int,
    stop: int,
    pieces: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(end of every piece relative to `start`, its mark): int32 and uint8; pieces marked `GAP` are to be dropped.

    The pieces tile `text[start:stop]`; `marked.compacted` makes a buffer of those that are kept.

    Args:
        text: uint8, from `padded`.
        pieces: (ends, marks) of what is there already, tiling the same; None: one piece.

    Raises:
        NotSupportedError: a step's pattern cannot be used; ConfigError: its behaviour is unknown.
        DataError: as for `Splitter.cut`, or the pieces do not tile.
    """
    # the first splitter checks the text, too
    whole_text = splitter("whole").cut(text, start, stop)
    ends, kept = whole_text if pieces is None else pieces
    _check_tiling(ends, kept, stop - start)
    whole = bool(kept.all())
    for step in steps:
        cut = splitter(step.split)
        fine, marks = cut.cut(text, start, stop) if len(ends) < 2 and whole else _cut_within(cut, text, start, ends)
        walls = None
        if not whole or (len(ends) > 1 and step.behavior not in ("isolated", "removed")):
            # an old piece ends where a new one does: nothing is merged across
            old_end = np.zeros(stop - start + 1, np.bool_)
            old_end[ends] = True
            walls = old_end[fine]
        if not cut.drops_gaps:
            fine, marks = behave(fine, marks, step.behavior, invert=step.invert, walls=walls)
        if not whole:
            # as many old pieces end before a new one as stand before the one in which it lies
            walls = old_end[fine]
            marks = np.where(kept[np.cumsum(walls) - walls] == MATCH, marks, np.uint8(GAP))
        ends, kept = fine, marks
        whole = bool(kept.all())
    return ends, kept


def _check_tiling(ends: np.ndarray, marks: np.ndarray, length: int) -> None:
    last = int(ends[-1]) if len(ends) else 0
    flat = ends.flags.c_contiguous and marks.flags.c_contiguous and ends.dtype == np.int32 and marks.dtype == np.uint8
    grows = len(ends) == 0 or (int(ends[0]) > 0 and bool((ends[1:] > ends[:-1]).all()))
    if not (flat and grows and len(ends) == len(marks) and last == length):
        raise DataError(
            f"{len(ends)} pieces with {len(marks)} marks, the last of which ends at {last}, do not tile {length} bytes",
            fix="pass what cut_in_steps returned",
        )


def _cut_within(cut: Splitter, text: np.ndarray, start: int, outer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `Splitter.cut`, of each outer piece alone."""
    if len(outer) == 0:
        return outer, np.empty(0, np.uint8)
    if cut.tables is None:
        return _cut_within_slowly(cut, text, start, outer)
    from textmill.ops.split.cpu_machine import split_within

    all_ends, all_marks = [], []
    done, total = 0, int(outer[-1])
    ends = np.empty(min(max(BLOCK_PIECES, 2 * len(outer)), total), np.int32)
    marks = np.empty(len(ends), np.uint8)
    while done < total:
        # the outer pieces that are done already would only be passed over
        rest = outer[np.searchsorted(outer, done, side="right") :]
        count = cut.checked_count(split_within(text, start, rest, done, ends, marks, *cut.tables))
        all_ends.append(ends[:count].copy())
        all_marks.append(marks[:count].copy())
        done = int(ends[count - 1])
    return np.concatenate(all_ends), np.concatenate(all_marks)


def _cut_within_slowly(cut: Splitter, text: np.ndarray, start: int, outer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same in the `regex` module."""
    all_ends, all_marks = [], []
    for a, b in itertools.pairwise([0, *outer.tolist()]):
        ends, matches = marked_ends(cut.pattern, text[start + a : start + b].tobytes())
        all_ends.append((ends + a).astype(np.int32))
        all_marks.append(matches.astype(np.uint8))
    return np.concatenate(all_ends), np.concatenate(all_marks)
