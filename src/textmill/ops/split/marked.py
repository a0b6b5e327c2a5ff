"""What becomes of matches and of the stretches between them: dropped, or merged with a neighbour.

The splitters' pieces tile the text. Where a rule drops some, the caller encodes the compact buffer that `compacted`
makes of the others, and finds the way back through its `sources`.
"""

import dataclasses

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.ops.memory import PADDING

GAP, MATCH = 0, 1
"""The marks: a stretch between two matches, and a match."""

BEHAVIORS = ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")
"""The names that `tokenizers` gives to what may become of a match."""


@dataclasses.dataclass(frozen=True)
class Compact:
    """The kept pieces of a text, one after another."""

    buffer: np.ndarray
    """uint8, their bytes and `PADDING` zeros."""
    ends: np.ndarray
    """int32, the end of each in `buffer`."""
    sources: np.ndarray
    """int32, for each byte of the buffer its place in the text, relative to the `start` of the split."""


def compacted(text: np.ndarray, start: int, ends: np.ndarray, marks: np.ndarray, *, kept: int = MATCH) -> Compact:
    """The pieces whose mark is `kept`.

    Worked example: of the pieces `ab`, ` `, `c` the matches `ab` and `c` give the buffer `abc`, the ends 2 and 3, and
    the sources 0, 1, 3.

    Args:
        text: uint8, from `padded`; `start`: where the pieces begin.
        ends: int32, the end of each piece relative to `start`.
        marks: uint8, one a piece.

    Raises:
        DataError: the arrays are not those of a splitter.
    """
    from textmill.ops.split import cpu_compact

    flat = all(array.flags.c_contiguous for array in (text, ends, marks))
    types = text.dtype == np.uint8 and ends.dtype == np.int32 and marks.dtype == np.uint8
    if not (flat and types and len(ends) == len(marks)):
        raise DataError(
            f"pieces are int32 ends and as many uint8 marks of uint8 text, got {len(ends)} {ends.dtype}, "
            f"{len(marks)} {marks.dtype} and {text.dtype}",
            fix="pass what Splitter.cut returned",
        )
    lengths = np.diff(ends, prepend=np.int32(0))
    last = int(ends[-1]) if len(ends) else 0
    if not (start >= 0 and start + last <= len(text) - PADDING and (lengths >= 0).all()):
        raise DataError(
            f"the ends of pieces must grow from 0 and stay in the text, got {last} as the last of {len(text)}",
            fix="pass what Splitter.cut returned",
        )
    chosen = marks == kept
    total = int(lengths[chosen].sum(dtype=np.int64))
    buffer = np.empty(total + PADDING, np.uint8)
    out_ends = np.empty(int(chosen.sum()), np.int32)
    sources = np.empty(total, np.int32)
    cpu_compact.compact(text, start, ends, marks, kept, buffer, out_ends, sources)
    buffer[total:] = 0
    return Compact(buffer, out_ends, sources)


def behave(
    ends: np.ndarray, marks: np.ndarray, behavior: str, *, invert: bool = False, walls: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(ends, marks) of the pieces after a rule of `BEHAVIORS`; pieces marked `GAP` are to be dropped.

    isolated: every piece stays. removed: matches are dropped. merged_with_previous and merged_with_next: a match
    becomes part of the stretch before or after it, if there is one. contiguous: matches that touch become one.

    Worked example: `a-b` cut at `-` has the pieces `a`, `-`, `b`; merged with the previous one, `a-` and `b`.

    Args:
        ends, marks: of a whole text, as from `Splitter.cut`.
        invert: the stretches between the matches count as the matches.
        walls: bool, one a piece: nothing is merged across the end of this piece; None: nowhere.

    Raises:
        ConfigError: the behaviour is unknown.
    """
    if behavior not in BEHAVIORS:
        raise ConfigError(f"the behaviour of a split must be one of {', '.join(BEHAVIORS)}, got {behavior!r}")
    is_match = (marks == MATCH) ^ invert
    if behavior == "removed":
        return ends, (~is_match).astype(np.uint8)
    # which pieces end where the piece after them goes on
    joined = np.zeros(len(ends), np.bool_)
    if behavior == "merged_with_previous":
        joined[:-1] = ~is_match[:-1] & is_match[1:]
    elif behavior == "merged_with_next":
        joined[:-1] = is_match[:-1] & ~is_match[1:]
    elif behavior == "contiguous":
        joined[:-1] = is_match[:-1] == is_match[1:]
    if walls is not None:
        joined &= ~walls
    kept = ends[~joined]
    return kept, np.ones(len(kept), np.uint8)
