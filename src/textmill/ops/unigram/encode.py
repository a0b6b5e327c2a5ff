"""`UnigramEncoder`: pieces of normalised text to ids, for any Unigram vocabulary."""

import threading
from collections.abc import Sequence
from typing import Self

import numpy as np

from textmill.errors import DataError
from textmill.ops.bpe.keys import bad_ends, check_block, check_out
from textmill.ops.memory import PADDING
from textmill.ops.unigram import cpu_cache as cache
from textmill.ops.unigram import cpu_emit as words
from textmill.ops.unigram import cpu_encode as kernels
from textmill.ops.unigram import cpu_viterbi as viterbi
from textmill.ops.unigram.tables import UnigramTables
from textmill.ops.unigram.vocabulary import Precision, UnigramVocabulary

DEFAULT_CACHE_BYTES = 128 << 20
OUT_SLACK = 16
"""Ids that `out` must hold beyond one for each byte: the kernel stores four at a time."""

_FIRST_BUCKETS = 1 << 12
_FIRST_ARENA_BYTES = 1 << 18
_FIRST_NODES = 1 << 10
_BYTES_PER_BLOCK = 1 << 18
_MOST_KEPT_IDS = 1 << 21
_NONE = np.empty(0, dtype=np.int32)


class UnigramEncoder:
    """Encodes pieces of normalised text: blanks written as ▁, the prefix blank in place. Deterministic.

    A piece is what the model sees at once: a whole sentence or document for the ids of `sentencepiece` (precision
    "float32"), what its pre-tokenizer makes for those of `tokenizers` ("float64"). A piece of many words is cut inside,
    and the cache of words changes the speed alone.

    A byte that belongs to no UTF-8 character is an unknown character; with byte fallback it becomes that byte's own id.
    (`sentencepiece` replaces it by U+FFFD while normalising.)

    The cache serves one thread at a time (a lock sees to that): give every thread a `clone`, which shares the tables.

    >>> from textmill.ops.memory import padded
    >>> pieces = [("<unk>", 0.0), ("▁", -2.0), ("a", -2.5), ("▁a", -3.0), ("b", -3.5)]
    >>> encoder = UnigramEncoder(pieces, unknown=0)
    >>> text = "▁a▁ab▁xyz".encode()
    >>> encoder.encode(padded(text), 0, np.array([len(text)], np.int32)).tolist()
    [3, 3, 4, 1, 0]
    """

    def __init__(
        self,
        pieces: Sequence[tuple[str, float]],
        *,
        unknown: int | None,
        byte_fallback: bool = False,
        kinds: Sequence[int] | None = None,
        precision: Precision = "float32",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        """pieces: (piece, score) by id; the other arguments: see `UnigramVocabulary.build`.

        Raises:
            ConfigError: see `UnigramVocabulary.build`.
        """
        vocabulary = UnigramVocabulary.build(
            pieces, unknown=unknown, byte_fallback=byte_fallback, kinds=kinds, precision=precision
        )
        self._share(UnigramTables(vocabulary), cache_bytes)

    @classmethod
    def from_vocabulary(cls, vocabulary: UnigramVocabulary, *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> Self:
        """An encoder of a vocabulary that is made already."""
        encoder = cls.__new__(cls)
        encoder._share(UnigramTables(vocabulary), cache_bytes)
        return encoder

    def _share(self, tables: UnigramTables, cache_bytes: int) -> None:
        self.tables = tables
        """What `UnigramLattice` takes too."""
        self._cache_limit = cache_bytes
        self._lock = threading.Lock()
        self._out = _NONE
        self._state = np.zeros(words.STATE_WORDS, dtype=np.int64)
        self._set_nodes(_FIRST_NODES)
        self._reset_cache()

    @property
    def vocabulary(self) -> UnigramVocabulary:
        """What the encoder was made from."""
        return self.tables.vocabulary

    @property
    def cache_bytes(self) -> int:
        """Bytes that the cache of words takes now."""
        return int(self._table.nbytes + self._arena.nbytes)

    def clone(self) -> Self:
        """An encoder with the same tables and a cache of its own."""
        encoder = self.__class__.__new__(self.__class__)
        encoder._share(self.tables, self._cache_limit)
        return encoder

    def encode(self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None) -> np.ndarray:
        """int32: the ids of the pieces that end at start + ends[0], start + ends[1], ...; the first begins at start.

        Raises:
            DataError: the block is not what a splitter makes (see `check_block`), its ends do not grow, or a character
                is unknown and the vocabulary has no unknown piece.
        """
        ids, _ = self._encode_in_blocks(text, start, check_block(text, start, ends, num_pieces), with_ends=False)
        return np.concatenate([_NONE, *ids])

    def encode_sentence(self, text: np.ndarray, start: int, stop: int) -> np.ndarray:
        """int32: the ids of the bytes from start to stop as one piece."""
        return self.encode(text, start, np.array([stop - start] if stop > start else [], dtype=np.int32))

    def encode_sentences(self, text: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids, int64 how many each piece has), of pieces from the first byte of the text on; see `encode`.

        The ids are good until the next call, so it is not for two threads at once: their memory is used again.
        """
        ends = check_block(text, 0, ends, None)
        needed = (int(ends[-1]) if len(ends) else 0) + OUT_SLACK
        # not for two threads at once: each works on a clone
        out = _room(self._out, needed)
        if needed <= _MOST_KEPT_IDS:
            self._out = out
        marks = np.empty(len(ends) + 1, dtype=np.int64)
        count = marks[-1] = self._encode(text, 0, ends, out, _NONE, marks)
        return out[:count], np.diff(marks)

    def encode_into(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None, out: np.ndarray
    ) -> int:
        """How many ids were written to the front of `out`: contiguous int32, an id for each byte and `OUT_SLACK` more.

        Raises:
            DataError: as in `encode`, or `out` is too small.
        """
        ends = check_block(text, start, ends, num_pieces)
        check_out(out, (int(ends[-1]) if len(ends) else 0) + OUT_SLACK)
        return self._encode(text, start, ends, out, _NONE)

    def encode_with_ends(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, int32 ends): token i ends at byte start + ends[i]. The tokens tile the pieces.

        Unknown characters in a row are one token; with byte fallback each of their bytes is one.
        """
        ids, token_ends = self._encode_in_blocks(
            text, start, check_block(text, start, ends, num_pieces), with_ends=True
        )
        return np.concatenate([_NONE, *ids]), np.concatenate([_NONE, *token_ends])

    def count(self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None) -> int:
        """How many ids `encode` gives, without keeping them."""
        ends = check_block(text, start, ends, num_pieces)
        out, total = _NONE, 0
        for first, last, origin in _blocks(ends):
            block = ends[first:last] - np.int32(origin)
            out = _room(out, int(block[-1]) + OUT_SLACK)
            total += self._encode(text, start + origin, check_block(text, start + origin, block, None), out, _NONE)
        return total

    def _encode_in_blocks(
        self, text: np.ndarray, start: int, ends: np.ndarray, *, with_ends: bool
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        ids, token_ends, out, out_ends = [], [], _NONE, _NONE
        # in blocks, so that the room for an id a byte stays small and in the CPU's cache
        for first, last, origin in _blocks(ends):
            block = ends[first:last] - np.int32(origin)
            out = _room(out, int(block[-1]) + OUT_SLACK)
            if with_ends:
                out_ends = _room(out_ends, int(block[-1]) + OUT_SLACK)
            # again: where ends do not grow, a block's last one may lie beyond the text
            block = check_block(text, start + origin, block, None)
            count = self._encode(text, start + origin, block, out, out_ends)
            ids.append(out[:count].copy())
            if with_ends:
                token_ends.append(out_ends[:count] + np.int32(origin))
        return ids, token_ends

    def _encode(
        self,
        text: np.ndarray,
        start: int,
        ends: np.ndarray,
        out: np.ndarray,
        token_ends: np.ndarray,
        marks: np.ndarray | None = None,
    ) -> int:
        """How many ids were written. marks: int64, gets the number of ids before each piece."""
        with self._lock:
            state = self._state
            state[words.MARKS] = 0 if marks is None else marks.ctypes.data
            state[[words.CURSOR, words.POSITION, words.WRITTEN, words.BLANK_CUT]] = 0
            while True:
                status = kernels.encode_block(text, start, ends, out, token_ends, self.tables.model, state)
                if status == words.DONE:
                    return int(state[words.WRITTEN])
                if status == words.CROWDED:
                    self._grow_table()
                elif status == words.ARENA_FULL:
                    self._grow_arena()
                elif status == words.NODES_SHORT:
                    self._set_nodes(2 * int(state[words.NODES_NEEDED]))
                elif status == words.BAD_ENDS:
                    raise bad_ends()
                else:
                    place = start + int(state[words.POSITION])
                    raise DataError(
                        f"the vocabulary has no unknown piece, and the word at byte {place} has an unknown character",
                        fix="give the vocabulary an unknown piece",
                    )

    def _set_nodes(self, count: int) -> None:
        self._nodes = np.empty(count * (viterbi.NODE_BYTES + viterbi.RAW_BYTES) + PADDING, dtype=np.uint8)
        self._state[words.NODES], self._state[words.NUM_NODES] = self._nodes.ctypes.data, count

    def _reset_cache(self) -> None:
        self._state[[words.INSERTED, words.ARENA_USED]] = 0
        self._set_table(_new_table(_FIRST_BUCKETS))
        self._set_arena(np.empty(_FIRST_ARENA_BYTES + cache.SPARE_BYTES, dtype=np.uint8))

    def _set_table(self, table: np.ndarray) -> None:
        self._table, state = table, self._state
        num_buckets = len(table) // 2 - 1
        state[words.TABLE] = (table.ctypes.data + 63) & ~63
        state[words.TABLE_BITS] = num_buckets.bit_length() - 1
        # twice as large, the table may still take no more than half of the cache's bytes
        state[words.MAY_GROW] = self._cache_limit >= 4 * cache.BUCKET_BYTES * num_buckets

    def _set_arena(self, arena: np.ndarray) -> None:
        self._arena = arena
        self._state[words.ARENA] = arena.ctypes.data
        self._state[words.ARENA_BYTES] = len(arena) - cache.SPARE_BYTES

    def _grow_table(self) -> None:
        grown = _new_table(2 * (len(self._table) - 2))
        cache.move_entries(self._table, grown)
        self._set_table(grown)

    def _grow_arena(self) -> None:
        size = len(self._arena) - cache.SPARE_BYTES
        # the arena may take the other half
        if 4 * size > self._cache_limit:
            # a new generation: keeping what is still in use would cost more than segmenting it again
            self._reset_cache()
            return
        used = int(self._state[words.ARENA_USED])
        grown = np.empty(2 * size + cache.SPARE_BYTES, dtype=np.uint8)
        grown[:used] = self._arena[:used]
        self._set_arena(grown)


def _blocks(ends: np.ndarray) -> list[tuple[int, int, int]]:
    """(first piece, piece after the last, byte where it begins) of runs of about `_BYTES_PER_BLOCK` bytes."""
    blocks, first, origin = [], 0, 0
    while first < len(ends):
        last = max(int(np.searchsorted(ends, origin + _BYTES_PER_BLOCK, side="right")), first + 1)
        blocks.append((first, last, origin))
        first, origin = last, int(ends[last - 1])
    return blocks


def _room(out: np.ndarray, needed: int) -> np.ndarray:
    return out if len(out) >= needed else np.empty(needed, dtype=np.int32)


def _new_table(num_buckets: int) -> np.ndarray:
    # the kernel starts at the first multiple of 64 bytes: two rows more make room for that
    return np.zeros((2 * num_buckets + 2, cache.ENTRY_WORDS), dtype=np.int64)
