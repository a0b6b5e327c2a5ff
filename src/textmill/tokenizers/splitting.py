"""Splitters at work: text to the pieces that the model then encodes one by one.

The definition of each step is `tokenizers` 0.23. Steps follow one another: each works on the pieces of the one before,
and sees nothing of their neighbours.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from textmill.tokenizers import alignment, normalizing, peer_classes, steps

Span = tuple[int, int]
Found = list[tuple[int, int, bool]]
"""(start, end, whether it is a match) of stretches that tile a piece."""

_LONG = 256
"""Characters from which on arrays are faster than a regular expression."""
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pieces:
    """The pieces of a text, back to back."""

    text: str
    """What the pieces hold; what was dropped is gone, what was put in is there."""
    ends: np.ndarray
    """int32 [pieces]: the character of `text` after each piece."""
    starts_in_source: np.ndarray | None
    """int32 [characters]: where in the source each character of `text` came from. None: `text` is the source."""
    ends_in_source: np.ndarray | None

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self.ends.tolist():
            yield self.text[start:end]
            start = end


class _State:
    """A text and its pieces, on the way from step to step."""

    def __init__(self, text: str, source: tuple[np.ndarray, np.ndarray] | None, *, first: bool) -> None:
        self.text = text
        self.spans: list[Span] = [(0, len(text))] if text else []
        self.source = source
        self.first = first

    def begins(self, span: Span) -> bool:
        """Whether the piece stands at the beginning of the source."""
        return self.first and (span[0] if self.source is None else int(self.source[0][span[0]])) == 0

    def rewrite(self, change: Callable[[str, Span], tuple[str, np.ndarray | None]]) -> None:
        """Changes the text of every piece.

        Args:
            change: its text and place -> (the new text, the character each comes from, None: its own).
        """
        parts: list[str] = []
        places: list[np.ndarray] = []
        spans: list[Span] = []
        at, moved = 0, False
        for start, end in self.spans:
            part, origin = change(self.text[start:end], (start, end))
            moved = moved or origin is not None or start != at
            places.append(start + (np.arange(len(part)) if origin is None else origin))
            parts.append(part)
            spans.append((at, at + len(part)))
            at += len(part)
        if moved or at != len(self.text):
            self._move(np.concatenate(places) if places else np.empty(0, dtype=np.int64))
        self.text, self.spans = "".join(parts), spans

    def _move(self, places: np.ndarray) -> None:
        if self.source is None:
            self.source = places.astype(np.int32), (places + 1).astype(np.int32)
        else:
            self.source = alignment.taken(self.source[0], places), alignment.taken(self.source[1], places)

    def cut(self, find: Callable[[str], Iterable[Span]]) -> None:
        """Replaces every piece by parts of it; empty ones vanish."""
        self.spans = [
            (start + a, start + b) for start, end in self.spans for a, b in find(self.text[start:end]) if a < b
        ]


def split(
    text: str,
    splitters: Iterable[steps.Split],
    *,
    first: bool = True,
    source: tuple[np.ndarray, np.ndarray] | None = None,
    byte_characters: bool = False,
) -> Pieces:
    """The pieces of the text after each of the steps.

    Args:
        first: the source begins with the text, so that what stands before a source may be put here.
        source: (int32 starts, ends) of each character of the text in its source, if that is another text.
        byte_characters: `ByteLevel` spells the pieces in the byte-level alphabet. A byte-level model takes them as
            they are.

    >>> list(split("Hello  world", [steps.Metaspace()]))
    ['▁Hello', '▁', '▁world']

    Raises:
        NotSupportedError: a regular expression that libraries read differently.
    """
    state = _State(text, source, first=first)
    for step in splitters:
        if isinstance(step, steps.Metaspace):
            _metaspace(state, step)
        elif isinstance(step, steps.ByteLevel):
            _byte_level(state, step, byte_characters)
        else:
            state.cut(functools.partial(_ACTIONS[type(step)], step))
    # what was dropped goes
    state.rewrite(lambda part, _: (part, None))
    if state.source is None and state.text != text:
        # a character stands for another one
        state.source = np.arange(len(text), dtype=np.int32), np.arange(1, len(text) + 1, dtype=np.int32)
    starts, ends = (None, None) if state.source is None else state.source
    piece_ends = np.array([end for _, end in state.spans], dtype=np.int32)
    return Pieces(text=state.text, ends=piece_ends, starts_in_source=starts, ends_in_source=ends)


def _metaspace(state: _State, step: steps.Metaspace) -> None:
    def escaped(part: str, span: Span) -> tuple[str, np.ndarray | None]:
        part = part.replace(" ", step.replacement)
        wanted = step.prepend == "always" or (step.prepend == "first" and state.begins(span))
        if wanted and not part.startswith(step.replacement):
            return _with_prefix(part, step.replacement)
        return part, None

    state.rewrite(escaped)
    if step.split:
        state.cut(lambda part: _kept(_by_string(part, step.replacement), "merged_with_next"))


def _byte_level(state: _State, step: steps.ByteLevel, byte_characters: bool) -> None:
    def prefixed(part: str, _: Span) -> tuple[str, np.ndarray | None]:
        return (part, None) if part.startswith(" ") else _with_prefix(part, " ")

    def spelled(part: str, _: Span) -> tuple[str, np.ndarray | None]:
        return alignment.by_character(part, normalizing.byte_level)[:2]

    if step.add_prefix_space:
        state.rewrite(prefixed)
    if step.use_regex:
        state.cut(lambda part: _kept(_by_expression(part, normalizing.expression(_GPT2)), "isolated"))
    if byte_characters:
        state.rewrite(spelled)


def _with_prefix(part: str, prefix: str) -> tuple[str, np.ndarray]:
    """The prefix shares the place of the character behind it."""
    return prefix + part, np.maximum(np.arange(len(part) + len(prefix)) - len(prefix), 0)


# where pieces are cut


def _by_expression(part: str, found: Any) -> Found:
    stretches: Found = []
    last = 0
    for start, end in normalizing.spans(found, part):
        if last < start:
            stretches.append((last, start, False))
        stretches.append((start, end, True))
        last = end
    if last < len(part):
        stretches.append((last, len(part), False))
    return stretches


def _by_string(part: str, string: str) -> Found:
    return _by_expression(part, _plain(string))


def _by_class(part: str, property: int) -> Found:
    """Each character that has the property is a match."""
    if len(part) < _LONG:
        return _by_expression(part, _one_of(property))
    codes = np.frombuffer(part.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    stretches: Found = []
    last = 0
    for place in np.flatnonzero(peer_classes.flags()[codes] & property).tolist():
        if last < place:
            stretches.append((last, place, False))
        stretches.append((place, place + 1, True))
        last = place + 1
    return [*stretches, (last, len(part), False)] if last < len(part) else stretches


@functools.lru_cache(maxsize=64)
def _plain(string: str) -> Any:
    return re.compile(re.escape(string))


def _kept(stretches: Found, behavior: steps.Behavior) -> list[Span]:
    """What remains of stretches, the matches being the delimiters."""
    if behavior == "removed":
        return [(start, end) for start, end, match in stretches if not match]
    if behavior == "isolated":
        return [(start, end) for start, end, _ in stretches]
    if behavior == "merged_with_next":
        mirrored = _merged([(-end, -start, match) for start, end, match in reversed(stretches)], behavior)
        return [(-end, -start) for start, end in reversed(mirrored)]
    return _merged(stretches, behavior)


def _merged(stretches: Found, behavior: steps.Behavior) -> list[Span]:
    """Stretches of one kind in one piece (contiguous), or each match with what stands before it."""
    spans: list[Span] = []
    last_match = False
    for start, end, match in stretches:
        joins = match == last_match if behavior == "contiguous" else match and not last_match
        if joins and spans:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        last_match = match
    return spans


def _pattern(step: steps.Pattern, part: str) -> list[Span]:
    found = _splitting_expression(step.pattern) if step.is_regex else _plain(step.pattern)
    stretches = _by_expression(part, found)
    if step.invert:
        stretches = [(start, end, not match) for start, end, match in stretches]
    return _kept(stretches, step.behavior)


@functools.lru_cache(maxsize=64)
def _splitting_expression(name_or_pattern: str) -> Any:
    from textmill.ops.split import splitter
    from textmill.ops.split.reference import compiled

    return compiled(splitter(name_or_pattern).pattern)


def _digits(step: steps.Digits, part: str) -> list[Span]:
    stretches = _by_class(part, peer_classes.NUMERIC)
    return _kept(stretches, "isolated" if step.individual else "contiguous")


def _punctuation(step: steps.Punctuation, part: str) -> list[Span]:
    return _kept(_by_class(part, peer_classes.PUNCTUATION), step.behavior)


def _scripts(_step: steps.UnicodeScripts, part: str) -> list[Span]:
    codes = np.frombuffer(part.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    scripts = peer_classes.scripts()[codes]
    # what has no script goes with what stands before it; before everything else it is dropped
    places = np.flatnonzero(scripts != peer_classes.ANY_SCRIPT)
    changes = places[np.flatnonzero(np.diff(scripts[places].astype(np.int64), prepend=-1))].tolist()
    return list(zip(changes, [*changes[1:], len(part)], strict=True)) if changes else []


def _fixed_length(step: steps.FixedLength, part: str) -> list[Span]:
    if step.length <= 0:
        return [(0, len(part))]
    return [(start, min(start + step.length, len(part))) for start in range(0, len(part), step.length)]


def _matched(found: Callable[[], Any]) -> Callable[[Any, str], list[Span]]:
    return lambda _, part: [match.span() for match in found().finditer(part)]


@functools.cache
def _one_of(property: int) -> Any:
    return re.compile(f"[{peer_classes.class_of(property)}]")


@functools.cache
def _bert() -> Any:
    space, punctuation = (peer_classes.class_of(name) for name in (peer_classes.SPACE, peer_classes.PUNCTUATION))
    return re.compile(f"[{punctuation}]|[^{space}{punctuation}]+")


@functools.cache
def _words() -> Any:
    word, space = peer_classes.class_of(peer_classes.WORD), peer_classes.class_of(peer_classes.SPACE)
    return re.compile(f"[{word}]+|[^{word}{space}]+")


@functools.cache
def _not_space() -> Any:
    return re.compile(f"[^{peer_classes.class_of(peer_classes.SPACE)}]+")


_ACTIONS: Mapping[type, Callable[[Any, str], list[Span]]] = {
    steps.Pattern: _pattern,
    steps.BertSplit: _matched(_bert),
    steps.Whitespace: _matched(_words),
    steps.WhitespaceSplit: _matched(_not_space),
    steps.Punctuation: _punctuation,
    steps.Digits: _digits,
    steps.Delimiter: lambda step, part: _kept(_by_string(part, step.character), "removed"),
    steps.UnicodeScripts: _scripts,
    steps.FixedLength: _fixed_length,
}
