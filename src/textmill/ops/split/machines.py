"""From a pattern to a machine that has been seen to agree with the `regex` module."""

import random
import unicodedata

import numpy as np

from textmill.errors import DataError
from textmill.ops.memory import padded
from textmill.ops.split.automaton import Machine, machine
from textmill.ops.split.classes import CATEGORIES, category_table
from textmill.ops.split.cpu_machine import split_by_machine
from textmill.ops.split.reference import marked_ends
from textmill.ops.split.syntax import Unsupported, parse, written

_SEED = 16
_TEXTS = 120
_LONGEST = 16
_SAMPLES = 4
_SAMPLED_BELOW = 0x20000
_ANY_CASE = "(?i"
_TURKISH_I = (0x130, 0x131)
"""In any case, the `regex` module alone takes these for an i."""


def build(pattern: str, *, internal: bool = False) -> Machine:
    """The machine of a pattern, unchecked.

    Raises:
        Unsupported: the pattern is outside what machines can do.
    """
    return machine(parse(pattern, internal=internal))


def checked(pattern: str) -> Machine | None:
    """The machine of a pattern, if there is one and it agrees with the `regex` module on generated texts."""
    try:
        tree = parse(pattern)
        found = machine(tree)
        agrees = _agrees(found, pattern) or (_ANY_CASE in pattern and _agrees(found, written(tree)))
        return found if agrees else None
    except (Unsupported, DataError):
        return None


def pieces_by_machine(found: Machine, data: bytes) -> tuple[list[int], list[bool]]:
    """(end of each piece, whether it is a match), as from `marked_ends`."""
    ends, marks = np.empty(len(data) + 1, np.int32), np.empty(len(data) + 1, np.uint8)
    count = split_by_machine(padded(data), 0, len(data), ends, marks, *found.tables)
    return ends[:count].tolist(), marks[:count].astype(bool).tolist()


def _agrees(found: Machine, pattern: str) -> bool:
    chooser = random.Random(_SEED)
    pools = samples(found.classes)
    for _ in range(_TEXTS):
        # few classes a text, so that its runs are long
        few = chooser.choices(pools, k=chooser.randint(1, 5))
        text = "".join(chooser.choice(chooser.choice(few)) for _ in range(chooser.randint(1, _LONGEST)))
        data = text.encode("utf-8", "surrogateescape")
        ends, matches = marked_ends(pattern, data, seconds=1.0)
        if (ends.tolist(), matches.tolist()) != pieces_by_machine(found, data):
            return False
    return True


def samples(classes: np.ndarray) -> list[list[str]]:
    """For each class of code points, a few whose general category has not changed between versions of Unicode."""
    chooser = random.Random(_SEED)
    known = classes[:_SAMPLED_BELOW]
    order = np.argsort(known, kind="stable")
    pools = []
    for members in np.split(order, np.flatnonzero(np.diff(known[order])) + 1):
        chosen = [*members[: 2 * _SAMPLES].tolist(), *chooser.choices(members.tolist(), k=4 * _SAMPLES)]
        stable = [chr(code) for code in chosen if _is_stable(code)]
        # the first ones are ASCII if any are, the others come from anywhere
        pool = [*stable[:_SAMPLES], *stable[-_SAMPLES:]]
        if pool:
            pools.append(pool)
    return pools


def _is_stable(code: int) -> bool:
    if code in _TURKISH_I:
        return False
    category = unicodedata.category(chr(code))
    if category == "Cs":
        # only those that stand for a byte can be in a text
        return 0xDC80 <= code <= 0xDCFF
    return category not in ("Cn", "Co") and category == CATEGORIES[category_table()[code]]
