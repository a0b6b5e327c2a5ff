"""Normalisers at work: text to text, and for every character of the result where it came from.

The definition of each step is `tokenizers` 0.23, down to its offsets; that of `SentencePiece` is sentencepiece 0.2.3.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from textmill.tokenizers import alignment, peer_classes, steps
from textmill.tokenizers.byte_level import BYTE_CHARACTERS
from textmill.tokenizers.peer_data import LOWERED

Aligned = tuple[str, np.ndarray, np.ndarray]
"""(text, int32 first character of the original for each of its characters, int32 the one after the last)"""

_CHINESE = (
    range(0x4E00, 0xA000), range(0x3400, 0x4DC0), range(0x20000, 0x2A6E0), range(0x2A700, 0x2B740),
    range(0x2B740, 0x2B820), range(0x2B920, 0x2CEB0), range(0xF900, 0xFB00), range(0x2F800, 0x2FA20),
)  # fmt: skip
_NMT_DROPPED = frozenset((*range(1, 9), 0xB, *range(0xE, 0x20), 0x7F, 0x8F, 0x9F))
_NMT_BLANKS = frozenset((0x9, 0xA, 0xC, 0xD, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD))


def normalize(text: str, normalizers: Iterable[steps.Normalizer]) -> str:
    """The text after each of the steps.

    >>> normalize("  Ｃａｆé ", [steps.Form(name="NFKC"), steps.Lowercase(), steps.Strip()])
    'café'

    Raises:
        NotSupportedError: a regular expression that libraries read differently.
        FormatError: a compiled table that is damaged.
    """
    for step in normalizers:
        if text:
            text = _ACTIONS[type(step)](text, step)
    return text


def normalize_aligned(text: str, normalizers: Iterable[steps.Normalizer]) -> Aligned:
    """`normalize`, and the range of characters of `text` that each character of the result came from.

    >>> normal, starts, ends = normalize_aligned("ﬁ X", [steps.Form(name="NFKC"), steps.Lowercase()])
    >>> normal, starts.tolist(), ends.tolist()
    ('fi x', [0, 0, 1, 2], [1, 1, 2, 3])

    Raises:
        NotSupportedError, FormatError: as `normalize`.
    """
    starts = np.arange(len(text), dtype=np.int32)
    ends = starts + np.int32(1)
    for step in normalizers:
        if not text:
            break
        text, first, last = _traced(text, step)
        if first is not None:
            # a character that came from no place stands before the text
            starts, ends = alignment.taken(starts, first), alignment.taken(ends, first if last is None else last)
    return text, starts, ends


Traced = tuple[str, np.ndarray | None, np.ndarray | None]
"""(text, the character that each comes from, or -1; None: its own, the last one it comes from; None: the same)"""


def _traced(text: str, step: steps.Normalizer) -> Traced:
    if isinstance(step, steps.SentencePiece):
        return _sentencepiece_traced(text, step)
    if isinstance(step, steps.Replace):
        return alignment.replaced(text, matches(text, step), step.content)
    if isinstance(step, steps.Prepend):
        added = len(step.text)
        return step.text + text, np.maximum(np.arange(len(text) + added) - added, 0), None
    if isinstance(step, steps.Precompiled):
        return alignment.of_changes(precompiled(step.charsmap).changes(text), len(text))
    if isinstance(step, steps.BertNormalizer):
        return _bert_traced(text, step)
    result = _ACTIONS[type(step)](text, step)
    if result == text:
        return text, None, None
    if isinstance(step, steps.Strip):
        start = len(text) - len(text.lstrip(_SPACES)) if step.left else 0
        return result, np.arange(start, start + len(result)), None
    if isinstance(step, steps.Form):
        return alignment.of_changes(alignment.form_changes(text, step.name), len(text))
    # the others work on one character at a time
    return alignment.by_character(text, lambda character: _ACTIONS[type(step)](character, step))


# one action for each step


def _form(text: str, step: steps.Form) -> str:
    return normal_form(text, step.name)


def normal_form(text: str, name: str) -> str:
    """The normal form as `tokenizers` knows it: of the characters of Unicode 12."""
    form = cast(Any, name)
    if text.isascii() or unicodedata.is_normalized(form, text):
        return text
    if peer_classes.characters_with(peer_classes.NEW).isdisjoint(text):
        return unicodedata.normalize(form, text)
    # newer characters are starters to it that combine with nothing
    parts = _new_characters().split(text)
    return "".join(part if i % 2 else unicodedata.normalize(form, part) for i, part in enumerate(parts))


def lowercase(text: str) -> str:
    """Lower case, character by character: no sigma depends on where it stands."""
    if text.isascii():
        return text.lower()
    if not LOWERED.keys().isdisjoint(text):
        text = text.translate({ord(character): lower for character, lower in LOWERED.items()})
    return text.replace("Σ", "σ").lower()


def _strip(text: str, step: steps.Strip) -> str:
    text = text.lstrip(_SPACES) if step.left else text
    return text.rstrip(_SPACES) if step.right else text


def _replace(text: str, step: steps.Replace | steps.DecodeReplace) -> str:
    if not step.is_regex:
        return text.replace(step.pattern, step.content)
    found = expression(step.pattern)
    if found.fullmatch("") is None:
        return str(found.sub(lambda _: step.content, text))
    return alignment.replaced(text, matches(text, step), step.content)[0]


def matches(text: str, step: steps.Replace | steps.DecodeReplace) -> list[tuple[int, int]]:
    """(start, end) of what the step replaces."""
    return spans(expression(step.pattern) if step.is_regex else re.compile(re.escape(step.pattern)), text)


def spans(found: Any, text: str) -> list[tuple[int, int]]:
    """(start, end) of each match of the expression; there is no empty one right behind another match."""
    kept: list[tuple[int, int]] = []
    for match in found.finditer(text):
        if not (kept and match.start() == match.end() == kept[-1][1]):
            kept.append(match.span())
    return kept


@functools.lru_cache(maxsize=64)
def expression(pattern: str) -> Any:
    """The regular expression, compiled.

    Raises:
        NotSupportedError: it does not compile, or libraries read it differently.
    """
    from textmill.ops.split.dialect import check_portable
    from textmill.ops.split.reference import compiled

    check_portable(pattern)
    return compiled(pattern)


def _bert(text: str, step: steps.BertNormalizer) -> str:
    for action in bert_actions(step):
        text = action(text)
    return text


def bert_actions(step: steps.BertNormalizer) -> list[Callable[[str], str]]:
    """What the step does, one after the other; all but `decomposed` work on one character at a time."""
    accents = step.lowercase if step.strip_accents is None else step.strip_accents
    actions: list[Callable[[str], str]] = []
    if step.clean_text:
        actions.append(lambda text: text.translate(_bert_cleaning()))
    if step.isolate_chinese:
        actions.append(lambda text: text if text.isascii() else text.translate(_ISOLATED))
    if accents:
        actions += [decomposed, lambda text: _without(text, peer_classes.NONSPACING)]
    if step.lowercase:
        actions.append(lowercase)
    return actions


def decomposed(text: str) -> str:
    """The normal form NFD."""
    return normal_form(text, "NFD")


def _bert_traced(text: str, step: steps.BertNormalizer) -> Traced:
    whole: np.ndarray | None = None
    for action in bert_actions(step):
        if (result := action(text)) == text:
            continue
        if action is decomposed:
            text, moved, _ = alignment.of_changes(alignment.form_changes(text, "NFD"), len(text))
        else:
            text, moved, _ = alignment.by_character(text, action)
        assert moved is not None
        assert text == result
        whole = moved if whole is None else alignment.taken(whole, moved)
    return text, whole, None


def _without(text: str, property: int) -> str:
    dropped = peer_classes.characters_with(property)
    return text if text.isascii() or dropped.isdisjoint(text) else text.translate(_deletion(property))


def _sentencepiece(text: str, step: steps.SentencePiece) -> str:
    data = _encoded(text)
    from textmill.ops.memory import padded

    buffer, length, _ = sentencepiece_normalizer(step)(padded(data), len(data))
    return buffer[:length].tobytes().decode()


def _sentencepiece_traced(text: str, step: steps.SentencePiece) -> Traced:
    """A character comes from where its replacement began, up to where the next character's did."""
    from textmill.ops.memory import padded
    from textmill.ops.split.reference import byte_offsets

    data = _encoded(text)
    buffer, length, sources = sentencepiece_normalizer(step)(padded(data), len(data), sources=True)
    assert sources is not None
    result = buffer[:length].tobytes().decode()
    # in characters on both sides
    character_of = np.repeat(np.arange(len(text) + 1), np.diff(byte_offsets(text), append=len(data) + 1))
    begins = character_of[sources][byte_offsets(result)]
    return result, begins[:-1], begins[1:] - 1


