"""`WordPieceEncoder` and `BertEncoder`: words, or raw text, to ids, for any WordPiece vocabulary."""

import threading
from collections.abc import Mapping
from itertools import pairwise
from typing import NoReturn

import numpy as np

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.bpe.keys import bad_ends, check_block, check_out
from textmill.ops.memory import PADDING
from textmill.ops.wordpiece import cpu_encode as kernels
from textmill.ops.wordpiece import cpu_match as trie
from textmill.ops.wordpiece import cpu_normalise as normalising
from textmill.ops.wordpiece import tables
from textmill.ops.wordpiece.reference import BertRules

DEFAULT_CACHE_BYTES = 32 << 20
OUT_SLACK = 16
"""Ids that `out` must hold beyond one for each byte: the kernel stores four at a time."""
LONGEST_WORD = 1 << 24
"""Most characters that `longest_word` may allow."""

# powers of two
_FIRST_BUCKETS = 1 << 12
_BUCKETS_GROWTH = 4
_COUNTED_IDS = 1 << 14
_MAX_ID = (1 << 28) - 1
_DROPOUT_ONE = 1 << 53
_NO_ENDS = np.empty(0, dtype=np.int32)
_NO_SPANS = np.empty(0, dtype=np.int64)


class _Vocabulary:
    """What is fixed about an encoder, as arrays, and their addresses in one vector for the kernels."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds addresses of its own arrays: make another one")

    def __init__(
        self, tokens: Mapping[str, int], *, unknown: str, prefix: str, longest_word: int, rules: BertRules | None = None
    ) -> None:
        _check(tokens, unknown, longest_word)
        contents = [token.encode("utf-8", "surrogatepass") for token in tokens]
        ids = np.array(list(tokens.values()), dtype=np.int64)
        sizes = np.array([len(content) for content in contents], dtype=np.int64)
        prefix_bytes = prefix.encode("utf-8", "surrogatepass")
        self.edges = _build_trie(contents, sizes, ids, prefix_bytes)
        self.lengths = np.zeros(int(ids.max()) + 1, dtype=np.int32)
        self.lengths[ids] = sizes
        self.capacity = (4 * longest_word + normalising.SPARE_BYTES + 7) // 8 * 8
        self.model = np.zeros(normalising.MODEL_WORDS, dtype=np.int64)
        self.model[normalising.EDGES] = self.edges.ctypes.data
        self.model[normalising.EDGE_BITS] = len(self.edges).bit_length() - 1
        self.model[normalising.LENGTHS] = self.lengths.ctypes.data
        self.model[normalising.PREFIX_BYTES] = len(prefix_bytes)
        self.model[normalising.LONGEST] = longest_word
        self.model[normalising.UNKNOWN] = tokens[unknown]
        self.model[normalising.CAPACITY] = self.capacity
        if rules is not None:
            self._add_characters(tokens, tokens[unknown], tables.of_rules(rules))

    def _add_characters(self, tokens: Mapping[str, int], unknown: int, characters: tables.CharacterTables) -> None:
        ids = np.full(len(characters.entries), unknown, dtype=np.int32)
        for token, number in tokens.items():
            if len(token) == 1:
                ids[ord(token)] = number
        self.characters = characters
        self.entries = characters.entries.copy()
        self.entries[characters.alone] |= ids[characters.alone_forms] << tables.PAYLOAD_SHIFT
        self.model[normalising.ENTRIES] = self.entries.ctypes.data
        self.model[normalising.FORMS] = characters.forms.ctypes.data
        self.model[normalising.MARKS] = characters.marks.ctypes.data
        self.model[normalising.NUM_MARKS] = len(characters.marks)


class _Encoder:
    """The cache in front of a vocabulary. It serves one thread at a time (a lock sees to that): see `clone`."""

    def __init__(self, vocabulary: _Vocabulary, cache_bytes: int) -> None:
        self._vocabulary = vocabulary
        self._cache_limit = cache_bytes
        self._lock = threading.Lock()
        self._state = np.zeros(kernels.STATE_WORDS, dtype=np.int64)
        # one word, then for each byte the byte itself and two words; touched only as far as words reach
        self._scratch = np.empty(1 + vocabulary.capacity // 8 * 17, dtype=np.int64)
        self._start_cache(_FIRST_BUCKETS)

    @property
    def cache_bytes(self) -> int:
        """Bytes that the word cache takes now."""
        return int(self._table.nbytes)

    def _start_cache(self, num_buckets: int) -> None:
        # the kernel starts at the first multiple of 64 bytes: two rows more make room for that
        self._table = np.zeros((2 * num_buckets + 2, kernels.ENTRY_WORDS), dtype=np.int64)
        grown = _BUCKETS_GROWTH * num_buckets * kernels.BUCKET_BYTES
        self._state[kernels.INSERTED], self._state[kernels.MAY_GROW] = 0, grown <= self._cache_limit

    def _encode(
        self,
        text: np.ndarray,
        start: int,
        stop: int,
        ends: np.ndarray,
        found: "_Found",
        *,
        probability: float = 0.0,
        seed: int = 0,
    ) -> "_Found":
        """`found`, filled. ends: of words in text[start:stop], `_NO_ENDS` for raw text."""
        if not 0 <= probability <= 1:
            raise ConfigError(f"probability must be in 0..1, got {probability}", fix="0.1 is a usual one")
        with self._lock:
            state, status = self._state, kernels.OUT_FULL
            state[kernels.CURSOR] = 0
            state[kernels.THRESHOLD] = int(probability * _DROPOUT_ONE)
            state[kernels.SEED] = np.uint64(seed & (1 << 64) - 1).astype(np.int64)
            while status != kernels.FINISHED:
                arrays = (*found.room(), self._table, self._scratch, self._vocabulary.model, state)
                count, status = kernels.encode_block(text, start, stop, ends, *arrays)
                found.used += count
                if status == kernels.BAD_ENDS:
                    raise bad_ends()
                if status == kernels.OUT_FULL:
                    found.make_room()
                elif status == kernels.CROWDED:
                    # what was cached is matched once more: cheaper than a kernel that moves it
                    self._start_cache(_BUCKETS_GROWTH * (len(self._table) // 2 - 1))
        return found


class _Found:
    """The ids, and their spans if wanted, as far as they are found: arrays that grow."""

    def __init__(self, num_bytes: int, *, out: np.ndarray | None = None, with_spans: bool = False) -> None:
        """num_bytes: of the text. out: contiguous int32 that has room for everything."""
        # Chinese has about one id for three bytes, most languages have fewer; pages that stay unused cost nothing
        room = num_bytes // 3 + OUT_SLACK
        self._ids = np.empty(room, dtype=np.int32) if out is None else out
        self._starts = np.empty(room, dtype=np.int64) if with_spans else _NO_SPANS
        self._ends = np.empty(room, dtype=np.int64) if with_spans else _NO_SPANS
        self.used = 0

    def room(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ids, starts, ends) to be written to."""
        return self._ids[self.used :], self._starts[self.used :], self._ends[self.used :]

    def make_room(self) -> None:
        self._resize(2 * len(self._ids) + OUT_SLACK)

    def _resize(self, size: int) -> None:
        # in place: large arrays grow without a copy
        self._ids.resize(size, refcheck=False)
        if self._starts is not _NO_SPANS:
            self._starts.resize(size, refcheck=False)
            self._ends.resize(size, refcheck=False)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(int32 ids, int64 starts, int64 ends), no longer than what was found."""
        self._resize(self.used)
        return self._ids, self._starts, self._ends


class _Counted(_Found):
    """Only how many ids there are: the same short array again and again."""

    def __init__(self) -> None:
        super().__init__(3 * _COUNTED_IDS)
        self.total = 0

    def make_room(self) -> None:
        if self.used == 0:
            super().make_room()
        self.total += self.used
        self.used = 0


class WordPieceEncoder(_Encoder):
    """Encodes words that are normalised and split already. Deterministic; the word cache changes the speed alone.

    A word that the vocabulary cannot spell, or of more than `longest_word` characters, becomes one unknown token. In
    bytes that are not UTF-8, whatever is no continuation byte counts as a character.

    >>> from textmill.ops.memory import padded
    >>> encoder = WordPieceEncoder({"[UNK]": 0, "bat": 1, "##he": 2, "##s": 3}, unknown="[UNK]")
    >>> encoder.encode(padded(b"bathesbatcat"), 0, np.array([6, 9, 12], np.int32)).tolist()
    [1, 2, 3, 1, 0]
    """

    def __init__(
        self,
        tokens: Mapping[str, int],
        *,
        unknown: str,
        prefix: str = "##",
        longest_word: int = 100,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        """From token -> id.

        Raises:
            ConfigError: ids that repeat or are not in 0..2**28-1, no unknown token, or `longest_word` below 1.
            NotSupportedError: `longest_word` above `LONGEST_WORD`.
        """
        super().__init__(_Vocabulary(tokens, unknown=unknown, prefix=prefix, longest_word=longest_word), cache_bytes)

    def clone(self) -> "WordPieceEncoder":
        """An encoder with the same tables and a cache of its own, for another thread."""
        twin = WordPieceEncoder.__new__(WordPieceEncoder)
        _Encoder.__init__(twin, self._vocabulary, self._cache_limit)
        return twin

    def encode(self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None) -> np.ndarray:
        """int32: the ids of the words that end at start + ends[0], start + ends[1], ...; the first begins at start.

        Raises:
            DataError: the block is not what a splitter makes (see `check_block`), or its ends do not grow.
        """
        ends = check_block(text, start, ends, num_pieces)
        size = _last(ends)
        return self._encode(text, start, start + size, ends, _Found(size)).arrays()[0]

    def encode_into(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None, out: np.ndarray
    ) -> int:
        """How many ids were written to the front of `out`: contiguous int32, an id for each byte and `OUT_SLACK` more.

        Raises:
            DataError: as in `encode`, or `out` is too small.
        """
        ends = check_block(text, start, ends, num_pieces)
        size = _last(ends)
        check_out(out, size + OUT_SLACK)
        return self._encode(text, start, start + size, ends, _Found(size, out=out)).used

    def encode_with_ends(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, int32 ends): token i ends at byte start + ends[i]. The tokens tile the words."""
        ends = check_block(text, start, ends, num_pieces)
        size = _last(ends)
        ids, _, token_ends = self._encode(text, start, start + size, ends, _Found(size, with_spans=True)).arrays()
        return ids, token_ends.astype(np.int32)

    def encode_with_dropout(
        self,
        text: np.ndarray,
        start: int,
        ends: np.ndarray,
        num_pieces: int | None = None,
        *,
        probability: float,
        seed: int,
    ) -> np.ndarray:
        """int32: as `encode`, but each match but the shortest is passed over with this probability.

        What is drawn depends on the seed, the word's place after `start`, and the bytes that match.

        Raises:
            ConfigError: a probability outside 0..1.
            DataError: as in `encode`.
        """
        ends = check_block(text, start, ends, num_pieces)
        found, stop = _Found(_last(ends)), start + _last(ends)
        return self._encode(text, start, stop, ends, found, probability=probability, seed=seed).arrays()[0]


