"""The loop of BPE training around its kernels, for any first symbols: bytes, characters, the tokens of a first stage.

`cpu_train` tells how it works. This module owns the arrays between calls of the kernels, and makes them larger.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from textmill.errors import ConfigError, NotSupportedError
from textmill.ops.bpe import cpu_layout, cpu_train
from textmill.ops.bpe import cpu_pairs as layout
from textmill.ops.bpe import cpu_window as windows
from textmill.ops.bpe.symbols import SymbolTable

Progress = Callable[[int, int], None]
"""Called with (new symbols so far, new symbols wanted)."""

WINDOW_FACTOR = 32
"""A window reaches from the largest count down to this fraction of it: fewer windows against shorter lists."""
SKETCH_BITS = 20
WORK_PER_SLICE = 1 << 20
FIRST_SLOTS = 1 << 17
SPARE_PLACES = 1024
_MERGES_PER_GROWTH = 1 << 10
NO_LIMIT = 1 << 62
_MAX_PLACES = (1 << 31) - 1


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Counted pieces as symbols."""

    symbols: np.ndarray
    """int32: the symbols of one piece after the other; -1 inside a piece cuts it there."""
    offsets: np.ndarray
    """int64[n + 1]: piece i is symbols[offsets[i] : offsets[i + 1]]."""
    counts: np.ndarray
    """int64[n]."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which pairs may be merged."""

    min_frequency: int = 0
    """A pair must occur so often, and at least once."""
    max_token_length: int | None = None
    """A token that is joined from a merged one stays below this length, as in `tokenizers`."""
    max_words: int = 0
    """A token holds at most so many words, and no newline takes part in a merge; 0 for no such rule."""

    def __post_init__(self) -> None:
        if self.min_frequency < 0:
            raise ConfigError(f"min_frequency must be >= 0, got {self.min_frequency}", fix="0 allows every pair")
        if self.max_token_length is not None and self.max_token_length < 0:
            raise ConfigError(f"max_token_length must be >= 0, got {self.max_token_length}", fix="leave it out")
        if self.max_words < 0:
            raise ConfigError(f"max_words must be >= 0, got {self.max_words}", fix="0 allows any number")


def replay(stream: Stream, pairs: np.ndarray, products: np.ndarray) -> Stream:
    """The stream after merges in order: pairs int32[n, 2] and products int32[n] as symbols. Takes its arrays over.

    Raises:
        ConfigError: a pair stands twice.
    """
    table = np.empty((1 << (2 * len(pairs) + 1).bit_length(), 2), dtype=np.int64)
    twice = int(cpu_layout.fill_ranks(np.ascontiguousarray(pairs, dtype=np.int32), table))
    if twice >= 0:
        raise ConfigError(f"merge {twice} stands earlier in the list already", fix="give every merge once")
    symbols, offsets = stream.symbols, stream.offsets.copy()
    longest = int(np.diff(offsets).max(initial=0)) + 1
    scratch = (np.empty(longest, np.int32), np.empty(longest, np.int32), np.empty(3 * longest, np.int64))
    cpu_layout.replay(symbols, offsets, table, np.ascontiguousarray(products, dtype=np.int32), *scratch)
    return Stream(symbols=symbols[: offsets[-1]].copy(), offsets=offsets, counts=stream.counts)


