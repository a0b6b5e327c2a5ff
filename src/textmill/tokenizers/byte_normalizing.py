"""Normalisers at work on bytes, by kernels where there are some. The definition is `normalizing.normalize`."""

import functools
import unicodedata
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, cast

from textmill.ops.memory import padded
from textmill.tokenizers import alignment, normalizing, peer_classes, steps
from textmill.tokenizers.pipeline import Buffer

Change = Callable[[Buffer], Buffer]

_LOCAL = (
    steps.Form,
    steps.Lowercase,
    steps.StripAccents,
    steps.BertNormalizer,
    steps.Precompiled,
    steps.Nmt,
    steps.ByteLevelCharacters,
)
"""Steps that treat a stretch of text by itself if it begins with an ASCII character and another follows."""
_VOWELS_AND_FINALS = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))
"""Hangul letters that compose with a syllable before them."""
_STAND_IN = "\U0010ffff"
"""For the end of a line. Unicode has no such character; a text that has it goes by the definition."""
_COMPOSED = (range(0xC0, 0x3100), range(0xFB1D, 0xFB50), range(0x11000, 0x12000), range(0x1D100, 0x1D200))
"""Where characters stand that are composed of two."""


class ByteNormalizer:
    """The normalisers of a pipeline, on text that is UTF-8 but for bytes that stay as they are.

    An instance serves one thread at a time.
    """

    def __init__(self, normalizers: Sequence[steps.Normalizer]) -> None:
        self._changes: list[Change] = []
        for local, group in groupby(normalizers, lambda step: isinstance(step, _LOCAL)):
            if local:
                self._changes.append(_local_change(tuple(group)))
            else:
                self._changes += [_change(step) for step in group]

    def __call__(self, data: Buffer) -> Buffer:
        """The normal form of the text; the same object if nothing is done to it.

        Raises:
            NotSupportedError, FormatError: as `normalizing.normalize`.
        """
        for change in self._changes:
            if not data:
                break
            data = change(data)
        return data


def _change(step: steps.Normalizer) -> Change:
    match step:
        case steps.Prepend():
            return lambda data: step.text.encode("utf-8", "surrogateescape") + bytes(data)
        case steps.Replace(is_regex=False) if step.pattern:
            old, new = (string.encode("utf-8", "surrogateescape") for string in (step.pattern, step.content))
            return lambda data: bytes(data).replace(old, new)
        case steps.Replace(is_regex=True, pattern=" {2,}", content=" "):
            return _squeezed
        case steps.Replace(is_regex=True):
            return functools.partial(_replaced, step)
        case steps.SentencePiece():
            return functools.partial(_sentencepiece, step)
    return functools.partial(_by_definition, (step,))


def _by_definition(run: Sequence[steps.Normalizer], data: Buffer) -> Buffer:
    text = str(data, "utf-8", "surrogateescape")
    normal = normalizing.normalize(text, run)
    return data if normal is text else normal.encode("utf-8", "surrogateescape")


def _sentencepiece(step: steps.SentencePiece, data: Buffer) -> Buffer:
    buffer, length, _ = normalizing.sentencepiece_normalizer(step)(padded(data), len(data))
    return cast(bytes, buffer[:length].tobytes())


def _squeezed(data: Buffer) -> Buffer:
    """The commonest regular expression of a normaliser, without one."""
    found = bytes(data)
    while b"  " in found:
        found = found.replace(b"  ", b" ")
    return found


def _replaced(step: steps.Replace, data: Buffer) -> Buffer:
    from textmill.ops.split import splitter
    from textmill.ops.split.marked import substituted

    # raises the error of a pattern that cannot be used
    normalizing.expression(step.pattern)
    found = splitter(step.pattern)
    if not found.is_fast:
        return _by_definition((step,), data)
    text = padded(data)
    ends, marks = found.cut(text, 0, len(data))
    return substituted(text, ends, marks, step.content.encode("utf-8", "surrogateescape"))


def _local_change(run: tuple[steps.Normalizer, ...]) -> Change:
    if all(isinstance(step, steps.Form) for step in run):
        # Python is fast at seeing that there is nothing to do
        return lambda data: data if bytes(data).isascii() else _by_definition(run, data)
    from textmill.ops.normalize.characters import CharacterMap

    actions = [action for step in run for action in _actions(step)]

    def of_character(character: str) -> str | None:
        text, waits = character, False
        for action in actions:
            depends = action.depends(text)
            if depends is None:
                return None
            text, waits = action.apply(text), waits or depends
        # a mark that was moved among others is not missed where it is dropped
        return None if waits and text else text

    if not any(isinstance(step, steps.Precompiled) for step in run):
        return CharacterMap(of_character, lambda text: normalizing.normalize(text, run))
    return _with_line_ends(CharacterMap, of_character, run)


def _with_line_ends(
    make: Callable[..., Change], of_character: Callable[[str], str | None], run: Sequence[steps.Normalizer]
) -> Change:
    r"""The change where \r\n counts as one character, as it does to `Precompiled`."""
    line_end = normalizing.normalize("\r\n", run)

    def of_stand_in(character: str) -> str | None:
        return line_end if character == _STAND_IN else of_character(character)

    def definition(text: str) -> str:
        return normalizing.normalize(text.replace(_STAND_IN, "\r\n"), run)

    mapped, stand_in = make(of_stand_in, definition), _STAND_IN.encode()

    def change(data: Buffer) -> Buffer:
        whole = bytes(data)
        if stand_in in whole:
            return _by_definition(run, whole)
        return mapped(whole.replace(b"\r\n", stand_in))

    return change


class _Action:
    """What a step does to the text that a character has become."""

    def __init__(self, apply: Callable[[str], str]) -> None:
        self.apply = apply

    def depends(self, _text: str) -> bool | None:
        """Whether neighbours count, None: they do; True: only if the text is not dropped by the steps that follow."""
        return False


class _FormAction(_Action):
    def __init__(self, name: str) -> None:
        super().__init__(lambda text: normalizing.normal_form(text, name))
        self._composes = name.endswith("C")
        self._decomposition = "NFKD" if "K" in name else "NFD"

    def depends(self, text: str) -> bool | None:
        if not text or text.isascii():
            return False
        if not self._composes:
            return alignment.combining_class(normalizing.normal_form(text, self._decomposition)[0]) != 0
        if not peer_classes.characters_with(peer_classes.NEW).isdisjoint(text):
            return None
        first = unicodedata.normalize(cast(Any, self._decomposition), text)[0]
        return None if unicodedata.combining(first) or first in _seconds() or text[0] in _seconds() else False


class _ClusterAction(_Action):
    def depends(self, text: str) -> bool | None:
        return None if "\r" in text or not alignment.extending().isdisjoint(text) else False


def _actions(step: steps.Normalizer) -> list[_Action]:
    if isinstance(step, steps.Form):
        return [_FormAction(step.name)]
    if isinstance(step, steps.BertNormalizer):
        return [
            _FormAction("NFD") if action is normalizing.decomposed else _Action(action)
            for action in normalizing.bert_actions(step)
        ]
    action = functools.partial(normalizing.normalize, normalizers=(step,))
    return [_ClusterAction(action) if isinstance(step, steps.Precompiled) else _Action(action)]


@functools.cache
def _seconds() -> frozenset[str]:
    """The characters that compose with one before them."""
    parts = (unicodedata.decomposition(chr(code)).split() for block in _COMPOSED for code in block)
    found = {chr(int(pair[1], 16)) for pair in parts if len(pair) == 2 and not pair[0].startswith("<")}
    return frozenset(found | set(map(chr, _VOWELS_AND_FINALS)))
