r"""The part of regular expressions that the table machine runs, read into a tree.

Read: literals, `.`, escapes, classes with ranges and properties, groups, `|`, the repeats `? * + {n} {n,} {n,m}` with
their lazy and possessive forms, a look at the one symbol that follows, as `(?!\S)` and `(?=\p{L})`, the end of the text
`\Z`, and `(?i:...)` around ASCII letters. `Unsupported` is raised for everything else, and for what the read part would
say ambiguously: the `regex` module then runs the pattern.
"""

import dataclasses
import re
from typing import Literal

from textmill.ops.split.classes import CATEGORIES, NUM_CODE_POINTS, SCRIPTS

GROUPS = {letter: tuple(name for name in CATEGORIES if name.startswith(letter)) for letter in "LMNPSZC"}
"""The general categories of each group, such as L: Lu, Ll, Lt, Lm and Lo."""

MOST_REPEATS = 100
"""The largest number in a repeat: each adds a copy to the machine."""

MOST_DEPTH = 50
"""Of groups within groups."""


class Unsupported(Exception):  # noqa: N818  (it is no error: the caller goes another way)
    """The pattern is outside the part that the table machine runs; the message says why."""


@dataclasses.dataclass(frozen=True)
class Symbols:
    """Exactly one symbol, out of a set of code points."""

    ranges: tuple[tuple[int, int], ...] = ()
    """First and last code point of each."""
    properties: tuple[tuple[str, bool], ...] = ()
    """(name, True if what does not have it is meant)."""
    negated: bool = False


@dataclasses.dataclass(frozen=True)
class Ahead:
    """Nothing, where the symbol that follows is one of the set; negated: where it is none of them, or the text ends."""

    symbols: Symbols
    negated: bool


@dataclasses.dataclass(frozen=True)
class End:
    """Nothing, at the end of the text."""


@dataclasses.dataclass(frozen=True)
class Sequence:
    parts: tuple["Node", ...]


@dataclasses.dataclass(frozen=True)
class Choice:
    """The first option that lets the rest match."""

    options: tuple["Node", ...]


@dataclasses.dataclass(frozen=True)
class Repeat:
    body: "Node"
    least: int
    most: int | None
    """None: without limit."""
    kind: Literal["greedy", "lazy", "possessive"]


Node = Symbols | Ahead | End | Sequence | Choice | Repeat

_LINE_FEED = 10
_CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "a": 7}
_SETS = {"s": ("White_Space", False), "S": ("White_Space", True), "d": ("Nd", False), "D": ("Nd", True)}
_REPEAT = re.compile(r"[?*+]|\{(\d+)(,?)(\d*)\}")
_PROPERTY = re.compile(r"[pP]\{(\w+)\}")
_CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|x\{([0-9a-fA-F]{1,6})\}")
_KNOWN = {*CATEGORIES, *GROUPS, *SCRIPTS[1:]}
INTERNAL = {"Word", "Punctuation"}
"""Properties of textmill's own patterns alone; other libraries don't know them by these names."""
# letters of another script that simple case folding makes one with an ASCII letter: the long s, the Kelvin sign
_ODD_CASES = {"s": 0x17F, "k": 0x212A}


def parse(pattern: str, *, internal: bool = False) -> Node:
    r"""The tree of a pattern.

    >>> parse("a{2}")
    Repeat(body=Symbols(ranges=((97, 97),), properties=(), negated=False), least=2, most=2, kind='greedy')
    >>> parse(r"(?!\S)")
    Ahead(symbols=Symbols(ranges=(), properties=(('White_Space', True),), negated=False), negated=True)

    Args:
        internal: the properties of `INTERNAL` are known too.

    Raises:
        Unsupported: a part of the pattern is none of those above.
    """
    reader = _Reader(pattern, internal)
    any_case = reader.take("(?i)")
    tree = reader.choice(any_case, 0)
    if reader.at < len(pattern):
        raise Unsupported("a ) without its (")
    return tree


def nullable(node: Node) -> bool:
    """Whether the node can match the empty text."""
    match node:
        case Symbols():
            return False
        case Sequence(parts):
            return all(map(nullable, parts))
        case Choice(options):
            return any(map(nullable, options))
        case Repeat(body, least):
            return least == 0 or nullable(body)
    return True


def written(node: Node) -> str:
    r"""The tree as a pattern for the `regex` module, without `(?i:...)`.

    In version 2026.11.15, `(?i:s)|[^0a]` does not match A: the first option makes the second one blind to case.

    >>> written(parse("(?i:s)|a*+"))
    '(?:[\\U00000053\\U00000073\\U0000017f]|(?:[\\U00000061]){0,}+)'
    """
    match node:
        case Symbols(ranges, properties, negated):
            parts = [_code(low) if low == high else f"{_code(low)}-{_code(high)}" for low, high in ranges]
            parts += [rf"\{'P' if lacks else 'p'}{{{name}}}" for name, lacks in properties]
            return f"[{'^' * negated}{''.join(parts)}]"
        case Ahead(symbols, negated):
            return f"(?{'!' if negated else '='}{written(symbols)})"
        case End():
            return r"\Z"
        case Sequence(parts):
            return "".join(map(written, parts))
        case Choice(options):
            return f"(?:{'|'.join(map(written, options))})"
    most = "" if node.most is None else node.most
    return (
        f"(?:{written(node.body)}){{{node.least},{most}}}" + {"greedy": "", "lazy": "?", "possessive": "+"}[node.kind]
    )


