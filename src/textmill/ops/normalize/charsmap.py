"""The compiled table of replacements of a sentencepiece model: its bytes, read and made.

A charsmap is a 32-bit size, a double array of so many bytes, and the replacements, each followed by a zero byte.
The double array (Darts-clone's) is a trie in 32-bit units. From a unit at place p, one goes on by a byte b to the place
p ^ offset ^ b, which is a child if its label is b. A unit whose leaf bit is set has the value of the string so far at
p ^ offset, a number with the highest bit set: where among the replacements the string's own begins.

    bit  31       30..10   9               8      7..0
         value?   offset   offset << 8?    leaf?  label

Source: https://github.com/s-yata/darts-clone (`DoubleArrayUnit`), Aoe 1989, IEEE TSE 15(9).
"""

import dataclasses
import functools
import struct
from collections.abc import Iterable, Mapping

import numpy as np

from textmill.errors import ConfigError, FormatError

_VALUE = 1 << 31
_LEAF = 1 << 8
_FAR = 1 << 9
_MOST_UNITS = 1 << 21
"""Offsets below this need no second form."""
_BLOCK = 256
_LONGEST = 1 << 10
"""A rule for more bytes is none that anyone would write."""
_MOST_FAILURES = 60
"""A block that had no place for so many nodes is as good as full."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Charsmap:
    """A table of replacements, ready for the kernel."""

    units: np.ndarray
    """uint32: the double array; one empty unit if there are no rules."""
    strings: np.ndarray
    """uint8: the replacements, each followed by a zero byte."""


def read_charsmap(data: bytes) -> Charsmap:
    """The parts of a compiled table; b"" is the empty table.

    Raises:
        FormatError: truncated, or the sizes contradict each other. What the trie says is checked as it is followed.
    """
    if not data:
        return Charsmap(units=np.zeros(1, dtype=np.uint32), strings=np.zeros(1, dtype=np.uint8))
    size = struct.unpack_from("<I", data)[0] if len(data) > 4 else 0
    if size % 4 or not 4 <= size < len(data) - 3:
        raise FormatError(
            f"a charsmap of {len(data)} bytes cannot hold a double array of {size}", fix="fetch the model again"
        )
    units = np.frombuffer(data, dtype="<u4", count=size // 4, offset=4).astype(np.uint32)
    # the last replacement may lack its zero byte
    strings = np.frombuffer(data[4 + size :] + b"\0", dtype=np.uint8)
    return Charsmap(units=units, strings=strings)


def rules_of(charsmap: Charsmap) -> dict[bytes, bytes]:
    """Every replacement of the table.

    Raises:
        FormatError: the trie points outside itself, or runs in circles.
    """
    units, strings = charsmap.units.tolist(), charsmap.strings.tobytes()
    rules: dict[bytes, bytes] = {}
    # (a node's base, the string so far); strings that end alike share nodes
    open_nodes = [(offset_of(units[0]), b"")]
    children = functools.cache(functools.partial(children_of, charsmap.units))
    visited = 0
    while open_nodes:
        base, string = open_nodes.pop()
        visited += 1
        for label in children(base):
            place = base ^ label
            block = place ^ offset_of(units[place])
            longer = string + bytes([label])
            if has_leaf(units[place]):
                value = units[block] & (_VALUE - 1) if block < len(units) else len(strings)
                if value >= len(strings):
                    raise FormatError("a charsmap's trie points outside its table", fix="fetch the model again")
                rules[longer] = strings[value : strings.index(b"\0", value)]
            if len(longer) > _LONGEST or visited > _MOST_UNITS:
                raise FormatError("a charsmap's trie has no end, or runs in circles", fix="fetch the model again")
            open_nodes.append((block, longer))
    return rules


class Rules:
    """The replacements of a table, looked up one at a time: to list all of the usual ones takes half a second."""

    def __init__(self, charsmap: Charsmap) -> None:
        """Checks the table as far as looking up can get.

        Raises:
            FormatError: the trie points outside itself, or runs in circles.
        """
        _check_trie(charsmap)
        self._units, self._strings = charsmap.units.data, charsmap.strings.tobytes()

    def get(self, key: bytes) -> bytes | None:
        """What the key is replaced by, if there is a rule for all of it.

        >>> rules = Rules(read_charsmap(build_charsmap({"ﬁ": "fi"})))
        >>> rules.get("ﬁ".encode()), rules.get(b"fi")
        (b'fi', None)
        """
        units, base, unit = self._units, offset_of(self._units[0]), 0
        for byte in key:
            place = base ^ byte
            if place >= len(units) or byte == 0 or label_of(units[place]) != byte:
                return None
            unit = units[place]
            base = place ^ offset_of(unit)
        if not has_leaf(unit) or not key:
            return None
        value = units[base] & (_VALUE - 1)
        return self._strings[value : self._strings.index(b"\0", value)]


def _check_trie(charsmap: Charsmap) -> None:
    """Walks through the trie, all strings of one length at a time. The errors are those of `rules_of`."""
    units = charsmap.units.astype(np.int64)
    labels = units & (_VALUE | 0xFF)
    # every unit with a label is a child of one base
    places = np.flatnonzero((labels > 0) & (labels < _BLOCK))
    parents = places ^ labels[places]
    order = np.argsort(parents, kind="stable")
    places, parents = places[order], parents[order]
    found = units[places]
    bases = places ^ ((found >> 10) << ((found & _FAR) >> 6))
    values = units[np.minimum(bases, len(units) - 1)] & (_VALUE - 1)
    outside = (found & _LEAF > 0) & ((bases >= len(units)) | (values >= len(charsmap.strings)))
    nodes, visited = np.array([offset_of(int(units[0]))]), 0
    for _ in range(_LONGEST):
        first, after = np.searchsorted(parents, nodes, side="left"), np.searchsorted(parents, nodes, side="right")
        counts = after - first
        children = np.repeat(after - np.cumsum(counts), counts) + np.arange(counts.sum())
        if not len(children):
            return
        if outside[children].any():
            raise FormatError("a charsmap's trie points outside its table", fix="fetch the model again")
        nodes = np.unique(bases[children])
        visited += len(children)
        if visited > _MOST_UNITS:
            break
    raise FormatError("a charsmap's trie has no end, or runs in circles", fix="fetch the model again")


def children_of(units: np.ndarray, base: int) -> list[int]:
    """The bytes by which a node goes on."""
    first = base & ~(_BLOCK - 1)
    labels = np.arange(first, min(first + _BLOCK, len(units))) ^ base
    found = labels[(units[first : first + _BLOCK] & (_VALUE | 0xFF)) == labels]
    return sorted(found[found > 0].tolist())


def offset_of(unit: int) -> int:
    """How far (in exclusive or) the unit's children are."""
    return (unit >> 10) << ((unit & _FAR) >> 6)


