"""Counting the pieces of a corpus: all that training needs of the text. Memory grows with the pieces that differ.

Where a kernel finds the pieces, it counts them as they come. Every other pipeline counts in two passes: coarse words
are cut by a kernel and counted, then each different one is normalised and split once, with its count as weight. That is
the same where no step looks across the blanks at which coarse words end; elsewhere every text goes through the steps.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from textmill.errors import DataError
from textmill.ops.bpe import PieceCounter, PieceCounts
from textmill.ops.bpe.count_threads import count_in_threads
from textmill.ops.bpe.counts_file import read_counts, write_counts
from textmill.ops.bpe.sort import sorted_counts, take
from textmill.ops.bpe.spill import SpillingCounter
from textmill.ops.memory import padded
from textmill.ops.split import BLOCK_PIECES, Splitter, splitter
from textmill.ops.split.marked import MATCH
from textmill.ops.split.reference import byte_offsets
from textmill.tokenizers.engine import check_size
from textmill.tokenizers.normalizing import normalize
from textmill.tokenizers.pipeline import Pipeline, utf8
from textmill.tokenizers.splitting import split
from textmill.tokenizers.steps import (
    BertSplit,
    FixedLength,
    Metaspace,
    Normalizer,
    Pattern,
    SentencePiece,
    Whitespace,
    WhitespaceSplit,
)

_BLANK = "▁"
_MARK = "qzxjkvwqzxjkv"
"""Stands between coarse words while they are taken together: letters that no step changes or cuts."""
_WORDS_AT_ONCE = 1 << 16
_LINE_WORDS, _WORDS = r" *[^ \n\r]+", r" *[^ ]+| +"
_ESCAPED_WORDS = r"▁*[^▁]+|▁+"
_RULES = {BertSplit: "bert", Whitespace: "whitespace", WhitespaceSplit: "whitespace_split", Metaspace: "metaspace"}
"""Splits for which there is a kernel."""


def count_pieces(texts: Iterable[str | bytes], front: Pipeline, *, threads: int = 1) -> PieceCounts:
    """How often each piece stands in the texts, in the order of the pieces' bytes, whatever the number of threads.

    Args:
        front: the pipeline to be trained; its normalisers and splits count here, not its model.

    Raises:
        DataError: 2 GiB or more in one text.
    """
    cut, refine = _passes(front)
    counter = count_in_threads(texts, _adder(front, cut, only_matches=refine), num_threads=threads)
    return sorted_counts(_refined(counter.counts(), front) if refine else counter.counts())


def count_to_file(
    texts: Iterable[str | bytes], front: Pipeline, path: Path, *, memory_bytes: int, min_count: int = 1
) -> int:
    """How many pieces were written to a file of counts. What does not fit into the memory goes to temporary files.

    Raises:
        DataError: 2 GiB or more in one text.
        OutputError: disk full, read-only, no permission.
    """
    cut, refine = _passes(front)
    add = _adder(front, cut, only_matches=refine)
    path.parent.mkdir(parents=True, exist_ok=True)
    with SpillingCounter(memory_bytes, path.parent) as counter:
        for text in texts:
            add(counter, text)
        if not refine:
            return counter.finish_to(path, facts(front), min_count=min_count)
        counts = _refined(counter.finish(), front)
    kept = {piece: count for piece, count in counts.to_mapping().items() if count >= min_count}
    write_counts(path, PieceCounts.from_mapping(kept), facts(front))
    return len(kept)


def read_counted(paths: Sequence[Path], front: Pipeline) -> PieceCounts:
    """The counts of all files together.

    Raises:
        DataError: a file was counted with other settings.
        FormatError: a file is missing, malformed, or changed since it was written.
    """
    counter = PieceCounter()
    for path in paths:
        counts, found = read_counts(path)
        if found != facts(front):
            raise DataError(
                f"{path} was counted with other settings: {found}, not {facts(front)}",
                fix="train with the --split, --normalize and --digits it was counted with",
            )
        counter.add_counts(counts)
    return sorted_counts(counter.counts())


def facts(front: Pipeline) -> dict[str, Any]:
    """What counts depend on besides the text: counts of equal facts may be merged."""
    return {"normalizers": [_described(step) for step in front.normalizers], "splits": list(map(repr, front.splits))}


def _described(step: Normalizer) -> str:
    if isinstance(step, SentencePiece):
        # tables of replacements are long
        digest = hashlib.blake2b(step.charsmap, digest_size=16).hexdigest()
        return f"{dataclasses.replace(step, charsmap=b'')!r} of {digest}"
    return repr(step)


def _passes(front: Pipeline) -> tuple[Splitter | None, bool]:
    """(the splitter of the first pass, whether a second one follows). None: each text goes through the steps."""
    pattern = _one_pattern(front)
    if pattern is not None:
        return splitter(pattern), False
    kinds = {type(step) for step in (*front.normalizers, *front.splits)}
    if kinds & {WhitespaceSplit, Whitespace, BertSplit}:
        return splitter("whitespace_split"), True
    if SentencePiece in kinds:
        return splitter(_LINE_WORDS), True
    if front.splits == (Metaspace(),):
        return splitter(_WORDS), True
    return None, False


def _one_pattern(front: Pipeline) -> str | None:
    """The pattern that cuts normalised text into its pieces, if there is one that drops nothing."""
    return "characters" if front.splits == (FixedLength(length=1),) else front.byte_level_split


def _prepared(text: str | bytes, front: Pipeline) -> bytes:
    """The text as the first pass wants it."""
    data = utf8(text) if isinstance(text, str) else text
    check_size(data)
    if _one_pattern(front) is not None and front.normalizers:
        normal = normalize(data.decode("utf-8", "surrogateescape"), front.normalizers)
        return normal.encode("utf-8", "surrogateescape")
    if any(isinstance(step, SentencePiece) and step.dummy_prefix for step in front.normalizers):
        # every line is a sentence, before which a blank is put
        return b" " + data.replace(b"\n", b"\n ")
    return data


def _adder(front: Pipeline, cut: Splitter | None, *, only_matches: bool) -> Callable[[PieceCounter, str | bytes], None]:
    """What adds the pieces of one text to a counter."""

    def add(counter: PieceCounter, text: str | bytes) -> None:
        data = _prepared(text, front)
        if cut is None:
            buffer, ends, kept_pieces = _pieces(data, front)
            counter.add(buffer, 0, ends, weights=kept_pieces.astype(np.int64))
            return
        buffer = padded(data)
        ends = np.empty(min(BLOCK_PIECES, len(data) + 1), dtype=np.int32)
        if not only_matches:
            for origin, block in cut.blocks(buffer, 0, len(data), ends):
                counter.add(buffer, origin, block, len(block))
            return
        marks = np.empty(len(ends), dtype=np.uint8)
        start = 0
        while start < len(data):
            count = cut(buffer, start, len(data), ends, marks)
            counter.add(buffer, start, ends[:count], weights=(marks[:count] == MATCH).astype(np.int64))
            start += int(ends[count - 1])

    return add


def _refined(coarse: PieceCounts, front: Pipeline) -> PieceCounts:
    """The pieces of counted words, each as often as its words."""
    counter = PieceCounter()
    seen = take(coarse, np.flatnonzero(coarse.counts))
    first_bytes = seen.arena[seen.offsets[:-1]]
    # plain text is normalised many times as fast, and words with a blank of their own take none from the mark
    kinds = 2 * _is_ascii(seen).astype(np.int8) + (first_bytes == ord(" "))
    for kind in range(4):
        chosen = np.flatnonzero(kinds == kind)
        for first in range(0, len(chosen), _WORDS_AT_ONCE):
            words = take(seen, chosen[first : first + _WORDS_AT_ONCE])
            separator = f" {_MARK}" if kind % 2 else f" {_MARK} "
            if not _add_together(words, separator.encode(), front, counter):
                for word, count in words.to_mapping().items():
                    buffer, ends, kept_pieces = _pieces(word, front)
                    counter.add(buffer, 0, ends, weights=np.where(kept_pieces, count, 0))
    counts = counter.counts()
    return take(counts, np.flatnonzero(counts.counts))


def _is_ascii(words: PieceCounts) -> np.ndarray:
    """bool, for each word."""
    if len(words) == 0:
        return np.empty(0, dtype=np.bool_)
    return np.maximum.reduceat(words.arena[: words.offsets[-1]], words.offsets[:-1]) < 0x80


def _add_together(words: PieceCounts, separator: bytes, front: Pipeline, counter: PieceCounter) -> bool:
    """Counts the pieces of words, with marks between them; False, and nothing is counted, if a mark gets lost."""
    buffer, ends, kept_pieces = _pieces(_joined(words, separator), front)
    is_mark = _marks(buffer, ends)
    if np.count_nonzero(is_mark) != len(words):
        return False
    weights = words.counts[np.cumsum(is_mark) - 1]
    counter.add(buffer, 0, ends, weights=np.where(is_mark | ~kept_pieces, 0, weights))
    return True


def _joined(words: PieceCounts, separator: bytes) -> bytes:
    """The words, each after a separator.

    >>> _joined(PieceCounts.from_mapping({b"a": 1, b"cat": 1}), b"/")
    b'/a/cat'
    """
    step, total = len(separator), int(words.offsets[-1])
    out = np.empty(total + step * len(words), dtype=np.uint8)
    before = np.arange(len(words)) * step
    out[(words.offsets[:-1] + before)[:, None] + np.arange(step)] = np.frombuffer(separator, dtype=np.uint8)
    out[np.arange(total) + np.repeat(before + step, np.diff(words.offsets))] = words.arena[:total]
    return out.tobytes()


def _pieces(data: bytes, front: Pipeline) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(padded buffer, int32 ends, bool: whether a piece is kept) of normalised and split text."""
    steps = tuple(
        dataclasses.replace(step, dummy_prefix=False) if isinstance(step, SentencePiece) else step
        for step in front.normalizers
    )
    text = normalize(data.decode("utf-8", "surrogateescape"), steps)
    rule = _ESCAPED_WORDS if steps and isinstance(steps[-1], SentencePiece) else None
    match front.splits:
        case (Pattern() as step,) if step == Pattern(pattern=step.pattern):
            rule = step.pattern
        case (step,):
            rule = _RULES.get(type(step), rule)
    text = text.replace(" ", _BLANK) if rule == "metaspace" else text
    if rule is not None:
        normal = text.encode("utf-8", "surrogateescape")
        buffer = padded(normal)
        found = splitter(rule)
        ends, marks = found.cut(buffer, 0, len(normal))
        return buffer, ends, (marks == MATCH) | (not found.drops_gaps)
    pieces = split(text, front.splits)
    normal = pieces.text.encode("utf-8", "surrogateescape")
    ends = pieces.ends if len(normal) == len(pieces.text) else byte_offsets(pieces.text)[pieces.ends]
    return padded(normal), ends.astype(np.int32), np.ones(len(ends), dtype=np.bool_)


def _marks(buffer: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """bool: which pieces are the mark, with or without a blank."""
    mark = np.frombuffer(_MARK.encode(), dtype=np.uint8)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])
    lengths = ends - starts
    found = np.isin(lengths, [len(mark), len(mark) + 1, len(mark) + len(_BLANK.encode())])
    candidates = np.flatnonzero(found)
    letters = buffer[(ends[candidates] - len(mark))[:, None] + np.arange(len(mark))]
    found[candidates] = (letters == mark).all(axis=1)
    return found
