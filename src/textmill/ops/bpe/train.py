"""Training BPE: from counted pieces to merges, identical to those of Hugging Face `tokenizers`.

Ties: of the pairs with the highest count, the smallest wins, comparing the left symbol, then the right one, by rank:
the bytes' `rank_of_byte` first, then the merges in order. `tokenizers` compares vocabulary ids: the same order.

No two merges make the same bytes: what happens inside the bounds of a later token cannot have been touched from
outside, so equal bytes have been joined in an equal way. (The exception in `tokenizers` is a merge that makes the very
text of a special token and takes its id. Here special tokens have no part in training.)

Source: Sennrich et al. 2016, arXiv:1508.07909; byte level as in Radford et al. 2019.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from textmill.errors import ConfigError, NotSupportedError
from textmill.ops.bpe import cpu_pairs as layout
from textmill.ops.bpe import cpu_train as kernels
from textmill.ops.bpe import cpu_window as windows
from textmill.ops.bpe.count import PieceCounts

# the bytes that the GPT-2 alphabet writes as themselves come first, in order; the others are chr(256), chr(257), ...
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_ALPHABET = [*_PRINTABLE, *sorted(set(range(256)) - set(_PRINTABLE))]
HF_BYTE_ORDER = np.argsort(_ALPHABET).astype(np.int32)
"""int32[256]: the rank of each byte among the characters of the byte-level alphabet, sorted by code point."""

_WINDOW_FACTOR = 32
"""A window reaches from the largest count down to this fraction of it: fewer windows against shorter lists."""
_SKETCH_BITS = 20
_WORK_PER_SLICE = 1 << 20
_FIRST_SLOTS = 1 << 17
_SPARE_PLACES = 1024
_NO_LIMIT = 1 << 62
_MAX_PLACES = (1 << 31) - 1


@dataclass(frozen=True, kw_only=True)
class Merges:
    """Merges in order, with how often each pair occurred when it was merged."""

    pairs: np.ndarray
    """int32[n, 2]: symbols; below 256 a byte, 256 + i what merge i makes."""
    counts: np.ndarray
    """int64[n]."""

    def __len__(self) -> int:
        return len(self.pairs)

    def token_bytes(self) -> list[bytes]:
        """The bytes of all 256 + n symbols."""
        tokens = [bytes([value]) for value in range(layout.NUM_BYTES)]
        for left, right in self.pairs.tolist():
            tokens.append(tokens[left] + tokens[right])
        return tokens


def train_merges(
    pieces: PieceCounts,
    num_merges: int,
    *,
    rank_of_byte: np.ndarray | None = None,
    min_frequency: int = 0,
    max_token_length: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Merges:
    """At most `num_merges` merges; fewer when no pair occurs `max(min_frequency, 1)` times.

    rank_of_byte: int32[256], breaks ties; `HF_BYTE_ORDER` if not given. max_token_length: as in `tokenizers`, a token
    that is joined from a merged one stays *below* this many bytes. progress: called with (merges done, merges wanted).

    >>> merges = train_merges(PieceCounts.from_mapping({b"aab": 3, b"ab": 2}), 2)
    >>> merges.pairs.tolist(), merges.counts.tolist()
    ([[97, 98], [97, 256]], [5, 3])

    Raises:
        ConfigError: num_merges or min_frequency below 0, or ranks that repeat.
        NotSupportedError: more than 2**31 bytes of distinct pieces.
    """
    if num_merges < 0 or min_frequency < 0:
        raise ConfigError(
            f"num_merges and min_frequency must be >= 0, got {num_merges} and {min_frequency}",
            fix="a vocabulary has room for its size less 256 bytes and the special tokens",
        )
    ranks = HF_BYTE_ORDER if rank_of_byte is None else np.asarray(rank_of_byte)
    if ranks.shape != (layout.NUM_BYTES,) or len(np.unique(ranks)) != layout.NUM_BYTES:
        raise ConfigError(
            f"rank_of_byte must hold 256 distinct ranks, got shape {ranks.shape}", fix="use HF_BYTE_ORDER"
        )
    trainer = _Trainer(pieces, num_merges, ranks, max(min_frequency, 1), max_token_length)
    return trainer.run(progress)


class _Trainer:
    """The arrays that the kernels work on between slices. Symbols of bytes are their ranks here."""

    def __init__(
        self, pieces: PieceCounts, num_merges: int, ranks: np.ndarray, floor: int, max_token_length: int | None
    ) -> None:
        self._byte_of_symbol = np.argsort(ranks).astype(np.int64)
        self._floor = floor
        symbol_of_byte = np.argsort(self._byte_of_symbol).astype(np.int32)
        self._weights, weight_of_piece = np.unique(pieces.counts, return_inverse=True)
        pieces_and_tables = (pieces.arena, pieces.offsets, symbol_of_byte, weight_of_piece.astype(np.int32).reshape(-1))
        self._num_places = int(windows.lay_out(*pieces_and_tables, np.empty((0, layout.TOKEN_WORDS), np.int32)))
        if self._num_places > _MAX_PLACES:
            raise NotSupportedError(
                f"training holds at most 2**31 bytes of distinct pieces, got {self._num_places}",
                fix="train on a sample, or split the text into smaller pieces",
            )
        self._tokens = np.empty((self._num_places, layout.TOKEN_WORDS), dtype=np.int32)
        windows.lay_out(*pieces_and_tables, self._tokens)
        # every merge takes a place away, so a number that is far too large costs no memory
        num_merges = min(num_merges, self._num_places)
        num_symbols = layout.NUM_BYTES + num_merges
        self._rows = np.tile(np.array([0, 0, layout.UNTOUCHED, 0], dtype=np.int64), (2 * num_symbols, 1))
        self._merges = np.zeros((num_merges, layout.MERGE_WORDS), dtype=np.int64)
        self._slots = np.empty((_FIRST_SLOTS, layout.SLOT_WORDS), dtype=np.int64)
        self._heap = np.empty((_FIRST_SLOTS, 2), dtype=np.int64)
        self._arena = np.empty(0, dtype=np.int32)
        self._state = np.zeros(layout.STATE_WORDS, dtype=np.int64)
        self._state[layout.MERGES_WANTED] = num_merges
        self._state[layout.MAX_LENGTH] = _NO_LIMIT if max_token_length is None else max_token_length

    def run(self, progress: Callable[[int, int], None] | None) -> Merges:
        status, state = self._open_window(_NO_LIMIT), self._state
        while status != kernels.FINISHED:
            state[layout.WORK] = _WORK_PER_SLICE
            status = kernels.merge_pairs(
                self._tokens, self._weights, self._slots, self._heap, self._arena, self._rows, self._merges, state
            )
            if status == kernels.WINDOW_EMPTY:
                threshold = int(state[layout.THRESHOLD])
                status = kernels.FINISHED if threshold <= self._floor else self._open_window(threshold - 1)
            elif status == kernels.SLOTS_FULL:
                self._grow_slots()
            elif status == kernels.ARENA_FULL:
                self._find_room()
            if progress is not None:
                progress(int(state[layout.NUM_MERGES]), int(state[layout.MERGES_WANTED]))
        done = self._merges[: state[layout.NUM_MERGES]]
        symbols = np.concatenate([self._byte_of_symbol, layout.NUM_BYTES + np.arange(len(done))])
        pairs = symbols[done[:, [layout.LEFT, layout.RIGHT]]].astype(np.int32)
        return Merges(pairs=pairs, counts=done[:, layout.MERGE_COUNT].copy())

    def _open_window(self, limit: int) -> int:
        """limit: no pair is more frequent, as far as the caller knows."""
        state = self._state
        sketch = np.empty(1 << min(_SKETCH_BITS, max(8, int(self._num_places).bit_length())), dtype=np.int64)
        num_places, largest = windows.close_gaps(self._tokens, self._num_places, self._weights, sketch)
        self._num_places = int(num_places)
        state[layout.THRESHOLD] = max(self._floor, min(int(largest), limit) // _WINDOW_FACTOR)
        num_slots = state[layout.NUM_SLOTS] = self._count_frequent(sketch)
        state[layout.HEAP_SIZE] = state[layout.ARENA_USED] = state[layout.MERGES_IN_WINDOW] = 0
        new_numbers = np.empty(num_slots, dtype=np.int32)
        places = windows.keep_frequent(self._slots, new_numbers, state)
        room = places + places // 2 + _SPARE_PLACES
        if len(self._arena) < room:
            self._arena = np.empty(room, dtype=np.int32)
        windows.list_places(
            self._tokens, self._num_places, self._slots, new_numbers, self._arena, self._heap, self._state
        )
        return kernels.WORK_DONE

    def _count_frequent(self, sketch: np.ndarray) -> int:
        while True:
            table = np.empty(2 * len(self._slots), dtype=np.int32)
            num_slots = windows.count_frequent(
                self._tokens, self._num_places, self._weights, sketch, table, self._slots, self._merges, self._state
            )
            if num_slots >= 0:
                return int(num_slots)
            self._grow_slots()

    def _grow_slots(self) -> None:
        self._slots = np.concatenate([self._slots, np.empty_like(self._slots)])
        self._heap = np.concatenate([self._heap, np.empty_like(self._heap)])

    def _find_room(self) -> None:
        """Most of a full arena is lists that have been merged: a fresh window drops them. A fresh one must grow."""
        if self._state[layout.MERGES_IN_WINDOW] > 0:
            self._open_window(_NO_LIMIT)
            return
        grown = np.empty(int(self._state[layout.ARENA_USED] + 2 * self._state[layout.PLACES_NEEDED]), dtype=np.int32)
        grown[: len(self._arena)] = self._arena
        self._arena = grown
