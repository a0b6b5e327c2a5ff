"""Code points sorted into the few classes that a set of patterns can tell apart."""

import numpy as np

from textmill.ops.split.classes import (
    CATEGORIES,
    NUM_CODE_POINTS,
    SCRIPTS,
    category_table,
    punctuation_table,
    script_table,
    space_table,
    word_table,
)
from textmill.ops.split.syntax import GROUPS, Symbols, Unsupported

MOST_CLASSES = 250
"""A class is one byte, and 0 stands for the end of the text."""


def partition(sets: list[Symbols]) -> tuple[np.ndarray, np.ndarray]:
    """(class of each code point, which classes each set holds).

    The first is uint8 [code points], from 1 on. The second is bool [sets, classes + 1], where column 0, the end of the
    text, is False. Two code points are in one class if no set holds one of them alone.

    Raises:
        Unsupported: there are more than `MOST_CLASSES`.
    """
    names = {name for symbols in sets for name, _ in symbols.properties}
    tables = {name: _property_table(name) for name in sorted(names)}
    edges = [np.array([0], np.int64)]
    edges += [np.flatnonzero(np.diff(table)) + 1 for table in tables.values()]
    edges += [np.array([low, high + 1], np.int64) for symbols in sets for low, high in symbols.ranges]
    starts = np.unique(np.concatenate(edges))
    starts = starts[starts < NUM_CODE_POINTS]
    # column j: whether the code points from starts[j] to the next start are in each set
    holds = np.zeros((len(sets), len(starts)), np.bool_)
    for row, symbols in zip(holds, sets, strict=True):
        for low, high in symbols.ranges:
            row |= (starts >= low) & (starts <= high)
        for name, negated in symbols.properties:
            row |= (tables[name][starts] == 0) if negated else (tables[name][starts] != 0)
        row ^= symbols.negated
    kinds, of_stretch = np.unique(np.packbits(holds, axis=0), axis=1, return_inverse=True)
    if kinds.shape[1] > MOST_CLASSES:
        raise Unsupported(f"more than {MOST_CLASSES} classes of symbols")
    members = np.unpackbits(kinds, axis=0, count=len(sets)).astype(np.bool_)
    lengths = np.diff(np.append(starts, NUM_CODE_POINTS))
    classes = np.repeat((of_stretch.ravel() + 1).astype(np.uint8), lengths)
    return classes, np.concatenate([np.zeros((len(sets), 1), np.bool_), members], axis=1)


def _property_table(name: str) -> np.ndarray:
    """uint8 [code points]: not 0 for those that have the property."""
    whole = {"White_Space": space_table, "Word": word_table, "Punctuation": punctuation_table}
    if name in whole:
        return whole[name]()
    if name in SCRIPTS:
        return (script_table() == SCRIPTS.index(name)).view(np.uint8)
    of_category = np.zeros(len(CATEGORIES), np.uint8)
    of_category[[CATEGORIES.index(member) for member in GROUPS.get(name, (name,))]] = 1
    return of_category[category_table()]
