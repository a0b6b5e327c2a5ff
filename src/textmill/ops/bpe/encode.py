"""`BpeEncoder`: pieces to ids, for any byte-level BPE vocabulary."""

import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Self

import numpy as np

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.bpe import cpu_characters as characters_kernels
from textmill.ops.bpe import cpu_encode as kernels
from textmill.ops.bpe import cpu_merge as merging
from textmill.ops.bpe.count import PieceCounter, PieceCounts
from textmill.ops.bpe.keys import bad_ends, check_block
from textmill.ops.memory import PADDING, padded

DEFAULT_CACHE_BYTES = 128 << 20
OUT_SLACK = 16
"""Ids that `out` must hold beyond one for each byte: the kernel stores four at a time."""

LONGEST_RANKED = 1 << 12
"""Bytes of a token of `from_ranks`: how it is merged is found in quadratic time. Published ones have 128 and fewer."""

# a power of two, and two at least
_FIRST_BUCKETS = 1 << 12
_FIRST_ARENA_BYTES = 1 << 18
_PIECES_PER_BLOCK = 1 << 15
_MAX_ID = (1 << 31) - 1


class BpeEncoder:
    """Encodes the pieces of a text. Deterministic; the piece cache changes the speed alone.

    The cache serves one thread at a time (a lock sees to that): give every thread a `clone`, which shares the tables.

    >>> from textmill.ops.memory import PADDING, padded
    >>> encoder = BpeEncoder.from_merges(np.arange(256, dtype=np.int32), np.array([[97, 98, 256]], np.int32))
    >>> encoder.encode(padded(b"abba"), 0, np.array([4], np.int32)).tolist()
    [256, 98, 97]
    """

    def __init__(self, tables: "_Tables", cache_bytes: int) -> None:
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
        return cls(_Tables(byte_ids, merges, whole, _contents(byte_ids, merges, whole)), cache_bytes)

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
        vocabulary = np.zeros(merging.MODEL_WORDS, dtype=np.int64)
        owned = _add_vocabulary(vocabulary, ranks)
        merging.derive_merges(vocabulary, longest, owned[-1], merges)
        byte_ids = np.array([ranks[bytes([value])] for value in range(256)], dtype=np.int32)
        contents: list[bytes] = [b""] * (int(ids[-1]) + 1)
        for token, number in ranks.items():
            contents[number] = token
        return cls(_Tables(byte_ids, merges, dict(ranks), contents), cache_bytes)

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
        needed = (int(ends[-1]) if len(ends) else 0) + OUT_SLACK
        if out.dtype != np.int32 or not out.flags.c_contiguous or len(out) < needed:
            raise DataError(
                f"out must be contiguous int32 of {needed} or more, got {len(out)} of {out.dtype}", fix="enlarge it"
            )
        with self._lock:
            return self._encode(text, start, ends, out)

    def encode_with_ends(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, int32 ends): token i ends at byte start + ends[i]. The tokens tile the pieces."""
        ids = self.encode(text, start, ends, num_pieces)
        return ids, np.cumsum(self._tables.lengths[ids], dtype=np.int32)

    def _encode(self, text: np.ndarray, start: int, ends: np.ndarray, out: np.ndarray) -> int:
        written, state = 0, self._state
        state[kernels.CURSOR] = 0
        while state[kernels.CURSOR] < len(ends):
            count, status = kernels.encode_block(
                text, start, ends, out[written:], self._table, self._arena, self._tables.model, state
            )
            written += count
            if status == kernels.BAD_ENDS:
                raise bad_ends()
            if status == kernels.CROWDED:
                self._grow_table()
            elif status == kernels.ARENA_FULL:
                self._grow_arena()
        return written

    def _reset_cache(self) -> None:
        self._table = _new_table(_FIRST_BUCKETS)
        self._arena = np.empty(_FIRST_ARENA_BYTES + PADDING, dtype=np.uint8)
        self._state[:] = 0
        self._let_grow()

    def _grow_table(self) -> None:
        grown = _new_table(2 * (len(self._table) - 2))
        kernels.move_entries(self._table, grown)
        self._table = grown
        self._let_grow()

    def _let_grow(self) -> None:
        # twice as large, the table may still take no more than half of the cache's bytes
        num_buckets = len(self._table) // 2 - 1
        self._state[kernels.MAY_GROW] = self._cache_limit >= 4 * kernels.BUCKET_BYTES * num_buckets

    def _grow_arena(self) -> None:
        # the arena may take the other half
        if 4 * (len(self._arena) - PADDING) > self._cache_limit:
            # a new generation: keeping what is still in use would cost more than merging it again
            cursor = self._state[kernels.CURSOR]
            self._reset_cache()
            self._state[kernels.CURSOR] = cursor
            return
        used = int(self._state[kernels.ARENA_USED])
        grown = np.empty(2 * (len(self._arena) - PADDING) + PADDING, dtype=np.uint8)
        grown[:used] = self._arena[:used]
        self._arena = grown


class _Tables:
    """What is fixed about an encoder, as arrays, and their addresses in one vector for the kernels."""

    def __init__(
        self, byte_ids: np.ndarray, merges: np.ndarray, whole_pieces: dict[bytes, int], contents: list[bytes]
    ) -> None:
        """contents: the bytes of each id."""
        self.lengths = np.array([len(content) for content in contents], dtype=np.int32)
        """int32[largest id + 1]: bytes of each token, 0 where there is none."""
        pair_bits = max(4, (2 * len(merges)).bit_length())
        pairs = np.empty((1 << pair_bits, 2), dtype=np.int64)
        byte_pairs = np.empty(1 << 16, dtype=np.int64)
        merging.build_pairs(merges, byte_ids, pairs, byte_pairs)
        self.model = np.zeros(merging.MODEL_WORDS, dtype=np.int64)
        self._owned = [pairs, byte_pairs, byte_ids]
        self.model[merging.PAIR_BITS] = pair_bits
        for word, array in ((merging.PAIRS, pairs), (merging.BYTE_PAIRS, byte_pairs), (merging.BYTE_IDS, byte_ids)):
            self.model[word] = array.ctypes.data
        if _in_order(merges, len(contents)):
            self._add_characters(merges, contents)
        if whole_pieces:
            self._owned += _add_vocabulary(self.model, whole_pieces)

    def _add_characters(self, merges: np.ndarray, contents: list[bytes]) -> None:
        """See `cpu_characters`. Before the vocabulary is added: what characters become is asked of the merges alone."""
        firsts = np.array([content[0] if content else 0 for content in contents], dtype=np.uint8)
        lasts = np.array([content[-1] if content else 0 for content in contents], dtype=np.uint8)
        whole = np.array([_is_whole(content) for content in contents], dtype=np.bool_)
        clean = characters_kernels.clean_boundaries(merges, firsts, lasts, whole)
        candidates = [
            content for content in contents if len(content) == 3 and content[0] >= 0xE0 and _is_whole(content)
        ]
        characters = np.full(characters_kernels.CHARACTERS, characters_kernels.NO_CHARACTER, dtype=np.int32)
        for character in candidates:
            ids = merging.encode_alone(padded(character), len(character), self.model)
            if len(ids) == 1:
                characters[ord(character.decode())] = ids[0]
        self._owned += [clean, characters]
        self.model[merging.CLEAN], self.model[merging.CHARACTERS] = clean.ctypes.data, characters.ctypes.data


def _add_vocabulary(model: np.ndarray, tokens: Mapping[bytes, int]) -> list[np.ndarray]:
    """Puts a table from bytes to ids into the model vector; the caller holds the arrays it returns, ids (int32) last.

    The table is that of a counter which has met each token once, in the order of ids.
    """
    ordered = sorted(tokens.items(), key=lambda item: item[1])
    ids = np.array([number for _, number in ordered], dtype=np.int32)
    counts = PieceCounts.from_mapping({token: 1 for token, _ in ordered})
    counter = PieceCounter()
    counter.add(counts.arena, 0, counts.offsets[1:].astype(np.int32))
    table, arena, offsets = counter.index_arrays()
    model[merging.VOCABULARY] = table.ctypes.data
    model[merging.VOCABULARY_BITS] = len(table).bit_length() - 1
    model[merging.VOCABULARY_ARENA] = arena.ctypes.data
    model[merging.VOCABULARY_OFFSETS] = offsets.ctypes.data
    model[merging.WHOLE_IDS] = ids.ctypes.data
    return [table, arena, offsets, ids]


def _contents(byte_ids: np.ndarray, merges: np.ndarray, whole_pieces: dict[bytes, int]) -> list[bytes]:
    """The bytes of each id, b"" where there is none."""
    largest = max(int(byte_ids.max()), int(merges.max(initial=0)), max(whole_pieces.values(), default=0))
    contents = [b""] * (largest + 1)
    for value, number in enumerate(byte_ids.tolist()):
        contents[number] = bytes([value])
    rows: deque[list[int]] = deque(merges.tolist())
    waiting: defaultdict[int, list[list[int]]] = defaultdict(list)
    while rows:
        row = left, right, product = rows.popleft()
        absent = [part for part in (left, right) if not contents[part]]
        if absent:
            waiting[absent[0]].append(row)
            continue
        if not contents[product]:
            rows += waiting.pop(product, ())
        _name(contents, product, contents[left] + contents[right])
    # what still waits builds on ids that nothing makes
    for piece, number in whole_pieces.items():
        _name(contents, number, piece)
    return contents


def _name(contents: list[bytes], number: int, content: bytes) -> None:
    if contents[number] not in (b"", content):
        raise ConfigError(
            f"the id {number} stands for {contents[number]!r} and for {content!r}", fix="give each token its own id"
        )
    contents[number] = content


def _in_order(merges: np.ndarray, num_ids: int) -> bool:
    """Whether every merge comes after all merges that make its parts. Rows of -1 are no merges."""
    ranks = np.flatnonzero(merges[:, 0] >= 0)
    # the last row of a pair gives its rank
    _, last = np.unique((merges[ranks, 0].astype(np.int64) << 32 | merges[ranks, 1])[::-1], return_index=True)
    ranks = ranks[len(ranks) - 1 - last]
    made_by = np.full(num_ids, -1, dtype=np.int64)
    np.maximum.at(made_by, merges[ranks, 2], ranks)
    return bool((made_by[merges[ranks, :2]] < ranks[:, None]).all())


def _is_whole(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _new_table(num_buckets: int) -> np.ndarray:
    # the kernel starts at the first multiple of 64 bytes: two rows more make room for that
    return np.zeros((2 * num_buckets + 2, kernels.ENTRY_WORDS), dtype=np.int64)
