"""What becomes of matches and of the stretches between them: dropped, or merged with a neighbour.

The splitters' pieces tile the text. Where a rule drops some, the caller encodes the compact buffer that `compacted`
makes of the others, and finds the way back through its `sources`.
"""

import dataclasses

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.ops.memory import PADDING, padded

GAP, MATCH = 0, 1
"""The marks: a stretch between two matches, and a match."""

_MOST_BYTES = (1 << 31) - 1 - PADDING

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
    """int32, for each byte of the buffer its place in the text, relative to the `start` of the split; empty: not
    wanted."""


def compacted(
    text: np.ndarray, start: int, ends: np.ndarray, marks: np.ndarray, *, kept: int = MATCH, sources: bool = True
) -> Compact:
    """The pieces whose mark is `kept`.

    Worked example: of the pieces `ab`, ` `, `c` the matches `ab` and `c` give the buffer `abc`, the ends 2 and 3, and
    the sources 0, 1, 3.

    Args:
        text: uint8, from `padded`; `start`: where the pieces begin.
        ends: int32, the end of each piece relative to `start`.
        marks: uint8, one a piece.
        sources: whether they are wanted.

    Raises:
        DataError: the arrays are not those of a splitter.
    """
    from textmill.ops.split import cpu_compact

    lengths = _checked_lengths(text, start, ends, marks)
    chosen = marks == kept
    total = int(lengths[chosen].sum(dtype=np.int64))
    found = _room(total, int(chosen.sum()), sources)
    cpu_compact.compact(text, start, ends, marks, kept, found.buffer, found.ends, found.sources)
    found.buffer[total:] = 0
    return found


def with_blanks(
    text: np.ndarray, start: int, ends: np.ndarray, marks: np.ndarray, string: bytes, prefix: int, *, sources: bool
) -> Compact:
    """`compacted`, with a string for every blank, and before pieces that do not begin with it.

    Worked example: of the pieces `a b`, `,`, `c`, the second marked `GAP`, the string `_` before each makes `_a_b_c`
    with the ends 4 and 6, and the sources 0, 0, 1, 2, 4, 4.

    Args:
        string: of 1 to `cpu_rewrite.MOST_BYTES` bytes.
        prefix: `cpu_rewrite.NOWHERE`, `AT_START` or `EVERYWHERE`: which pieces get it.

    Raises:
        DataError: the arrays are not those of a splitter, the string is too long, or the result has 2 GiB or more.
    """
    from textmill.ops.split import cpu_rewrite

    if not 1 <= len(string) <= cpu_rewrite.MOST_BYTES:
        raise DataError(f"a blank's string must have 1 to {cpu_rewrite.MOST_BYTES} bytes, got {string!r}")
    lengths = _checked_lengths(text, start, ends, marks)
    chosen = marks == MATCH
    count = int(chosen.sum())
    last = int(ends[-1]) if len(ends) else 0
    blanks = int(np.count_nonzero(text[start : start + last] == ord(" ")))
    # not all of it may be used
    total = int(lengths[chosen].sum(dtype=np.int64)) + (len(string) - 1) * blanks + len(string) * count
    found = _room(_checked_size(total), count, sources)
    word = np.uint64(int.from_bytes(string, "little"))
    used = cpu_rewrite.rewrite(
        text, start, ends, marks, MATCH, word, len(string), prefix, found.buffer, found.ends, found.sources
    )
    return _cut_to(found, used)


def spelled(
    text: np.ndarray, start: int, ends: np.ndarray, marks: np.ndarray, spelling: np.ndarray, *, sources: bool
) -> Compact:
    """`compacted`, every byte written as one byte or two.

    Args:
        spelling: uint16 [256]: for each byte the one byte, or the first and 256 times the second.

    Raises:
        DataError: the arrays are not those of a splitter, or the result has 2 GiB or more.
    """
    from textmill.ops.split import cpu_rewrite

    if spelling.dtype != np.uint16 or spelling.shape != (256,) or not spelling.flags.c_contiguous:
        raise DataError(f"a spelling is uint16 [256], got {spelling.dtype} {list(spelling.shape)}")
    lengths = _checked_lengths(text, start, ends, marks)
    chosen = marks == MATCH
    total = 2 * int(lengths[chosen].sum(dtype=np.int64))
    found = _room(_checked_size(total), int(chosen.sum()), sources)
    used = cpu_rewrite.spell(text, start, ends, marks, MATCH, spelling, found.buffer, found.ends, found.sources)
    return _cut_to(found, used)


