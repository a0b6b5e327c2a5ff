"""Splitters at work on bytes, by kernels: what most pipelines use. The definition is `splitting.split`."""

import dataclasses
import functools
import re
from collections.abc import Sequence

import numpy as np

from textmill.errors import NotSupportedError
from textmill.ops.split import GAP, splitter
from textmill.ops.split.chain import Step, cut_in_steps
from textmill.ops.split.cpu_rewrite import AT_START, EVERYWHERE, MOST_BYTES, NOWHERE
from textmill.ops.split.marked import Compact, compacted, cut_before, spelled, with_blanks
from textmill.tokenizers import steps
from textmill.tokenizers.byte_level import BYTE_CHARACTERS

_NO_SOURCES = np.empty(0, dtype=np.int32)
_PREFIXES = {"always": EVERYWHERE, "first": AT_START, "never": NOWHERE}


@dataclasses.dataclass(frozen=True)
class _Blanks:
    """A string for every blank and before pieces."""

    string: bytes
    prefix: int


@dataclasses.dataclass(frozen=True)
class _Spelling:
    """The byte-level alphabet for every byte."""


@dataclasses.dataclass(frozen=True)
class _Cut:
    """A cut before every such character."""

    string: bytes


_Stage = tuple[Step, ...] | _Blanks | _Spelling | _Cut


@dataclasses.dataclass(frozen=True)
class BytePieces:
    """The pieces of a text, back to back."""

    buffer: np.ndarray
    """uint8, with padding."""
    ends: np.ndarray
    """int32 [pieces]: the byte of the buffer after each."""
    sources: np.ndarray | None
    """int32 [bytes]: a byte of the character of the text that each came from; None: the text is in the buffer as it is,
    or they were not wanted."""
    text_ends: np.ndarray
    """int32 [texts]: where each text ends in the buffer."""


class ByteSplitter:
    """The splitters of a pipeline."""

    def __init__(self, stages: Sequence[_Stage]) -> None:
        self._stages = tuple(stages)
        self.is_local = all(
            not (isinstance(stage, _Blanks) and stage.prefix == AT_START) or number == 0
            for number, stage in enumerate(self._stages)
        )
        """Whether texts may be cut together, as the pieces that they are."""
        self.cuts = any(isinstance(stage, tuple | _Cut) for stage in self._stages)
        """Whether there are more pieces than texts."""

    def __call__(self, text: np.ndarray, ends: np.ndarray, *, first: bool = True, sources: bool = False) -> BytePieces:
        """The pieces of each of several texts, one behind the other.

        Args:
            text: uint8, from `padded`; ends: int32, where each text ends; none is empty.
            first: what stands before a source may be put before the texts.
            sources: whether they are wanted.
        """
        marks, text_ends = np.ones(len(ends), dtype=np.uint8), ends
        places: np.ndarray | None = None
        for number, stage in enumerate(self._stages):
            if isinstance(stage, tuple):
                length = int(ends[-1]) if len(ends) else 0
                ends, marks = cut_in_steps(stage, text, 0, length, (ends, marks))
                continue
            if isinstance(stage, _Cut):
                # the stage before it kept the pieces that are not dropped
                ends = cut_before(text, 0, ends, stage.string)
                marks = np.ones(len(ends), dtype=np.uint8)
                continue
            if isinstance(stage, _Spelling):
                found = spelled(text, 0, ends, marks, _spelling(), sources=sources)
            else:
                prefix = stage.prefix
                if prefix == AT_START:
                    # each text is still one piece, or there is one text alone
                    prefix = NOWHERE if not first else EVERYWHERE if number == 0 else AT_START
                found = with_blanks(text, 0, ends, marks, stage.string, prefix, sources=sources)
            text_ends = _moved(text_ends, ends, marks, found)
            text, ends, marks = found.buffer, found.ends, np.ones(len(found.ends), dtype=np.uint8)
            places = _followed(places, found) if sources else None
        if (marks == GAP).any():
            found = compacted(text, 0, ends, marks, sources=sources)
            text_ends, places = _moved(text_ends, ends, marks, found), _followed(places, found) if sources else None
            text, ends = found.buffer, found.ends
        return BytePieces(text, ends, places, text_ends)