def label_of(unit: int) -> int:
    """The byte that leads to the unit; more than 255 if it holds a value."""
    return unit & (_VALUE | 0xFF)


def has_leaf(unit: int) -> bool:
    """Whether a string ends here."""
    return unit & _LEAF != 0


def build_charsmap(mapping: Mapping[str, str]) -> bytes:
    """The compiled table of the replacements; b"" for none. Rules that end alike share their ends.

    >>> rules_of(read_charsmap(build_charsmap({"ﬁ": "fi", "Ａ": "A"}))) == {"ﬁ".encode(): b"fi", "Ａ".encode(): b"A"}
    True

    Raises:
        ConfigError: a key is empty, or a string holds U+0000, which ends strings here.
    """
    if not mapping:
        return b""
    if "" in mapping or any("\0" in key or "\0" in mapping[key] for key in mapping):
        raise ConfigError("a replacement must have something to replace, and neither side may hold U+0000")
    places: dict[str, int] = {}
    size = 0
    for target in sorted(set(mapping.values())):
        places[target] = size
        size += len(target.encode()) + 1
    units = build_trie((key.encode(), places[target]) for key, target in mapping.items())
    strings = b"".join(target.encode() + b"\0" for target in places)
    return struct.pack("<I", 4 * len(units)) + units.astype("<u4").tobytes() + strings


