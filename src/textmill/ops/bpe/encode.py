"""`BpeEncoder`: pieces to ids, for any byte-level BPE vocabulary."""

import threading
from collections.abc import Mapping
from typing import Self

import numpy as np

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.bpe import cpu_dropout as dropout
from textmill.ops.bpe import cpu_encode as kernels
from textmill.ops.bpe import cpu_spans as spans_kernels
from textmill.ops.bpe import cpu_vocabulary as vocabulary
from textmill.ops.bpe.keys import bad_ends, check_block, check_out
from textmill.ops.bpe.tables import NO_LIMIT, Tables, add_vocabulary, contents_of, new_table
from textmill.ops.memory import PADDING

DEFAULT_CACHE_BYTES = 128 << 20
OUT_SLACK = kernels.OUT_SLACK

LONGEST_RANKED = 1 << 12
"""Bytes of a token of `from_ranks`: how it is merged is found in quadratic time. Published ones have 128 and fewer."""

# a power of two, and two at least
_FIRST_BUCKETS = 1 << 12
_FIRST_ARENA_BYTES = 1 << 18
_GROWTH = 4
_MANY_BUCKETS = 1 << 16
"""A table of so many grows in smaller steps."""
_BUCKETS_PER_PIECE = 2
"""With so few pieces in it a table grows: two frequent pieces in one bucket change places again and again."""
_PIECES_PER_BLOCK = 1 << 15
_MAX_ID = (1 << 31) - 1
_MOST_IDS_AT_ONCE = 1 << 28
_NO_MARKS = np.empty(0, dtype=np.int64)


