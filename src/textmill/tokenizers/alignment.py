"""Where the characters of a changed text came from, with the offsets of `tokenizers` 0.23.

There a change of text is a row of (character, change): change 1 is a character that was added behind the last one, and
shares its place; 0 one that stands for the next character of the old text; -n one that stands for the next, the n after
it being dropped.
"""

import functools
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from textmill.tokenizers import peer_classes

if TYPE_CHECKING:
    from textmill.ops.normalize import Rules

Changes = list[tuple[str, int]]
NOWHERE = -1
_GRAPHEME_BYTES = 6
"""Longer clusters are replaced character by character."""


def taken(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The values at the places, 0 for `NOWHERE`; int32."""
    return np.where(places >= 0, values[places], 0).astype(np.int32)


def of_changes(row: Changes, length: int) -> tuple[str, np.ndarray, None]:
    """(the new text, for each of its characters the one it came from of the old text's `length`, None)."""
    at = 0
    places = np.empty(len(row), dtype=np.int64)
    for i, (_, change) in enumerate(row):
        if change > 0:
            places[i] = at - 1
        else:
            places[i] = at
            at += 1 - change
    return "".join(character for character, _ in row), np.minimum(places, length - 1), None


def by_character(text: str, action: Callable[[str], str]) -> tuple[str, np.ndarray, None]:
    """The same for a change that turns each character into others, whatever stands around it."""
    made = functools.cache(action)
    parts = [made(character) for character in text]
    return "".join(parts), np.repeat(np.arange(len(text)), [len(part) for part in parts]), None


def replaced(text: str, spans: Sequence[tuple[int, int]], content: str) -> tuple[str, np.ndarray, None]:
    """The same for a text in which `content` stands for each of the spans: it comes from a span's last character."""
    places: list[int] = []
    parts: list[str] = []
    last = 0
    for start, end in spans:
        places += range(last, start)
        parts += [text[last:start], content]
        place = end - 1 if end > start else (places[-1] if places else NOWHERE)
        places += [place] * len(content)
        last = end
    parts.append(text[last:])
    return "".join(parts), np.array([*places, *range(last, len(text))], dtype=np.int64), None


def form_changes(text: str, name: str) -> Changes:
    """The row for a Unicode normal form: decomposed, marks in order of their classes, and composed again."""
    row = _decomposed(text, "NFKD" if "K" in name else "NFD")
    return row if name.endswith("D") else _composed(row)


def _decomposed(text: str, form: str) -> Changes:
    decomposition = functools.cache(functools.partial(unicodedata.normalize, cast(Any, form)))
    row: Changes = []
    marks: list[tuple[int, str, int]] = []
    new = peer_classes.characters_with(peer_classes.NEW)
    for character in text:
        for i, part in enumerate(character if character in new else decomposition(character)):
            class_ = combining_class(part)
            if class_ == 0:
                row += [(mark, change) for _, mark, change in sorted(marks, key=lambda mark: mark[0])]
                marks.clear()
                row.append((part, int(i > 0)))
            else:
                marks.append((class_, part, int(i > 0)))
    return row + [(mark, change) for _, mark, change in sorted(marks, key=lambda mark: mark[0])]


def combining_class(character: str) -> int:
    """The canonical combining class in Unicode 12."""
    new = peer_classes.characters_with(peer_classes.NEW)
    return 0 if character in new else unicodedata.combining(character)


def _composed(row: Changes) -> Changes:
    """The row with the characters that compose; what is composed of several takes all their changes.

    Source: Unicode Standard Annex 15, section 1.3.
    """
    out: Changes = []
    # where the last starter stands in `out`, and the class of what stands last behind it (-1: nothing)
    starter, last_class = -1, -1
    for character, change in row:
        class_ = combining_class(character)
        whole = _composition(out[starter][0], character) if starter >= 0 and last_class < max(class_, 1) else ""
        # a starter composes with one right behind it only
        if whole and not (class_ == 0 and last_class >= 0):
            out[starter] = (whole, out[starter][1] + change - 1)
            continue
        if class_ == 0:
            starter, last_class = len(out), -1
        elif starter >= 0:
            last_class = class_
        out.append((character, change))
    return out


@functools.lru_cache(maxsize=1 << 14)
def _composition(first: str, second: str) -> str:
    new = peer_classes.characters_with(peer_classes.NEW)
    whole = unicodedata.normalize("NFC", first + second)
    return whole if len(whole) == 1 and not {first, second, whole} & new else ""


class Translation(dict[int, str | int]):
    """For `str.translate`: what becomes of a code point, worked out when it is first met.

    `str.translate` is many times slower where it finds nothing than where it finds the same character.
    """

    def __init__(self, replacement: Callable[[int], str | int]) -> None:
        super().__init__()
        self._replacement = replacement

    def __missing__(self, code: int) -> str | int:
        self[code] = found = self._replacement(code)
        return found


class Graphemes:
    """The step `Precompiled`: clusters of characters, and the characters of those that no rule fits, are replaced."""

    def __init__(self, rules: "Rules") -> None:
        self._rules = rules
        self._single = Translation(lambda code: code if (found := self._rule(chr(code))) is None else found)

    def __call__(self, text: str) -> str:
        if "\r\n" not in text and (text.isascii() or extending().isdisjoint(text)):
            return text.translate(self._single)
        out, last = [], 0
        for match in _clusters().finditer(text):
            out += [text[last : match.start()].translate(self._single), self._cluster(match.group())]
            last = match.end()
        return "".join([*out, text[last:].translate(self._single)])

    def _rule(self, text: str) -> str | None:
        """What the whole text is replaced by, if there is a rule for it."""
        found = self._rules.get(text.encode("utf-8", "surrogatepass"))
        return None if found is None else found.decode("utf-8", "replace")

    def _own(self, character: str) -> tuple[str, str]:
        """(character, what becomes of it on its own)."""
        found = self._single[ord(character)]
        return character, found if isinstance(found, str) else character

    def _cluster(self, cluster: str) -> str:
        whole = self._found(cluster)
        return cluster.translate(self._single) if whole is None else whole

    def _found(self, cluster: str) -> str | None:
        """What the shortest rule says that fits the beginning, for the whole cluster."""
        if len(cluster.encode("utf-8", "surrogatepass")) < _GRAPHEME_BYTES:
            for length in range(1, len(cluster) + 1):
                if (found := self._rule(cluster[:length])) is not None:
                    return found
        return None

    def changes(self, text: str) -> Changes:
        """The row of changes."""
        parts: list[tuple[str, str]] = []
        last = 0
        for match in _clusters().finditer(text):
            parts += map(self._own, text[last : match.start()])
            cluster = match.group()
            whole = self._found(cluster)
            if whole is None:
                parts += map(self._own, cluster)
            else:
                parts.append((cluster, whole))
            last = match.end()
        parts += map(self._own, text[last:])
        return _changes_of_parts(parts)


def _changes_of_parts(parts: Iterable[tuple[str, str]]) -> Changes:
    row: Changes = []
    for old, new in parts:
        for i, character in enumerate(new):
            row.append((character, 1 - len(old) if i == 0 else 1))
        # what is dropped before the first character shifts all the others, as in `tokenizers`
        if not new and row:
            row[-1] = (row[-1][0], row[-1][1] - len(old))
    return row


@functools.cache
def _clusters() -> Any:
    """Clusters of several characters. Those whose first character is a prefix to others, or Hangul, are left out: they
    have no rules, or too many bytes."""
    import regex

    return regex.compile(rf"(?s)\r\n|(?=.[{_EXTENDING}])\X")


_EXTENDING = r"\p{Grapheme_Extend}\p{GCB=SpacingMark}\u200d"


@functools.cache
def extending() -> frozenset[str]:
    """The characters that a cluster takes along."""
    import regex

    return frozenset(regex.findall(f"[{_EXTENDING}]", "".join(map(chr, range(peer_classes.NUM_CODE_POINTS)))))