def _code(code: int) -> str:
    return f"\\U{code:08x}"


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str, internal: bool) -> None:
        self.pattern = pattern
        self.at = 0
        self.known = _KNOWN | INTERNAL if internal else _KNOWN

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self, text: str) -> bool:
        """Goes past the text if it stands here."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def choice(self, any_case: bool, depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise Unsupported("groups too deep")
        options = [self.sequence(any_case, depth)]
        while self.take("|"):
            options.append(self.sequence(any_case, depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def sequence(self, any_case: bool, depth: int) -> Node:
        parts: list[Node] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom(any_case, depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self, body: Node) -> Node:
        found = _REPEAT.match(self.pattern, self.at)
        if found is None:
            return body
        self.at = found.end()
        least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(found[0], (0, 0))
        if found[1] is not None:
            least = int(found[1])
            most = int(found[3]) if found[3] else (None if found[2] else least)
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least) or most == 0:
            raise Unsupported(f"the repeat {found[0]}")
        kind: Literal["greedy", "lazy", "possessive"] = "greedy"
        if self.take("+"):
            kind = "possessive"
        elif self.take("?"):
            kind = "lazy"
        if nullable(body) or _REPEAT.match(self.pattern, self.at):
            raise Unsupported("a repeat of a repeat, or of what may be empty")
        if kind == "possessive" and not isinstance(body, Symbols):
            raise Unsupported("a possessive repeat of more than one symbol")
        return Repeat(body, least, most, kind)

    def atom(self, any_case: bool, depth: int) -> Node:
        for opening, negated in (("(?!", True), ("(?=", False)):
            if self.take(opening):
                return self.ahead(any_case, depth, negated)
        for opening in ("(?i:", "(?:", "("):
            if self.take(opening):
                if self.peek() == "?":
                    raise Unsupported("a group of another kind")
                node = self.choice(any_case or opening == "(?i:", depth + 1)
                self.close()
                return node
        if self.take("["):
            return self.folded(self.symbol_class(), any_case)
        if self.take("."):
            return Symbols(((_LINE_FEED, _LINE_FEED),), negated=True)
        if self.take(r"\Z") or self.take(r"\z"):
            return End()
        if self.peek() in "^$?*+{":
            raise Unsupported(f"{self.peek()} here")
        one = self.one_symbol()
        node = Symbols(properties=(one,)) if isinstance(one, tuple) else Symbols(((one, one),))
        return self.folded(node, any_case)

    def ahead(self, any_case: bool, depth: int, negated: bool) -> Node:
        inside = self.choice(any_case, depth + 1)
        self.close()
        if not isinstance(inside, Symbols):
            raise Unsupported("a look ahead at more than one symbol")
        return Ahead(inside, negated)

    def close(self) -> None:
        if not self.take(")"):
            raise Unsupported("a ( without its )")

    def one_symbol(self) -> int | tuple[str, bool]:
        """A code point, or a property."""
        char = self.peek()
        self.at += 1
        if char != "\\":
            return ord(char)
        if found := _PROPERTY.match(self.pattern, self.at):
            self.at = found.end()
            if found[1] not in self.known:
                raise Unsupported(f"the property {found[1]}")
            return found[1], found[0][0] == "P"
        if found := _CODE.match(self.pattern, self.at):
            self.at = found.end()
            code = int(found[1] or found[2] or found[3], 16)
            if code >= NUM_CODE_POINTS:
                raise Unsupported("a number that is no code point")
            return code
        char = self.peek()
        self.at += 1
        if char in _SETS:
            return _SETS[char]
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char and char.isascii() and not char.isalnum():
            return ord(char)
        raise Unsupported(f"the escape \\{char}")

    def symbol_class(self) -> Symbols:
        """What stands between [ and ]; the [ has been read."""
        negated = self.take("^")
        ranges: list[tuple[int, int]] = []
        properties: list[tuple[str, bool]] = []
        first = True
        while first or self.peek() != "]":
            if self.peek() in ("", "[") or self.pattern[self.at : self.at + 2] in ("--", "&&", "||", "~~"):
                raise Unsupported("a class that libraries read differently")
            first = False
            low = self.one_symbol()
            if isinstance(low, tuple):
                properties.append(low)
                continue
            high = low
            if self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                if self.peek() == "[":
                    raise Unsupported("a class in a class")
                end = self.one_symbol()
                if isinstance(end, tuple) or end < low:
                    raise Unsupported("a range without an end")
                high = end
            ranges.append((low, high))
        self.at += 1
        return Symbols(tuple(ranges), tuple(properties), negated)

    def folded(self, node: Symbols, any_case: bool) -> Symbols:
        """The symbols in either case, if asked."""
        if not any_case:
            return node
        if node.properties or node.negated or any(high >= 128 for _, high in node.ranges):
            raise Unsupported("any case of more than ASCII letters")
        # i and I alone, as in the engines of tiktoken and `tokenizers`; the `regex` module adds a Turkish letter
        codes = {code for low, high in node.ranges for code in range(low, high + 1)}
        for code in sorted(codes):
            char = chr(code)
            codes |= {ord(char.lower()), ord(char.upper())}
            if char.lower() in _ODD_CASES:
                codes.add(_ODD_CASES[char.lower()])
        return Symbols(tuple((code, code) for code in sorted(codes)))
