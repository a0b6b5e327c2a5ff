"""Tables for the encoding kernel: what each code point becomes under given rules, made once for each set of rules."""

import functools
from dataclasses import dataclass

import numpy as np

from textmill.ops.wordpiece import characters as c
from textmill.ops.wordpiece.reference import BertRules

# the kind of a code point: the low two bits of its entry
LETTER, DROPPED, BLANK, ALONE = range(4)
KIND_MASK = 3
HARD = 4
"""Bit of an entry: after decomposition a mark stays, and may change places with its neighbours."""
PAYLOAD_SHIFT = 3
"""The rest of an entry: of ALONE the token's id, of LETTER where its form begins (0: itself)."""

# words of a row of marks: code point, whether no starter comes before its marks, how many marks, up to three marks
MARK_CODE, MARK_FIRST, MARK_COUNT, MARK_PARTS = range(4)
MARK_WORDS = 6
# a mark: combining class, number of bytes (0: dropped), up to four bytes of UTF-8
CLASS_SHIFT, SIZE_SHIFT = 40, 32

_REPLACEMENT = 0xFFFD


@dataclass(frozen=True, kw_only=True)
class CharacterTables:
    """What the rules make of each code point, but for the ids of a vocabulary."""

    entries: np.ndarray
    """int32 [code points]: kind, HARD, and the payload of LETTER."""
    forms: np.ndarray
    """uint8: at a payload, number of bytes, number of characters, then the bytes."""
    marks: np.ndarray
    """int64 [n, MARK_WORDS]: a row for each code point that has marks or is one, in ascending order."""
    alone: np.ndarray
    """int64 [m]: the code points of the kind ALONE."""
    alone_forms: np.ndarray
    """int64 [m]: the one character that each becomes."""


@functools.lru_cache(maxsize=16)
def character_tables(clean_text: bool, chinese: bool, strips: bool, lowercase: bool) -> CharacterTables:
    """The tables of these rules; about 20 ms the first time. Shared, so not to be written to."""
    flags = c.flags()
    changed = _forms(strips, lowercase)
    kinds = _kinds_by_flags(flags)
    for code, form in changed.items():
        if form:
            kinds[code] = kinds[ord(form[0])] if len(form) == 1 else LETTER
    if chinese:
        kinds[flags & c.CHINESE > 0] = ALONE
    if clean_text:
        kinds[flags & c.CONTROL > 0] = DROPPED
        kinds[flags & c.WHITE > 0] = BLANK
    entries = kinds.astype(np.int32)
    if kinds[_REPLACEMENT] == LETTER:
        # so that a byte that is not UTF-8 becomes its three bytes
        changed.setdefault(_REPLACEMENT, chr(_REPLACEMENT))
    forms, places = _pack([form for code, form in changed.items() if kinds[code] == LETTER])
    letters = np.array([code for code in changed if kinds[code] == LETTER], dtype=np.int64)
    entries[letters] |= places << PAYLOAD_SHIFT
    marks = _marks() if strips else np.zeros((0, MARK_WORDS), dtype=np.int64)
    if strips:
        entries[marks[(marks[:, MARK_PARTS:] >> SIZE_SHIFT & 7).any(axis=1), MARK_CODE]] |= HARD
    alone = np.flatnonzero(kinds == ALONE)
    alone_forms = np.arange(c.NUM_CODE_POINTS)
    isolated = [code for code in changed if kinds[code] == ALONE]
    alone_forms[isolated] = [ord(changed[code]) for code in isolated]
    return CharacterTables(entries=entries, forms=forms, marks=marks, alone=alone, alone_forms=alone_forms[alone])


def of_rules(rules: BertRules) -> CharacterTables:
    """The tables of these rules.

    >>> tables = of_rules(BertRules())
    >>> [int(tables.entries[ord(char)]) & KIND_MASK for char in "a \\0!"] == [LETTER, BLANK, DROPPED, ALONE]
    True
    """
    return character_tables(rules.clean_text, rules.chinese, rules.strips, rules.lowercase)


def _kinds_by_flags(flags: np.ndarray) -> np.ndarray:
    """uint8 [code points]: the kind of each character of the normalised text."""
    kinds = np.full(c.NUM_CODE_POINTS, LETTER, dtype=np.uint8)
    kinds[flags & c.PUNCTUATION > 0] = ALONE
    kinds[flags & c.SPACE > 0] = BLANK
    return kinds


def _forms(strips: bool, lowercase: bool) -> dict[int, str]:
    """What each code point becomes, for those that do not stay themselves."""
    lower = c.lower_case() if lowercase else {}
    forms = dict(lower)
    if strips:
        marks = c.flags() & c.MARK > 0
        # looked up one by one, bytes are faster than an array
        is_mark = marks.tobytes()
        for code, text in c.decompositions().items():
            forms[code] = "".join(lower.get(ord(part), part) for part in text if not is_mark[ord(part)])
        forms.update(dict.fromkeys(np.flatnonzero(marks).tolist(), ""))
    return forms


def _pack(forms: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(uint8: the forms as records, int64: where each begins). Equal forms share a record."""
    # 0 means that a character stays itself
    records, places, size = [b"\0"], {}, 1
    for form in dict.fromkeys(forms):
        data = form.encode()
        records.append(bytes([len(data), len(form)]) + data)
        places[form] = size
        size += len(records[-1])
    return np.frombuffer(b"".join(records), np.uint8), np.array([places[form] for form in forms], dtype=np.int64)


@functools.cache
def _marks() -> np.ndarray:
    """See `CharacterTables.marks`. Marks have no other case, so the rules for case do not matter."""
    combining, flags = c.combining_classes(), c.flags()
    decomposed = {code: text for code, text in c.decompositions().items() if not c.is_hangul(code)}
    texts = {code: chr(code) for code in np.flatnonzero(combining).tolist()} | decomposed
    rows = []
    for code in sorted(texts):
        classes = [int(combining[ord(part)]) for part in texts[code]]
        # in a decomposition, starters come before marks
        parts = [part for part, kind in zip(texts[code], classes, strict=True) if kind]
        if not parts:
            continue
        row = [code, int(classes[0] > 0), len(parts)]
        for part in parts:
            data = b"" if flags[ord(part)] & c.MARK else part.encode()
            kind = int(combining[ord(part)])
            row.append(kind << CLASS_SHIFT | len(data) << SIZE_SHIFT | int.from_bytes(data, "little"))
        rows.append(row + [0] * (MARK_WORDS - len(row)))
    return np.array(rows, dtype=np.int64)
