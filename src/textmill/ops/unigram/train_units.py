"""The data that Unigram training works on: units of text, the seeds found in them, and where each seed stands.

A unit is as much of a word as a piece may span (see `piece_rules`). Since a segmentation of a word is one of its units,
equal units are counted as one: "▁end", "▁end." and "▁end," share theirs.
"""

from dataclasses import dataclass

import numpy as np

from textmill.errors import DataError, NotSupportedError
from textmill.ops.bpe.count import PieceCounter, PieceCounts
from textmill.ops.memory import PADDING
from textmill.ops.split.classes import NUM_CODE_POINTS
from textmill.ops.unigram import cpu_train_seeds as seed_kernels
from textmill.ops.unigram import cpu_train_units as unit_kernels
from textmill.ops.unigram.piece_rules import PieceRules

_MOST_BYTES = 1 << 53
"""Times 255 characters, this is the largest count x length."""
_MOST_POSITIONS = (1 << 31) - 1
_SEEN_AT_LEAST = 0.5
SELDOM = (5, 4, 3)
"""Strings counted less often are no seeds, by the first of these numbers that leaves enough. Such strings seldom help
on other text: with them, a vocabulary of 32,000 pieces needs 0.8 % more tokens there, in English."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """Distinct units, one after the other; a position is a character of one, or the end of one."""

    symbols: np.ndarray
    """int32 [positions]: code point + 1, 0 at the end of a unit."""
    ends: np.ndarray
    """int64 [units]: the position of each end."""
    weights: np.ndarray
    """int64 [units]: how often each occurs."""
    remaining: np.ndarray
    """uint8 [positions]: characters up to the unit's end, at most the length of a piece."""
    unit_of: np.ndarray
    """int32 [positions]."""


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """The pieces that training begins with, and the lattice of each unit."""

    places: np.ndarray
    """int64 [pieces]: a position where each begins; -1 for a character that occurs nowhere."""
    sizes: np.ndarray
    """uint8 [pieces]: its characters. The required characters come first, then the others by falling score."""
    scores: np.ndarray
    """float64 [pieces]: log probability."""
    offsets: np.ndarray
    """int64 [positions + 1]: the edges of each position, pieces that begin there, shortest first."""
    edge_pieces: np.ndarray
    """int32 [edges]."""
    edge_lengths: np.ndarray
    """uint8 [edges]: characters of each edge's piece."""


def lay_out(words: PieceCounts, characters: np.ndarray, rules: PieceRules, max_length: int) -> Units:
    """The units of the words without the unknown characters. characters: int64, the code points that are known."""
    _check(words)
    cut = (words.arena, words.offsets, words.counts, rules.character_table(characters), rules.split_by_whitespace)
    nothing = np.empty(0, np.int64)
    num_units = unit_kernels.cut_units(*cut, nothing, nothing)
    offsets, weights = np.empty(num_units + 1, np.int64), np.empty(num_units, np.int64)
    offsets[0] = words.offsets[0]
    unit_kernels.cut_units(*cut, offsets[1:], weights)
    counter = PieceCounter()
    counter.add_counts(PieceCounts(arena=words.arena, offsets=offsets, counts=weights))
    del offsets, weights
    units = _without_uncounted(counter.counts())
    none = (np.empty(0, np.int32), nothing, np.empty(0, np.uint8), np.empty(0, np.int32))
    num_positions = unit_kernels.decode_units(units.arena, units.offsets, max_length, *none)
    if num_positions > _MOST_POSITIONS:
        raise NotSupportedError(
            f"training holds at most 2**31 characters of distinct words, got {num_positions}", fix="train on a sample"
        )
    laid_out = Units(
        symbols=np.empty(num_positions, np.int32),
        ends=np.empty(len(units), np.int64),
        weights=units.counts,
        remaining=np.empty(num_positions, np.uint8),
        unit_of=np.empty(num_positions, np.int32),
    )
    rows = (laid_out.symbols, laid_out.ends, laid_out.remaining, laid_out.unit_of)
    unit_kernels.decode_units(units.arena, units.offsets, max_length, *rows)
    return laid_out


def find_seeds(units: Units, characters: np.ndarray, seed_size: int, max_length: int, enough: int) -> Seeds:
    """All characters, and at most `seed_size` of the repeated strings, those of the largest count x length.

    enough: as long as so many strings stay, the seldom ones are left out (`SELDOM`).

    A string whose every occurrence is followed by the same character of its unit is no seed: that one more character
    long it counts as much. Of equal ones those come first that are smaller by code points.
    """
    order, lefts, rights, lengths, counts = _nodes(units, max_length)
    for least in SELDOM:
        often = counts >= least
        if np.count_nonzero(often) >= enough:
            lefts, rights, lengths, counts = lefts[often], rights[often], lengths[often], counts[often]
            break
    # by first rank, then length: the order of the strings themselves
    by_string = np.argsort(lefts.astype(np.int64) * 256 + lengths)
    values = counts[by_string] * lengths[by_string]
    by_value = by_string[_largest(values, seed_size)]
    # back to the order of strings, each with its number by value
    number_of = np.full(len(lefts), -1, np.int32)
    number_of[by_value] = np.arange(len(characters), len(characters) + len(by_value), dtype=np.int32)
    kept = by_string[number_of[by_string] >= 0]
    character_counts, first_places, number_of_symbol = _characters(units, characters)
    offsets, edge_pieces, edge_lengths = _edges(
        order, (lefts[kept], rights[kept], lengths[kept], number_of[kept]), number_of_symbol[units.symbols]
    )
    frequencies = np.concatenate(
        [np.maximum(character_counts, _SEEN_AT_LEAST), (counts[by_value] * lengths[by_value]).astype(np.float64)]
    )
    return Seeds(
        places=np.concatenate([first_places, order[lefts[by_value]].astype(np.int64)]),
        sizes=np.concatenate([np.ones(len(characters), np.uint8), lengths[by_value]]),
        scores=np.log(frequencies) - np.log(frequencies.sum()),
        offsets=offsets,
        edge_pieces=edge_pieces,
        edge_lengths=edge_lengths,
    )


