"""`CharacterBpeEncoder`: pieces of normalised text to ids, for any BPE vocabulary over characters."""

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.ops.bpe.keys import bad_ends, check_block, check_out
from textmill.ops.character_bpe import cpu_encode as kernels
from textmill.ops.character_bpe import cpu_pairs as layout
from textmill.ops.character_bpe.cpu_blanks import cut_sentences
from textmill.ops.character_bpe.cpu_dropout import DRAW_BITS, encode_dropping
from textmill.ops.character_bpe.kinds import PieceKind
from textmill.ops.character_bpe.tables import Tables, tables_from_merges, tables_from_scores
from textmill.ops.memory import PADDING

DEFAULT_CACHE_BYTES = 128 << 20
OUT_SLACK = 16
"""Ids that `out` must hold beyond one for each byte: the kernel stores four at a time."""

# a power of two, and two at least
_FIRST_BUCKETS = 1 << 12
_FIRST_ARENA_BYTES = 1 << 18
_PIECES_PER_BLOCK = 1 << 15
_LARGEST_TEXT = (1 << 31) - 1
_MOST_KEPT_IDS = 1 << 21
_NO_ENDS = np.empty(0, dtype=np.int32)
_NO_MARKS = np.empty(0, dtype=np.int64)


class CharacterBpeEncoder:
    """Encodes the pieces of a normalised text. Deterministic; the piece cache changes the speed alone.

    Tokens of single bytes cover one byte each, so the first ones of a character end inside it. Rounding the bounds of a
    token outwards to characters gives the offsets of `tokenizers`; rounding them down gives those of SentencePiece.

    The cache serves one thread at a time (a lock sees to that): give every thread a `clone`, which shares the tables.

    >>> from textmill.ops.memory import padded
    >>> tokens = {"<unk>": 0, "a": 1, "b": 2, "ab": 3}
    >>> encoder = CharacterBpeEncoder.from_merges(tokens, [("a", "b")], unknown="<unk>")
    >>> encoder.encode(padded(b"abba?"), 0, np.array([5], np.int32)).tolist()
    [3, 2, 1, 0]
    """

    def __init__(self, tables: Tables, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        """Use `from_merges` or `from_scores`."""
        self._tables = tables
        self._cache_limit = cache_bytes
        self._lock = threading.Lock()
        self._out = _NO_ENDS
        self._model = tables.model.copy()
        if tables.num_parts:
            self._parts = np.zeros((tables.num_parts, 2), dtype=np.int32)
            self._model[layout.PARTS] = self._parts.ctypes.data
        self._state = np.zeros(kernels.STATE_WORDS, dtype=np.int64)
        self._reset_cache()

    @classmethod
    def from_merges(
        cls,
        tokens: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        *,
        unknown: str | None = None,
        fuse_unknown: bool = False,
        byte_fallback: bool = False,
        prefix: str = "",
        suffix: str = "",
        whole_pieces: bool = False,
    ) -> Self:
        """A model of `tokenizers`: token -> id, and pairs of tokens, most urgent first. See `reference.encode_word`.

        prefix, suffix: `continuing_subword_prefix` and `end_of_word_suffix`. whole_pieces: `ignore_merges`.

        Raises:
            ConfigError: an id out of range, or a merge or an unknown token that is not in the vocabulary.
            NotSupportedError: byte fallback together with a prefix or a suffix.
        """
        tables = tables_from_merges(
            tokens,
            merges,
            unknown=unknown,
            fuse_unknown=fuse_unknown,
            byte_fallback=byte_fallback,
            prefix=prefix,
            suffix=suffix,
            whole_pieces=whole_pieces,
        )
        return cls(tables)

    @classmethod
    def from_scores(
        cls,
        pieces: Sequence[tuple[str, float]],
        *,
        unknown: int = 0,
        byte_fallback: bool = False,
        kinds: Sequence[int] | None = None,
    ) -> Self:
        """A BPE model of SentencePiece: (piece, score) by id. See `reference.encode_sentence`.

        kinds: a `PieceKind` for each piece; if not given, all but `unknown` are normal. A piece of text is a whole
        normalised sentence, or a word of `boundaries`.

        Raises:
            ConfigError: equal or empty pieces, scores that are not finite, or kinds that do not fit.
            NotSupportedError: a piece of more than `LONGEST_PIECE` bytes.
        """
        if kinds is None:
            kinds = [PieceKind.UNKNOWN if number == unknown else PieceKind.NORMAL for number in range(len(pieces))]
        tables = tables_from_scores(pieces, kinds=kinds, unknown=unknown, byte_fallback=byte_fallback)
        return cls(tables)

    @property
    def cache_bytes(self) -> int:
        """Bytes that the piece cache takes now."""
        return int(self._table.nbytes + self._arena.nbytes)

    @property
    def cuts_at_blanks(self) -> bool:
        """Whether no token reaches from a word into the blanks before the next one, so that words may go one by one."""
        return self._tables.cuts_at_blanks

    def clone(self, cache_bytes: int | None = None) -> "CharacterBpeEncoder":
        """An encoder with the same tables and a cache of its own, of as many bytes at most or as many as ours."""
        return CharacterBpeEncoder(self._tables, self._cache_limit if cache_bytes is None else cache_bytes)

    def boundaries(self, text: np.ndarray, start: int, length: int) -> np.ndarray:
        """int32: the ends, counted from `start`, of the pieces of a sentence of `length` bytes whose blanks are ▁.

        A piece is a word with the run of ▁ before it, if the vocabulary allows that (`cuts_at_blanks`): a repeated word
        is then found in the cache. Otherwise it is the sentence.

        >>> from textmill.ops.memory import padded
        >>> pieces = [("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), ("▁a", -0.5)]
        >>> encoder = CharacterBpeEncoder.from_scores(pieces)
        >>> encoder.boundaries(padded("▁a▁▁a".encode()), 0, 11).tolist()
        [4, 11]

        Raises:
            DataError: the text is not padded uint8, or is longer than 2**31 - 1 bytes.
        """
        if not 0 <= length <= _LARGEST_TEXT:
            raise DataError(f"a text may have at most {_LARGEST_TEXT} bytes, got {length}", fix="encode it in parts")
        whole = np.array([length] if length else [], dtype=np.int32)
        return self._words(text, start, whole)[0]

    def encode_sentences(self, text: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids, int64 how many each sentence has), of sentences from the first byte of the text on.

        The ids are good until the next call: their memory is used again.

        Raises:
            DataError: as in `encode`.
        """
        words, marks = self._words(text, 0, ends)
        needed = (int(ends[-1]) if len(ends) else 0) + OUT_SLACK
        with self._lock:
            out = self._out if len(self._out) >= needed else np.empty(needed, dtype=np.int32)
            if needed <= _MOST_KEPT_IDS:
                self._out = out
            count = marks[-1] = self._encode(text, 0, words, out, _NO_ENDS, marks[:-1])
        return out[:count], np.diff(marks)

    def _words(self, text: np.ndarray, start: int, sentence_ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ends of the words of sentences, int64 how many are before each sentence, and all)."""
        sentence_ends = check_block(text, start, sentence_ends, None)
        last = int(sentence_ends[-1]) if len(sentence_ends) else 0
        firsts = np.empty(len(sentence_ends) + 1, dtype=np.int64)
        # a cut needs a character of three bytes, and another before it
        ends = np.empty(max(last, 0) // 2 + len(sentence_ends) + 1, dtype=np.int32)
        if bool((sentence_ends[1:] < sentence_ends[:-1]).any()) or bool((sentence_ends[:1] < 0).any()):
            raise bad_ends()
        count = cut_sentences(text, start, sentence_ends, self.cuts_at_blanks, ends, firsts, self._model)
        if count < 0:
            raise bad_ends()
        return ends[:count], firsts

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
            return self._encode(text, start, ends, out, _NO_ENDS)

    def encode_with_ends(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, int32 ends): token i ends at byte start + ends[i], and begins where the one before it ends.

        A character that leaves no token (there is no unknown token) belongs to the token after it.
        """
        ends = check_block(text, start, ends, num_pieces)
        blocks, origin = [(np.empty(0, np.int32), np.empty(0, np.int32))], 0
        for first in range(0, len(ends), _PIECES_PER_BLOCK):
            block = ends[first : first + _PIECES_PER_BLOCK] - np.int32(origin)
            block = check_block(text, start + origin, block, None)
            room = max(0, int(block[-1])) + OUT_SLACK
            out, out_ends = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int32)
            with self._lock:
                count = self._encode(text, start + origin, block, out, out_ends)
            blocks.append((out[:count].copy(), out_ends[:count] + np.int32(origin)))
            origin += int(block[-1])
        return np.concatenate([ids for ids, _ in blocks]), np.concatenate([ends for _, ends in blocks])

    def count(self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None) -> int:
        """How many ids `encode` gives, without keeping them."""
        ends = check_block(text, start, ends, num_pieces)
        total, origin, out = 0, 0, np.empty(0, dtype=np.int32)
        for first in range(0, len(ends), _PIECES_PER_BLOCK):
            block = ends[first : first + _PIECES_PER_BLOCK] - np.int32(origin)
            if len(out) < int(block[-1]) + OUT_SLACK:
                out = np.empty(int(block[-1]) + OUT_SLACK, dtype=np.int32)
            total += self.encode_into(text, start + origin, block, None, out)
            origin += int(block[-1])
        return total

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

        0 drops nothing, 1 leaves characters. The result follows from the arguments alone; a piece that comes again
        further on is encoded in its own way.

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
        room = max(0, int(ends[-1])) if len(ends) else 0
        out, out_ends = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int32)
        threshold = math.ceil(probability * (1 << DRAW_BITS))
        with self._lock:
            count = encode_dropping(text, start, ends, out, out_ends, threshold, np.uint64(seed), self._model)
        if count < 0:
            raise bad_ends()
        return out[:count].copy(), out_ends[:count].copy()

    def _encode(
        self,
        text: np.ndarray,
        start: int,
        ends: np.ndarray,
        out: np.ndarray,
        out_ends: np.ndarray,
        marks: np.ndarray = _NO_MARKS,
    ) -> int:
        """How many ids were written; see the kernel."""
        written, state = 0, self._state
        state[kernels.CURSOR] = state[kernels.MARK] = 0
        while state[kernels.CURSOR] < len(ends):
            state[kernels.WRITTEN] = written
            state[kernels.ENDS_AT] = out_ends[written:].ctypes.data if len(out_ends) else 0
            count, status = kernels.encode_block(
                text, start, ends, out[written:], marks, self._table, self._arena, self._model, state
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
            cursor, mark = self._state[[kernels.CURSOR, kernels.MARK]]
            self._reset_cache()
            self._state[[kernels.CURSOR, kernels.MARK]] = cursor, mark
            return
        used = int(self._state[kernels.ARENA_USED])
        grown = np.empty(2 * (len(self._arena) - PADDING) + PADDING, dtype=np.uint8)
        grown[:used] = self._arena[:used]
        self._arena = grown


def _new_table(num_buckets: int) -> np.ndarray:
    # the kernel starts at the first multiple of 64 bytes: two rows more make room for that
    return np.zeros((2 * num_buckets + 2, kernels.ENTRY_WORDS), dtype=np.int64)