def _moved(text_ends: np.ndarray, ends: np.ndarray, marks: np.ndarray, found: Compact) -> np.ndarray:
    """Where each text ends among the pieces that were kept."""
    if len(text_ends) == 1:
        return found.ends[-1:] if len(found.ends) else np.zeros(1, dtype=np.int32)
    # how many kept pieces end there or before
    kept = np.concatenate([[0], np.cumsum(marks != GAP)])[np.searchsorted(ends, text_ends, side="right")]
    return np.concatenate([np.zeros(1, dtype=np.int32), found.ends])[kept]


def _followed(places: np.ndarray | None, found: Compact) -> np.ndarray:
    return found.sources if places is None else places[found.sources]


def byte_splitter(splits: Sequence[steps.Split], *, byte_characters: bool) -> ByteSplitter | None:
    """The splitter of the steps; None if one of them has no kernel.

    Args:
        byte_characters: as in `splitting.split`.
    """
    stages: list[_Stage] = []
    for split in splits:
        found = _stages(split, byte_characters)
        if found is None:
            return None
        for stage in found:
            if isinstance(stage, tuple) and stages and isinstance(stages[-1], tuple):
                stages[-1] += stage
            elif (
                isinstance(stage, _Blanks)
                and stage.prefix == AT_START
                and any(not isinstance(before, tuple) for before in stages)
            ):
                # what stands at the start was put there
                return None
            else:
                stages.append(stage)
    return ByteSplitter(stages)


def _stages(split: steps.Split, byte_characters: bool) -> list[_Stage] | None:
    if isinstance(split, steps.Metaspace):
        return _metaspace(split)
    if isinstance(split, steps.ByteLevel):
        found: list[_Stage] = [_Blanks(b" ", EVERYWHERE)] if split.add_prefix_space else []
        found += [(Step("gpt2"),)] if split.use_regex else []
        return [*found, _Spelling()] if byte_characters else found
    step = _step(split)
    return None if step is None else [(step,)]


def _metaspace(split: steps.Metaspace) -> list[_Stage] | None:
    string = split.replacement.encode("utf-8", "replace")
    if not 1 <= len(string) <= MOST_BYTES:
        return None
    found: list[_Stage] = [_Blanks(string, _PREFIXES[split.prepend])]
    return [*found, _Cut(string)] if split.split else found


def _step(split: steps.Split) -> Step | None:
    match split:
        case steps.Pattern(is_regex=False):
            return Step(re.escape(split.pattern), split.behavior, split.invert) if split.pattern else None
        case steps.Pattern():
            return _regular(split)
        case steps.BertSplit():
            return Step("bert")
        case steps.Whitespace():
            return Step("whitespace")
        case steps.WhitespaceSplit():
            return Step("whitespace_split")
        case steps.Punctuation():
            return Step("punctuation", split.behavior)
        case steps.Digits():
            return Step("single_digits") if split.individual else Step("digits")
        case steps.FixedLength(length=1):
            return Step("characters")
        case steps.Delimiter():
            return Step(re.escape(split.character), "removed") if split.character else None
    return None


def _regular(split: steps.Pattern) -> Step | None:
    """None: no machine follows the pattern, as one that may match nothing at all."""
    try:
        known = splitter(split.pattern).is_fast
    except NotSupportedError:
        # the definition says so when it comes to it
        return None
    return Step(split.pattern, split.behavior, split.invert) if known else None


@functools.cache
def _spelling() -> np.ndarray:
    """uint16 [256]: the character of each byte in the byte-level alphabet, as `marked.spelled` takes it."""
    return np.array([int.from_bytes(character.encode(), "little") for character in BYTE_CHARACTERS], dtype=np.uint16)