@functools.lru_cache(maxsize=32)
def sentencepiece_normalizer(step: steps.SentencePiece) -> Any:
    """The step's `textmill.ops.normalize.SentencePieceNormalizer`.

    Raises:
        FormatError: its compiled table is damaged.
    """
    from textmill.ops.normalize import SentencePieceNormalizer, read_charsmap
    from textmill.ops.normalize.reference import BlankRules

    blanks = BlankRules(
        dummy_prefix=step.dummy_prefix,
        squeeze_blanks=step.squeeze_blanks,
        escape_blanks=step.escape_blanks,
        blank_as_suffix=step.blank_as_suffix,
    )
    return SentencePieceNormalizer(read_charsmap(step.charsmap), blanks, step.user_defined)


@functools.lru_cache(maxsize=8)
def precompiled(charsmap: bytes) -> "alignment.Graphemes":
    """The table as the step `Precompiled` applies it.

    Raises:
        FormatError: it is damaged.
    """
    from textmill.ops.normalize import Rules, read_charsmap

    return alignment.Graphemes(Rules(read_charsmap(charsmap)))


def _encoded(text: str) -> bytes:
    """UTF-8; a surrogate that stands for a byte is that byte, any other is U+FFFD."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        others = (character if character < "\ud800" or character > "\udfff" else "\ufffd" for character in text)
        return "".join(others).encode()


# tables, each made on first use


_ISOLATED = alignment.Translation(lambda code: f" {chr(code)} " if any(code in block for block in _CHINESE) else code)
_NMT = alignment.Translation(lambda code: "" if code in _NMT_DROPPED else " " if code in _NMT_BLANKS else code)
_BERT_DROPPED = (0, 0xB, 0xC, 0x85, 0xFFFD)
"""Not controls by their class, or white space that is a control."""
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


@functools.cache
def _bert_cleaning() -> Mapping[int, str | int]:
    flags = peer_classes.flags()

    def cleaned(code: int) -> str | int:
        if code in _BERT_DROPPED or flags[code] & peer_classes.CONTROL:
            return ""
        return " " if flags[code] & peer_classes.SPACE else code

    return alignment.Translation(cleaned)


@functools.cache
def _deletion(property: int) -> Mapping[int, str | int]:
    flags = peer_classes.flags()
    return alignment.Translation(lambda code: "" if flags[code] & property else code)


@functools.cache
def _new_characters() -> Any:
    return re.compile(f"([{peer_classes.class_of(peer_classes.NEW)}])")


_ACTIONS: Mapping[type, Callable[[str, Any], str]] = {
    steps.Form: _form,
    steps.Lowercase: lambda text, _: lowercase(text),
    steps.StripAccents: lambda text, _: _without(text, peer_classes.MARK),
    steps.Strip: _strip,
    steps.Replace: _replace,
    steps.Prepend: lambda text, step: step.text + text,
    steps.BertNormalizer: _bert,
    steps.Precompiled: lambda text, step: precompiled(step.charsmap)(text),
    steps.Nmt: lambda text, _: text.translate(_NMT),
    steps.ByteLevelCharacters: lambda text, _: byte_level(text),
    steps.SentencePiece: _sentencepiece,
}


def byte_level(text: str) -> str:
    """Every byte of the text's UTF-8 as its character of the byte-level alphabet."""
    return _encoded(text).decode("latin-1").translate(_BYTE_LEVEL)


_BYTE_LEVEL: Sequence[str] = list(BYTE_CHARACTERS)
