"""What the kernel asks before it walks through the tries of rules: tables of bytes and of characters."""

from collections.abc import Iterable

import numpy as np

from textmill.ops.normalize import cpu_rules as rules
from textmill.ops.normalize.charsmap import Charsmap, children_of, has_leaf, label_of, offset_of

_ASCII = 128
_LABEL = (1 << 31) | 0xFF
_LEAF = 1 << 8
_FAR = 1 << 9
_BLANK = ord(" ")
_FIRST_LEAD, _LEADS = 0xE0, 16


def byte_classes(charsmap: Charsmap, user_defined: Iterable[bytes]) -> np.ndarray:
    """uint8 [512]: the class of each byte, then what each byte of the first two classes becomes.

    Args:
        user_defined: strings that stay as they are, whatever the rules say.
    """
    longer = {string[0] for string in user_defined if len(string) > 1}
    alone = {string[0] for string in user_defined if len(string) == 1}
    classes = np.concatenate([np.full(256, rules.RULED), np.arange(256)]).astype(np.uint8)
    for byte in range(_ASCII):
        own, following = _rules_from(charsmap.units, byte)
        becomes = byte if own is None or byte in alone else _single(charsmap.strings, own)
        begins_more = any(label < _ASCII for label in following) and byte not in alone
        if byte in longer or becomes is None or begins_more:
            continue
        classes[byte] = rules.BLANK if becomes == _BLANK else rules.PLAIN
        classes[256 + byte] = becomes
        classes[[label for label in following if label >= _ASCII]] |= rules.JOINS
    return classes


def simple_bytes(classes: np.ndarray) -> tuple[int, int, int, int]:
    """(what becomes of visible ASCII, the characters that it is not said of, what blanks and what line ends are): the
    words LETTERS, RULED_LETTERS, BLANKS_ARE and LINES_ARE of the model."""
    visible = np.arange(rules.FIRST_VISIBLE, rules.FIRST_VISIBLE + rules.NUM_VISIBLE)
    lower = np.frombuffer(bytes(visible.tolist()).lower(), dtype=np.uint8)
    becomes, plain = classes[256 + visible], classes[visible] == rules.PLAIN
    mode, exceptions = rules.EACH_BYTE, visible
    for candidate, wanted in ((rules.AS_IT_IS, visible), (rules.LOWER_CASE, lower)):
        found = visible[~plain | (becomes != wanted)]
        if len(found) <= min(rules.MOST_RULED, len(exceptions) - 1):
            mode, exceptions = candidate, found
    lines = np.arange(rules.FIRST_LINE, rules.FIRST_LINE + rules.NUM_LINES)
    kinds = set(classes[lines].tolist())
    stay = kinds == {rules.PLAIN} and (classes[256 + lines] == lines).all()
    line_kind = rules.PLAIN if stay else rules.BLANK if kinds == {rules.BLANK} else rules.RULED
    blank_kind = rules.BLANK if classes[_BLANK] == rules.BLANK else rules.RULED
    packed = 0 if mode == rules.EACH_BYTE else int.from_bytes(bytes(exceptions.tolist()), "little")
    return mode, packed, blank_kind, line_kind


def wide_characters(charsmap: Charsmap, user_units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [8192]: a bit for each code point that no rule begins with, int32 [65536]: where among the replacements
    that of the code point begins, if its own rule is the only one that begins with it, otherwise -1).

    Of the characters of two and three bytes alone.
    """
    codes = np.arange(_ASCII, rules.NUM_WIDE)
    codes = codes[(codes < 0xD800) | (codes > 0xDFFF)]
    two = codes < 0x800
    columns = [np.where(two, 0xC0 | codes >> 6, 0xE0 | codes >> 12), 0x80 | np.where(two, codes, codes >> 6) & 0x3F]
    columns.append(np.where(two, 0, 0x80 | codes & 0x3F))
    begun, places, alone = _walk(charsmap.units, columns, two)
    by_user = _walk(user_units, columns, two)[0] if len(user_units) else np.zeros(len(codes), dtype=bool)
    untouched = np.zeros(rules.NUM_WIDE, dtype=bool)
    untouched[codes[~begun & ~by_user]] = True
    own_rules = np.full(rules.NUM_WIDE, -1, dtype=np.int32)
    own = np.flatnonzero(alone & ~by_user & ~two)
    own_rules[codes[own]] = np.minimum(charsmap.units[places[own]] & 0x7FFFFFFF, len(charsmap.strings) - 1)
    return np.packbits(untouched, bitorder="little"), own_rules


def untouched_leads(untouched: np.ndarray) -> tuple[int, int]:
    """(first, number) of most bytes in a row such that no rule begins with a character of three bytes that begins with
    one of them; untouched: see `wide_characters`."""
    codes = np.asarray(np.unpackbits(untouched, bitorder="little").reshape(_LEADS, -1).min(axis=1))
    first = count = 0
    # the first one begins what could be shorter, too
    for lead in range(1, _LEADS):
        length = int(np.argmin(np.append(codes[lead:], 0)))
        if length > count:
            first, count = lead, length
    return _FIRST_LEAD + first, count


def _walk(units: np.ndarray, columns: list[np.ndarray], two: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each character: whether some string of the trie begins with it or it with a string, the place of its node's
    children, and whether it is a string and no longer one begins with it."""
    size, count = len(units), len(two)
    places = np.full(count, offset_of(int(units[0])), dtype=np.int64)
    alive, begun, leaf = np.ones(count, dtype=bool), np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    for depth, column in enumerate(columns):
        steps = alive & ~two if depth == 2 else alive
        nodes = places ^ column
        found = units[np.minimum(nodes, size - 1)].astype(np.int64)
        good = steps & (nodes < size) & ((found & _LABEL) == column)
        children = nodes ^ ((found >> 10) << ((found & _FAR) >> 6))
        good &= children < size
        places = np.where(good, children, places)
        alive = good | (alive & two) if depth == 2 else good
        leaf = np.where(steps, good & ((found & _LEAF) != 0), leaf)
        begun |= leaf
    begun |= alive
    alone = leaf & alive
    for place in np.unique(places[alone]).tolist():
        if children_of(units, place):
            alone &= places != place
    return begun, places, alone


def _rules_from(units: np.ndarray, byte: int) -> tuple[int | None, list[int]]:
    """(the value of the rule of the byte alone, the bytes with which longer rules go on)."""
    place = offset_of(int(units[0])) ^ byte
    if place >= len(units) or label_of(int(units[place])) != byte:
        return None, []
    unit = int(units[place])
    base = place ^ offset_of(unit)
    if base >= len(units):
        return None, []
    return (int(units[base]) & 0x7FFFFFFF if has_leaf(unit) else None), children_of(units, base)


def _single(strings: np.ndarray, value: int) -> int | None:
    """The byte that a replacement is; None if it is none, or more than one, or not ASCII."""
    value = min(value, len(strings) - 1)
    string = strings[value : value + 2].tolist()
    return string[0] if len(string) == 2 and 0 < string[0] < _ASCII and string[1] == 0 else None