class Trainer:
    """Merges over a stream until the table of symbols is full or no pair is left. Runs once.

    Which pair comes next is up to the kernel that `merge` runs and to what `open_window` prepares for it.
    """

    def __init__(self, stream: Stream, symbols: SymbolTable, *, num_initial: int, rules: Rules) -> None:
        """num_initial: the first symbols, which are never too long for one another; those after them were merged."""
        self.symbols = symbols
        self.floor = max(rules.min_frequency, 1)
        self.weights, weight_of_piece = np.unique(stream.counts, return_inverse=True)
        laid_out = (stream.symbols, stream.offsets, weight_of_piece.astype(np.int32).reshape(-1))
        self.num_places = int(cpu_layout.lay_out(*laid_out, np.empty((0, layout.TOKEN_WORDS), np.int32)))
        if self.num_places > _MAX_PLACES:
            raise too_much(self.num_places)
        self.tokens = np.empty((self.num_places, layout.TOKEN_WORDS), dtype=np.int32)
        cpu_layout.lay_out(*laid_out, self.tokens)
        wanted = symbols.wanted
        self.rows = np.tile(np.array([0, 0, layout.UNTOUCHED, 0], dtype=np.int64), (2 * wanted, 1))
        self.merges = np.zeros((wanted - len(symbols.names), layout.MERGE_WORDS), dtype=np.int64)
        self.slots = np.empty((FIRST_SLOTS, layout.SLOT_WORDS), dtype=np.int64)
        self._heap = np.empty((FIRST_SLOTS, 2), dtype=np.int64)
        self.arena = np.empty(0, dtype=np.int32)
        self._named = 0
        state = self.state = np.zeros(layout.STATE_WORDS, dtype=np.int64)
        state[layout.NUM_INITIAL] = num_initial
        state[layout.NUM_SYMBOLS], state[layout.SYMBOLS_WANTED] = len(symbols.names), wanted
        state[layout.MAX_LENGTH] = NO_LIMIT if rules.max_token_length is None else rules.max_token_length
        state[layout.MAX_WORDS] = rules.max_words
        state[layout.PRODUCT] = cpu_train.UNKNOWN

    def run(self, progress: Progress | None = None) -> np.ndarray:
        """int64[n, 4]: left, right, count and made symbol of each merge. The table of symbols has their names."""
        state, first = self.state, len(self.symbols.names)
        status = self.open_window(NO_LIMIT)
        while status != cpu_train.FINISHED:
            state[layout.WORK] = WORK_PER_SLICE
            status = self._answer(self.merge())
            if progress is not None:
                progress(int(state[layout.NUM_SYMBOLS]) - first, self.symbols.wanted - first)
        self._catch_up()
        return self.merges[: state[layout.NUM_MERGES]]

    def merge(self) -> int:
        """Runs the kernel; why it stopped."""
        arrays = (self.tokens, self.weights, self.slots, self._heap, self.arena, self.rows, self.merges)
        return int(cpu_train.merge_pairs(*arrays, self.symbols.rows, self.symbols.hashes, self.state))

    def _answer(self, status: int) -> int:
        """Gives the kernel what it stopped for; the status to go on with."""
        state = self.state
        if status == cpu_train.WINDOW_EMPTY:
            threshold = int(state[layout.THRESHOLD])
            return cpu_train.FINISHED if threshold <= self.floor else self.open_window(threshold - 1)
        if status == cpu_train.PRODUCT_KNOWN:
            return self.open_window(NO_LIMIT)
        if status == cpu_train.SLOTS_FULL:
            self.grow_slots()
        elif status == cpu_train.ARENA_FULL:
            self._find_room()
        elif status == cpu_train.MERGES_FULL:
            self.merges = np.concatenate(
                [self.merges, np.zeros((_MERGES_PER_GROWTH, layout.MERGE_WORDS), dtype=np.int64)]
            )
        elif status == cpu_train.CHECK_NAME:
            self._catch_up()
            left, right = int(state[layout.CHECKED_LEFT]), int(state[layout.CHECKED_RIGHT])
            state[layout.PRODUCT] = self.symbols.product(left, right)
        return status

    def _catch_up(self) -> None:
        done = int(self.state[layout.NUM_MERGES])
        self.symbols.catch_up(self.merges[self._named : done])
        self._named = done

    def open_window(self, limit: int) -> int:
        """The status to go on with. limit: no pair is more frequent, as far as the caller knows."""
        state = self.state
        sketch = np.empty(1 << min(SKETCH_BITS, max(8, int(self.num_places).bit_length())), dtype=np.int64)
        num_places, largest = windows.close_gaps(self.tokens, self.num_places, self.weights, sketch)
        self.num_places = int(num_places)
        state[layout.THRESHOLD] = self.threshold(min(int(largest), limit))
        num_slots = state[layout.NUM_SLOTS] = self._count_frequent(sketch)
        state[layout.HEAP_SIZE] = state[layout.ARENA_USED] = state[layout.MERGES_IN_WINDOW] = 0
        new_numbers = np.empty(num_slots, dtype=np.int32)
        places = windows.keep_frequent(self.slots, new_numbers, state)
        room = places + places // 2 + SPARE_PLACES
        if len(self.arena) < room:
            self.arena = np.empty(room, dtype=np.int32)
        windows.list_places(self.tokens, self.num_places, self.slots, new_numbers, self.arena, self._heap, state)
        return cpu_train.WORK_DONE

    def threshold(self, largest: int) -> int:
        """The count that a pair of the next window has at least, where the most frequent one has at most `largest`."""
        return max(self.floor, largest // WINDOW_FACTOR)

    def _count_frequent(self, sketch: np.ndarray) -> int:
        arguments = (self.symbols.rows, self.state)
        # the last window's pairs are not needed any more
        self.state[layout.NUM_SLOTS] = 0
        while True:
            table = np.empty(2 * len(self.slots), dtype=np.int32)
            num_slots = windows.count_frequent(
                self.tokens, self.num_places, self.weights, sketch, table, self.slots, *arguments
            )
            if num_slots >= 0:
                return int(num_slots)
            self.grow_slots(4)

    def grow_slots(self, factor: int = 2) -> None:
        """`factor` times the room for pairs."""
        self.slots = longer(self.slots, factor, int(self.state[layout.NUM_SLOTS]))
        self._heap = longer(self._heap, factor, int(self.state[layout.HEAP_SIZE]))

    def _find_room(self) -> None:
        """Most of a full arena is lists that have been merged: a fresh window drops them. A fresh one must grow."""
        if self.state[layout.MERGES_IN_WINDOW] > 0:
            self.open_window(NO_LIMIT)
            return
        grown = np.empty(int(self.state[layout.ARENA_USED] + 2 * self.state[layout.PLACES_NEEDED]), dtype=np.int32)
        grown[: len(self.arena)] = self.arena
        self.arena = grown


def longer(array: np.ndarray, factor: int, used: int) -> np.ndarray:
    """A longer array with the first `used` rows of this one; the others take no memory until they are written."""
    grown = np.empty((factor * len(array), *array.shape[1:]), dtype=array.dtype)
    grown[:used] = array[:used]
    return grown


def too_much(num_places: int) -> NotSupportedError:
    """The error for pieces that do not fit the 32-bit places of training."""
    return NotSupportedError(
        f"training holds at most 2**31 symbols of distinct pieces, got {num_places}",
        fix="train on a sample, or split the text into smaller pieces",
    )