_Node = tuple[int, tuple[tuple[int, int], ...]]
"""(value or -1, (label, child) in order)"""


def build_trie(entries: Iterable[tuple[bytes, int]]) -> np.ndarray:
    """uint32: the double array of strings without zero bytes, each with its value.

    Raises:
        ConfigError: more than 2 million units.
    """
    nodes = _minimal_automaton(sorted(entries))
    array = _DoubleArray()
    bases = [array.place(labels_of(node)) for node in nodes]
    # nodes are numbered from the ends, so the last one is the root
    array.units[0] = _link(0, bases[-1])
    for base, (value, children) in zip(bases, nodes, strict=True):
        if value >= 0:
            array.units[base] = _VALUE | value
        for label, child in children:
            leaf = _LEAF if nodes[child][0] >= 0 else 0
            array.units[base ^ label] = _link(base ^ label, bases[child]) | leaf | label
    return array.units[: array.num_blocks * _BLOCK].copy()


def labels_of(node: _Node) -> list[int]:
    """The labels that a node's block needs room for; a value stands under 0."""
    return [0] * (node[0] >= 0) + [label for label, _ in node[1]]


def _link(place: int, base: int) -> int:
    offset = place ^ base
    if offset >= _MOST_UNITS:
        raise ConfigError("the table of replacements is too large", fix="give fewer replacements")
    return offset << 10


def _minimal_automaton(entries: list[tuple[bytes, int]]) -> list[_Node]:
    """Nodes such that no two are alike; children come before parents, the root last. Entries are sorted.

    Source: Daciuk et al. 2000, Computational Linguistics 26(1), algorithm 1.
    """
    numbers: dict[_Node, int] = {}
    # the path of the last string: (value, children so far) of each node on it
    path: list[tuple[int, list[tuple[int, int]]]] = [(-1, [])]
    last = b""

    def close(depth: int) -> None:
        while len(path) > depth + 1:
            value, children = path.pop()
            number = numbers.setdefault((value, tuple(children)), len(numbers))
            path[-1][1].append((last[len(path) - 1], number))

    for string, value in entries:
        common = 0
        while common < min(len(string), len(last)) and string[common] == last[common]:
            common += 1
        close(common)
        path.extend((-1, []) for _ in range(len(string) - common))
        path[-1] = (value, path[-1][1])
        last = string
    close(0)
    return [*numbers, (path[0][0], tuple(path[0][1]))]


class _DoubleArray:
    """Units in blocks of 256, since a node's children lie within one block."""

    def __init__(self) -> None:
        # a unit with the highest bit has no label that a byte could equal
        self.units = np.full(_BLOCK, _VALUE, dtype=np.uint32)
        self.num_blocks = 1
        self._free = np.ones((1, _BLOCK), dtype=bool)
        # two nodes with one base would take each other's children for their own
        self._unused_base = np.ones((1, _BLOCK), dtype=bool)
        self._xor = np.arange(_BLOCK)[:, None] ^ np.arange(_BLOCK)[None, :]
        self._free[0, 0] = self._unused_base[0, 0] = False
        # block -> how many nodes it had no place for
        self._open = {0: 0}

    def place(self, labels: list[int]) -> int:
        """The base of a new node, whose children's places are taken from now on."""
        for block, failures in self._open.items():
            fits = self._unused_base[block].copy()
            for label in labels:
                fits &= self._free[block][self._xor[label]]
            low = int(fits.argmax())
            if fits[low]:
                break
            self._open[block] = failures + 1
        else:
            block, low = self.num_blocks, 0
            self._grow()
            self._open = {open: failures for open, failures in self._open.items() if failures < _MOST_FAILURES}
            self._open[block] = 0
        self._unused_base[block, low] = False
        self._free[block][self._xor[low, labels]] = False
        return block * _BLOCK + low

    def _grow(self) -> None:
        self.num_blocks += 1
        if self.num_blocks > len(self._free):
            more = np.ones_like(self._free)
            self._free = np.concatenate([self._free, more])
            self._unused_base = np.concatenate([self._unused_base, more])
            self.units = np.concatenate([self.units, np.full_like(self.units, _VALUE)])