class FlatIds:
    """The ids of one text after another, in one int32 array that is made once and cut to size at the end."""

    def __init__(self, num_bytes: int) -> None:
        """num_bytes: of the texts, if known. Memory that no id is written to costs nothing."""
        most = num_bytes if num_bytes <= _MOST_IDS_AT_ONCE else num_bytes // 2
        self.array = np.empty(most + OUT_SLACK, dtype=np.int32)
        self.count = 0

    @classmethod
    def within(cls, array: np.ndarray) -> "FlatIds":
        """Ids that go to a part of an array, which has room for them."""
        made = cls.__new__(cls)
        made.array, made.count = array, 0
        return made

    def grow(self, used: int, needed: int) -> None:
        """Makes room for so many ids beyond those used."""
        self.array.resize(max(used + needed, len(self.array) * 3 // 2), refcheck=False)

    def take(self) -> np.ndarray:
        """int32: the ids. Nothing can be added any more."""
        array, self.array = self.array, np.empty(0, dtype=np.int32)
        # gives back what was not used, without a copy
        array.resize(self.count, refcheck=False)
        return array


class BpeEncoder:
    """Encodes the pieces of a text. Deterministic; the piece cache changes the speed alone.

    The cache serves one thread at a time (a lock sees to that): give every thread a `clone`, which shares the tables.

    >>> from textmill.ops.memory import PADDING, padded
    >>> encoder = BpeEncoder.from_merges(np.arange(256, dtype=np.int32), np.array([[97, 98, 256]], np.int32))
    >>> encoder.encode(padded(b"abba"), 0, np.array([4], np.int32)).tolist()
    [256, 98, 97]
    """

    def __init__(self, tables: Tables, cache_bytes: int) -> None:
        """Use `from_merges` or `from_ranks`."""
        self._tables = tables
        self._cache_limit = cache_bytes
        self._lock = threading.Lock()
        self._state = np.zeros(kernels.STATE_WORDS, dtype=np.int64)
        self._reset_cache()

    @classmethod
    def from_merges(
        cls,
        byte_ids: np.ndarray,
        merges: np.ndarray,
        whole_pieces: Mapping[bytes, int] | None = None,
        *,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> Self:
        """From the id of each byte and rows (left id, right id, product id), most urgent first.

        As in `tokenizers`, a row may build on later ones, a pair that stands twice has the rank of its last row, and a
        row whose parts nothing makes never applies.

        whole_pieces: a piece found here becomes that one id without merging (`ignore_merges` of `tokenizers`).

        Raises:
            ConfigError: a wrong shape, an id below 0, or an id that stands for two different strings of bytes.
        """
        byte_ids, merges = np.asarray(byte_ids, dtype=np.int32), np.asarray(merges, dtype=np.int32).reshape(-1, 3)
        if byte_ids.shape != (256,) or byte_ids.min() < 0 or len(np.unique(byte_ids)) != 256:
            raise ConfigError(
                "byte_ids must hold 256 distinct ids >= 0", fix="a byte-level vocabulary has all 256 bytes"
            )
        if merges.size and merges.min() < 0:
            raise ConfigError(
                f"ids in merges must be >= 0, got {merges.min()}", fix="look every token up in the vocabulary"
            )
        whole = dict(whole_pieces or {})
        return cls(Tables(byte_ids, merges, whole, contents_of(byte_ids, merges, whole)), cache_bytes)

    @classmethod
    def from_ranks(cls, ranks: Mapping[bytes, int], *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> Self:
        """From a `tiktoken` vocabulary: bytes -> id, where a lower id is merged first.

        Raises:
            ConfigError: a byte is missing, an id repeats, or a token is empty.
            NotSupportedError: a token of more than `LONGEST_RANKED` bytes.
        """
        tokens = sorted(ranks, key=ranks.__getitem__)
        missing = [value for value in range(256) if bytes([value]) not in ranks]
        if missing:
            raise ConfigError(f"ranks must hold all 256 single bytes, {bytes(missing[:1])!r} is missing", fix="add it")
        ids = np.array([ranks[token] for token in tokens], dtype=np.int64)
        if ids[0] < 0 or ids[-1] > _MAX_ID or (np.diff(ids) == 0).any() or b"" in ranks:
            raise ConfigError(
                "ranks must map non-empty tokens to distinct ids in 0..2**31-1", fix="check the rank file"
            )
        longest = max(len(token) for token in tokens)
        if longest > LONGEST_RANKED:
            raise NotSupportedError(
                f"a ranked token may have at most {LONGEST_RANKED} bytes, got {longest}", fix="check the rank file"
            )
        merges = np.empty((len(tokens), 3), dtype=np.int32)
        words = np.zeros(vocabulary.VOCABULARY_WORDS, dtype=np.int64)
        owned = add_vocabulary(words, tokens, ids.astype(np.int32))
        vocabulary.derive_merges(words, longest, owned[-1], merges)
        byte_ids = np.array([ranks[bytes([value])] for value in range(256)], dtype=np.int32)
        contents: list[bytes] = [b""] * (int(ids[-1]) + 1)
        for token, number in ranks.items():
            contents[number] = token
        return cls(Tables(byte_ids, merges, dict(ranks), contents), cache_bytes)

    @property
    def cache_bytes(self) -> int:
        """Bytes that the piece cache takes now."""
        return int(self._table.nbytes + self._arena.nbytes)

    def clone(self) -> "BpeEncoder":
        """An encoder with the same tables and a cache of its own."""
        return BpeEncoder(self._tables, self._cache_limit)

    def encode(self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None) -> np.ndarray:
        """int32: the ids of the pieces that end at start + ends[0], start + ends[1], ...; the first begins at start.

        Raises:
            DataError: the block is not what a splitter makes (see `check_block`), or its ends do not grow.
        """
        ends = check_block(text, start, ends, num_pieces)
        blocks, out, origin = [np.empty(0, dtype=np.int32)], np.empty(0, dtype=np.int32), 0
        # in blocks, so that the room for an id a byte stays small and in the CPU's cache
        for first in range(0, len(ends), _PIECES_PER_BLOCK):
            block = ends[first : first + _PIECES_PER_BLOCK] - np.int32(origin)
            needed = max(0, int(block[-1])) + OUT_SLACK
            if len(out) < needed:
                out = np.empty(needed, dtype=np.int32)
            blocks.append(out[: self.encode_into(text, start + origin, block, None, out)].copy())
            origin += int(block[-1])
        return np.concatenate(blocks)

    def encode_into(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None, out: np.ndarray
    ) -> int:
        """How many ids were written to the front of `out`: contiguous int32, an id for each byte and `OUT_SLACK` more.

        Raises:
            DataError: as in `encode`, or `out` is too small.
        """
        ends = check_block(text, start, ends, num_pieces)
        check_out(out, (int(ends[-1]) if len(ends) else 0) + OUT_SLACK)
        with self._lock:
            self._state[kernels.WRITTEN] = 0
            self._encode(text, start, ends, _NO_MARKS, _NO_MARKS, FlatIds.within(out))
            return int(self._state[kernels.WRITTEN])

    def encode_flat(
        self, text: np.ndarray, start: int, ends: np.ndarray, marks: np.ndarray, into: FlatIds
    ) -> np.ndarray:
        """Appends the ids of the pieces to `into`. int64: for each mark, the ids that `into` then holds before it.

        marks: int64 numbers of pieces, not decreasing: where documents end.

        Raises:
            DataError: as in `encode`.
        """
        ends, mark_ids = check_block(text, start, ends, None), np.empty(len(marks), dtype=np.int64)
        with self._lock:
            self._state[kernels.WRITTEN] = into.count
            self._encode(text, start, ends, marks, mark_ids, into)
            into.count = int(self._state[kernels.WRITTEN])
        return mark_ids

    def encode_with_ends(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, int32 ends): token i ends at byte start + ends[i]. The tokens tile the pieces."""
        ids = self.encode(text, start, ends, num_pieces)
        return ids, self.bounds(ids)[1:]

    def encode_with_dropout(
        self,
        text: np.ndarray,
        start: int,
        ends: np.ndarray,
        num_pieces: int | None = None,
        *,
        probability: float,
        seed: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, int32 ends) with BPE-dropout: at every step each merge that is possible is dropped with `probability`.

        0 drops nothing, 1 leaves bytes. With dropout, whole pieces are merged like any other. The result follows from
        the arguments alone; a piece that comes again further on is encoded in its own way.

        Raises:
            ConfigError: a probability outside 0..1, or a seed outside 0..2**64-1.
            DataError: as in `encode`.
        """
        if not 0 <= probability <= 1:
            raise ConfigError(f"probability must be in 0..1, got {probability}", fix="BPE-dropout uses 0.1")
        if not 0 <= seed < 1 << 64:
            raise ConfigError(f"seed must be in 0..2**64-1, got {seed}", fix="choose another seed")
        ends = check_block(text, start, ends, num_pieces)
        if probability == 0:
            return self.encode_with_ends(text, start, ends)
        out = np.empty(max(0, int(ends[-1])) if len(ends) else 0, dtype=np.int32)
        threshold = int(probability * (1 << dropout.DRAW_BITS))
        count = dropout.encode_dropping(text, start, ends, out, threshold, np.uint64(seed), self._tables.model)
        if count < 0:
            raise bad_ends()
        ids = out[:count].copy()
        return ids, self.bounds(ids)[1:]

    def bounds(self, ids: np.ndarray) -> np.ndarray:
        """int32[ids + 1]: where each token begins, and where the last one ends, in the bytes of the ids.

        Raises:
            DataError: an id that this encoder never gives.
        """
        bounds = np.empty(len(ids) + 1, dtype=np.int32)
        if not spans_kernels.add_up(ids, self._tables.lengths, bounds):
            raise _foreign_ids()
        return bounds

    def character_spans(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int32 starts, int32 ends): token i has at least one byte of each of the characters starts[i] to ends[i] - 1.

        Characters are counted in the bytes of the ids. A byte that continues no character counts to the one before it.

        Raises:
            DataError: an id that this encoder never gives.
        """
        # one request for both: each takes the system some time
        starts, ends = np.empty((2, len(ids)), dtype=np.int32)
        if not spans_kernels.add_up_characters(ids, self._tables.begun, starts, ends):
            raise _foreign_ids()
        return starts, ends

    def _encode(
        self,
        text: np.ndarray,
        start: int,
        ends: np.ndarray,
        marks: np.ndarray,
        mark_ids: np.ndarray,
        into: FlatIds,
    ) -> None:
        state = self._state
        state[kernels.CURSOR] = state[kernels.MARK] = 0
        while status := kernels.encode_block(
            text, start, ends, marks, mark_ids, into.array, self._table, self._arena, self._tables.model, state
        ):
            if status == kernels.BAD_ENDS:
                raise bad_ends()
            if status == kernels.CROWDED:
                self._grow_table()
            elif status == kernels.ARENA_FULL:
                self._grow_arena()
            elif status == kernels.OUT_FULL:
                into.grow(int(state[kernels.WRITTEN]), int(ends[-1]) + OUT_SLACK)

    def _reset_cache(self) -> None:
        self._table = new_table(_FIRST_BUCKETS)
        self._arena = np.empty(_FIRST_ARENA_BYTES + PADDING, dtype=np.uint8)
        self._state[kernels.INSERTED] = self._state[kernels.ARENA_USED] = 0
        self._let_grow()

    def _grow_table(self) -> None:
        num_buckets = self._num_buckets()
        # a large table costs time before it is used: the system hands out its pages one by one
        growth = 2 if num_buckets >= _MANY_BUCKETS else _GROWTH
        grown = new_table(min(growth * num_buckets, self._most_buckets()))
        kernels.move_entries(self._table, grown)
        self._table = grown
        self._let_grow()

    def _let_grow(self) -> None:
        num_buckets = self._num_buckets()
        may_grow = num_buckets < self._most_buckets()
        self._state[kernels.MOST_INSERTED] = num_buckets // _BUCKETS_PER_PIECE if may_grow else NO_LIMIT

    def _num_buckets(self) -> int:
        return len(self._table) // 2 - 1

    def _most_buckets(self) -> int:
        """The table may take half of the cache's bytes; a power of two."""
        return 1 << max(self._cache_limit // 2 // kernels.BUCKET_BYTES, 1).bit_length() - 1

    def _grow_arena(self) -> None:
        # the arena may take the other half
        if 2 * _GROWTH * (len(self._arena) - PADDING) > self._cache_limit:
            # a new generation: keeping what is still in use would cost more than merging it again
            self._reset_cache()
            return
        used = int(self._state[kernels.ARENA_USED])
        grown = np.empty(_GROWTH * (len(self._arena) - PADDING) + PADDING, dtype=np.uint8)
        grown[:used] = self._arena[:used]
        self._arena = grown


def _foreign_ids() -> DataError:
    return DataError("the ids must be those of this encoder, got others", fix="pass what `encode` returned")