def substituted(text: np.ndarray, ends: np.ndarray, marks: np.ndarray, string: bytes) -> bytes:
    """The text with a string for each piece that is a match.

    Args:
        text: uint8, from `padded`; ends: int32, from its start; marks: uint8, one a piece.

    Raises:
        DataError: the arrays are not those of a splitter, or the result has 2 GiB or more.
    """
    from textmill.ops.split import cpu_rewrite

    lengths = _checked_lengths(text, 0, ends, marks)
    is_match = marks == MATCH
    total = int(lengths[~is_match].sum(dtype=np.int64)) + len(string) * int(is_match.sum())
    out = np.empty(_checked_size(total) + PADDING, np.uint8)
    cpu_rewrite.substitute(text, ends, marks, MATCH, padded(string), len(string), out)
    return out[:total].tobytes()


def cut_before(text: np.ndarray, start: int, ends: np.ndarray, string: bytes) -> np.ndarray:
    """int32: the ends of the pieces, cut before every occurrence of a character.

    Worked example: `ab_c__d`, one piece, has the pieces `ab`, `_c`, `_`, `_d` before every `_`.

    Args:
        string: the character's bytes.

    Raises:
        DataError: the arrays are not those of a splitter.
    """
    from textmill.ops.split import cpu_rewrite

    if not 1 <= len(string) <= cpu_rewrite.MOST_BYTES:
        raise DataError(f"a character has 1 to {cpu_rewrite.MOST_BYTES} bytes, got {string!r}")
    _checked_lengths(text, start, ends, np.ones(len(ends), np.uint8))
    last = int(ends[-1]) if len(ends) else 0
    firsts = int(np.count_nonzero(text[start : start + last] == string[0]))
    found = np.empty(firsts + len(ends), np.int32)
    word = np.uint64(int.from_bytes(string, "little"))
    return found[: cpu_rewrite.cut_before(text, start, ends, word, len(string), found)]


def _checked_lengths(text: np.ndarray, start: int, ends: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The length of each piece, after checking what the kernels rely on."""
    flat = all(array.flags.c_contiguous for array in (text, ends, marks))
    types = text.dtype == np.uint8 and ends.dtype == np.int32 and marks.dtype == np.uint8
    if not (flat and types and len(ends) == len(marks)):
        raise DataError(
            f"pieces are int32 ends and as many uint8 marks of uint8 text, got {len(ends)} {ends.dtype}, "
            f"{len(marks)} {marks.dtype} and {text.dtype}",
            fix="pass what Splitter.cut returned",
        )
    # in 64 bits: differences of 32-bit numbers may wrap, and falling ends look as if they rose
    lengths = np.diff(ends.astype(np.int64), prepend=np.int64(0))
    last = int(ends[-1]) if len(ends) else 0
    if not (start >= 0 and start + last <= len(text) - PADDING and (lengths >= 0).all()):
        raise DataError(
            f"the ends of pieces must grow from 0 and stay in the text, got {last} as the last of {len(text)}",
            fix="pass what Splitter.cut returned",
        )
    return lengths


def _checked_size(total: int) -> int:
    if total > _MOST_BYTES:
        raise DataError(f"the text may grow to {total} bytes, of at most {_MOST_BYTES}", fix="cut it into documents")
    return total


def _room(size: int, pieces: int, sources: bool) -> Compact:
    places = np.empty(size if sources else 0, np.int32)
    return Compact(np.empty(size + PADDING, np.uint8), np.empty(pieces, np.int32), places)


def _cut_to(found: Compact, used: int) -> Compact:
    found.buffer[used : used + PADDING] = 0
    return Compact(found.buffer[: used + PADDING], found.ends, found.sources[:used])


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
    if behavior == "isolated":
        return ends, np.ones(len(ends), np.uint8)
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