class BertEncoder(_Encoder):
    """Encodes raw UTF-8 text as BERT does: normalise, split and match in one pass; see `reference`.

    Each byte that is not part of valid UTF-8 counts as a U+FFFD: `clean_text` drops it.

    >>> from textmill.ops.memory import padded
    >>> encoder = BertEncoder({"[UNK]": 0, "ete": 1, "##s": 2, "!": 3}, unknown="[UNK]")
    >>> text = "Étés !".encode()
    >>> encoder.encode(padded(text), 0, len(text)).tolist()
    [1, 2, 3]
    """

    def __init__(
        self,
        tokens: Mapping[str, int],
        *,
        unknown: str,
        prefix: str = "##",
        longest_word: int = 100,
        rules: BertRules | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        """From token -> id. rules: those of the uncased models if not given.

        Raises:
            ConfigError: ids that repeat or are not in 0..2**28-1, no unknown token, or `longest_word` below 1.
            NotSupportedError: `longest_word` above `LONGEST_WORD`.
        """
        rules = BertRules() if rules is None else rules
        vocabulary = _Vocabulary(tokens, unknown=unknown, prefix=prefix, longest_word=longest_word, rules=rules)
        super().__init__(vocabulary, cache_bytes)

    def clone(self) -> "BertEncoder":
        """An encoder with the same tables and a cache of its own, for another thread."""
        twin = BertEncoder.__new__(BertEncoder)
        _Encoder.__init__(twin, self._vocabulary, self._cache_limit)
        return twin

    def encode(self, text: np.ndarray, start: int, stop: int) -> np.ndarray:
        """int32: the ids of text[start:stop], a uint8 array from `padded`.

        Raises:
            DataError: not a padded array of bytes, or bounds outside it.
        """
        _check_text(text, start, stop)
        return self._encode(text, start, stop, _NO_ENDS, _Found(stop - start)).arrays()[0]

    def encode_group(self, text: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids, int64 how many each text has) of text[bounds[0]:bounds[1]] and so on; raises as `encode`."""
        found, used = _Found(max(0, int(bounds[-1] - bounds[0]))), [0]
        for start, stop in pairwise(bounds.tolist()):
            _check_text(text, start, stop)
            self._encode(text, start, stop, _NO_ENDS, found)
            used.append(found.used)
        return found.arrays()[0], np.diff(np.array(used, dtype=np.int64))

    def encode_with_spans(self, text: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ids, int64 starts, int64 ends): token i stands for the bytes start + [starts[i], ends[i]) of the text.

        Raises:
            DataError: as in `encode`.
        """
        _check_text(text, start, stop)
        return self._encode(text, start, stop, _NO_ENDS, _Found(stop - start, with_spans=True)).arrays()

    def encode_with_dropout(
        self, text: np.ndarray, start: int, stop: int, *, probability: float, seed: int
    ) -> np.ndarray:
        """int32: as `encode`, but each match but the shortest is passed over with this probability.

        What is drawn depends on the seed, the word's place after `start`, and the normalised bytes that match.

        Raises:
            ConfigError: a probability outside 0..1.
            DataError: as in `encode`.
        """
        _check_text(text, start, stop)
        found = _Found(stop - start)
        return self._encode(text, start, stop, _NO_ENDS, found, probability=probability, seed=seed).arrays()[0]

    def count(self, text: np.ndarray, start: int, stop: int) -> int:
        """How many ids `encode` would give; the errors are the same."""
        _check_text(text, start, stop)
        counted = _Counted()
        self._encode(text, start, stop, _NO_ENDS, counted)
        return counted.total + counted.used


def _check(tokens: Mapping[str, int], unknown: str, longest_word: int) -> None:
    ids = list(tokens.values())
    if not ids or min(ids) < 0 or max(ids) > _MAX_ID or len(set(ids)) != len(ids):
        raise ConfigError("tokens must map to distinct ids in 0..2**28-1", fix="give each token its own id, from 0 on")
    if unknown not in tokens:
        raise ConfigError(
            f"the vocabulary must hold the unknown token {unknown!r}", fix="add it, or name the right one"
        )
    if longest_word < 1:
        raise ConfigError(f"longest_word must be >= 1, got {longest_word}", fix="BERT uses 100")
    if longest_word > LONGEST_WORD:
        raise NotSupportedError(f"longest_word may be at most {LONGEST_WORD}, got {longest_word}", fix="BERT uses 100")


def _check_text(text: np.ndarray, start: int, stop: int) -> None:
    if text.dtype != np.uint8 or not text.flags.c_contiguous or not 0 <= start <= stop <= len(text) - PADDING:
        raise DataError(
            f"text must be contiguous uint8 with {PADDING} bytes of padding after the bytes {start} to {stop}, "
            f"got {len(text)} of {text.dtype}",
            fix="use textmill.ops.memory.padded",
        )


def _last(ends: np.ndarray) -> int:
    return max(0, int(ends[-1])) if len(ends) else 0


def _build_trie(contents: list[bytes], sizes: np.ndarray, ids: np.ndarray, prefix: bytes) -> np.ndarray:
    """int64 [2**k, 2]: see `cpu_match`."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    data, before = np.frombuffer(b"".join(contents), np.uint8), np.frombuffer(prefix, np.uint8)
    num_slots = 1 << (8 * len(contents)).bit_length()
    while True:
        edges = np.zeros((num_slots, trie.EDGE_WORDS), dtype=np.int64)
        if trie.build_trie(data, offsets, ids, before, edges):
            return edges
        num_slots *= 2