def _check(words: PieceCounts) -> None:
    """What the kernels rely on.

    Raises:
        DataError: arrays that no counting makes, or counts too large to be added up.
    """
    arena, offsets, counts = words.arena, words.offsets, words.counts
    good = arena.dtype == np.uint8 and offsets.dtype == counts.dtype == np.int64
    good = good and arena.ndim == offsets.ndim == counts.ndim == 1 and len(offsets) == len(counts) + 1
    good = good and all(array.flags.c_contiguous for array in (arena, offsets, counts))
    good = good and offsets[0] >= 0 and offsets[-1] + PADDING <= len(arena) and bool((np.diff(offsets) > 0).all())
    if not good or (counts < 0).any():
        raise DataError(
            "counted words are a padded arena of bytes with growing offsets and a count >= 0 for each",
            fix="use PieceCounter or PieceCounts.from_mapping",
        )
    total = float((np.diff(offsets) * counts.astype(np.float64)).sum())
    if total > _MOST_BYTES:
        raise DataError(f"words may have at most 2**53 bytes in all, got {total:.3g}", fix="divide the counts")


def _without_uncounted(units: PieceCounts) -> PieceCounts:
    """Without the units of weight 0: unknown characters, and words that were counted 0 times."""
    counted = units.counts > 0
    sizes = np.diff(units.offsets)
    in_counted = np.repeat(counted, sizes)
    arena = np.concatenate([units.arena[: len(in_counted)][in_counted], np.zeros(PADDING, np.uint8)])
    offsets = np.concatenate([[0], np.cumsum(sizes[counted])]).astype(np.int64)
    return PieceCounts(arena=arena, offsets=offsets, counts=units.counts[counted])


def _nodes(units: Units, max_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The sorted order of suffixes, and of each repeated string the first and last rank, characters and count."""
    keys = np.empty(len(units.symbols), np.int64)
    seed_kernels.pack_keys(units.symbols, keys)
    # the ends of units have key 0 and come first
    order = np.argsort(keys)[len(units.ends) :].astype(np.int32)
    shared = np.empty(len(order) + 1, np.uint8)
    seed_kernels.sort_suffixes(keys, order, max_length, shared)
    del keys
    ranked = (order, shared, units.remaining[order], units.weights[units.unit_of[order]], units.symbols)
    nodes = [np.empty(0, dtype) for dtype in (np.int32, np.int32, np.uint8, np.int64)]
    num_nodes = seed_kernels.list_nodes(*ranked, *nodes)
    lefts, rights, lengths, counts = (np.empty(num_nodes, array.dtype) for array in nodes)
    seed_kernels.list_nodes(*ranked, lefts, rights, lengths, counts)
    return order, lefts, rights, lengths, counts


def _largest(values: np.ndarray, most: int) -> np.ndarray:
    """int64: where the `most` largest values are, the largest first, of equal ones the first."""
    if len(values) > most:
        smallest = np.partition(values, len(values) - most)[len(values) - most]
        above = np.flatnonzero(values > smallest)
        equal = np.flatnonzero(values == smallest)[: most - len(above)]
        kept = np.sort(np.concatenate([above, equal]))
    else:
        kept = np.arange(len(values))
    return kept[np.argsort(-values[kept], kind="stable")]


def _characters(units: Units, characters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each character its count (float64) and a position; and the number of each symbol's character."""
    number_of_symbol = np.full(NUM_CODE_POINTS + 1, -1, np.int32)
    number_of_symbol[characters + 1] = np.arange(len(characters), dtype=np.int32)
    at = np.flatnonzero(units.symbols)
    numbers = number_of_symbol[units.symbols[at]]
    counts = np.bincount(numbers, weights=units.weights[units.unit_of[at]], minlength=len(characters))
    places = np.full(len(characters), -1, np.int64)
    # of several writes to one place the last one stays
    places[numbers[::-1]] = at[::-1]
    return counts, places, number_of_symbol


def _edges(
    order: np.ndarray, nodes: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], singles: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets by position, pieces and lengths of the edges."""
    offsets = np.zeros(len(singles) + 1, np.int64)
    seed_kernels.list_edges(order, *nodes, singles, offsets, np.empty(0, np.int32), np.empty(0, np.uint8))
    np.cumsum(offsets, out=offsets)
    num_edges = int(offsets[-1])
    edge_pieces, edge_lengths = np.empty(num_edges, np.int32), np.empty(num_edges, np.uint8)
    seed_kernels.list_edges(order, *nodes, singles, offsets, edge_pieces, edge_lengths)
    # each offset has moved on to where the next one began
    offsets[1:] = offsets[:-1]
    offsets[0] = 0
    return offsets, edge_pieces, edge_lengths
