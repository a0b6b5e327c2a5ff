"""`Tables`: a vocabulary as the arrays that the encoding kernels read."""

import functools
from collections import defaultdict
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from textmill.errors import ConfigError
from textmill.ops.bpe import cpu_characters as characters_kernels
from textmill.ops.bpe import cpu_encode as encoding
from textmill.ops.bpe import cpu_merge as merging
from textmill.ops.bpe.count import PieceCounter
from textmill.ops.bpe.keys import INLINE_BYTES
from textmill.ops.memory import PADDING, padded

NO_LIMIT = (1 << 63) - 1
"""Entries that a cache table may have which cannot grow."""


class Tables:
    """What is fixed about an encoder, as arrays, and their addresses in one vector for the kernels."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds addresses of its own arrays: make another one")

    def __init__(
        self, byte_ids: np.ndarray, merges: np.ndarray, whole_pieces: dict[bytes, int], contents: list[bytes]
    ) -> None:
        """contents: the bytes of each id."""
        self.lengths = np.fromiter(map(len, contents), np.int32, len(contents))
        """int32[largest id + 1]: bytes of each token, 0 where there is none."""
        self.begun = _characters_begun(contents, self.lengths)
        """int32[largest id + 1]: characters that begin in each token << 1 | whether the token begins inside one."""
        pair_bits = max(4, (2 * len(merges)).bit_length())
        pairs = np.empty((1 << pair_bits, 2), dtype=np.int64)
        byte_pairs = np.empty(1 << 16, dtype=np.int64)
        # sixteen bits of the filter for each pair: it says "perhaps" of one absent pair in sixteen
        filter_bits = max(6, (16 * len(merges)).bit_length())
        pair_filter = np.zeros(1 << (filter_bits - 3), dtype=np.uint8)
        merging.build_pairs(merges, byte_ids, pairs, pair_filter, byte_pairs)
        self.model = np.zeros(merging.MODEL_WORDS, dtype=np.int64)
        self._owned: list[np.ndarray] = [pairs, pair_filter, byte_pairs, byte_ids]
        words = merging.PAIRS, merging.FILTER, merging.BYTE_PAIRS, merging.BYTE_IDS
        for word, array in zip(words, self._owned, strict=True):
            self.model[word] = array.ctypes.data
        self.model[merging.PAIR_BITS], self.model[merging.FILTER_BITS] = pair_bits, filter_bits
        if _in_order(merges, len(contents)):
            self._add_characters(merges, contents)
        self._contents = contents
        if whole_pieces:
            made = self._made_by_merging
            others = {piece: number for piece, number in whole_pieces.items() if not made[number]}
            if others:
                self._owned += add_vocabulary(self.model, others)

    @functools.cached_property
    def seeds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens that are pieces by themselves, for the cache: (padded uint8 bytes, int64 offsets, int32 ids)."""
        return _packed(self._contents, np.flatnonzero(self._made_by_merging & (self.lengths <= INLINE_BYTES)))

    def _encode_alone(self, text: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """int32[pieces, 4]: how many ids each piece text[offsets[i]:offsets[i + 1]] becomes, and the first three."""
        count, num_bytes = len(offsets) - 1, int(offsets[-1])
        state = np.zeros(encoding.STATE_WORDS, dtype=np.int64)
        state[encoding.MOST_INSERTED] = NO_LIMIT
        table = new_table(1 << count.bit_length())
        room = encoding.RECORD_BYTES_PER_BYTE * num_bytes + encoding.RECORD_SLACK * count
        arena = np.empty(room + PADDING, dtype=np.uint8)
        out = np.zeros(num_bytes + encoding.OUT_SLACK, dtype=np.int32)
        firsts, ends = np.empty(count, dtype=np.int64), offsets[1:].astype(np.int32)
        encoding.encode_block(text, 0, ends, np.arange(count), firsts, out, table, arena, self.model, state)
        counts = np.diff(firsts, append=state[encoding.WRITTEN])
        return np.stack([counts, out[firsts], out[firsts + 1], out[firsts + 2]], axis=1).astype(np.int32)

    @functools.cached_property
    def _made_by_merging(self) -> np.ndarray:
        """bool[ids]: whether the bytes of the token, on their own, become this token."""
        arena, offsets, ids = _packed(self._contents, np.flatnonzero(self.lengths))
        rows = self._encode_alone(arena, offsets)
        made = (rows[:, 0] == 1) & (rows[:, 1] == ids)
        found = np.zeros(len(self.lengths), dtype=np.bool_)
        found[ids] = made
        return found

    def _add_characters(self, merges: np.ndarray, contents: list[bytes]) -> None:
        """See `cpu_characters`. Before the vocabulary is added: what characters become is asked of the merges alone."""
        clean = _clean_boundaries(merges, contents, self.lengths)
        # of two and three bytes, without surrogates
        codes = np.concatenate([np.arange(0x80, 0xD800), np.arange(0xE000, characters_kernels.CODE_POINTS)])
        sizes = np.where(codes < 0x800, 2, 3)
        arena = padded(codes.astype("<u4").tobytes().decode("utf-32-le").encode())
        rows = self._encode_alone(arena, np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)]))
        rows[:, 0] |= sizes << 4
        characters = np.zeros((characters_kernels.CODE_POINTS, characters_kernels.ENTRY_WORDS), dtype=np.int32)
        characters[codes] = rows
        self._owned += [clean, characters]
        self.model[merging.CLEAN], self.model[merging.CHARACTERS] = clean.ctypes.data, characters.ctypes.data


def new_table(num_buckets: int) -> np.ndarray:
    """An empty cache table. num_buckets: a power of two."""
    # the kernel starts at the first multiple of 64 bytes: two rows more make room for that
    return np.zeros((2 * num_buckets + 2, encoding.ENTRY_WORDS), dtype=np.int64)


def add_vocabulary(model: np.ndarray, tokens: Mapping[bytes, int]) -> list[np.ndarray]:
    """Puts a table from bytes to ids into the model vector; the caller holds the arrays it returns, ids (int32) last.

    The table is that of a counter which has met each token once, in the order of ids.
    """
    ordered = sorted(tokens.items(), key=lambda item: item[1])
    ids = np.array([number for _, number in ordered], dtype=np.int32)
    sizes = np.fromiter((len(token) for token, _ in ordered), np.int32, len(ordered))
    counter = PieceCounter()
    counter.add(padded(b"".join([token for token, _ in ordered])), 0, np.cumsum(sizes, dtype=np.int32))
    table, arena, offsets = counter.index_arrays()
    model[merging.VOCABULARY] = table.ctypes.data
    model[merging.VOCABULARY_BITS] = len(table).bit_length() - 1
    model[merging.VOCABULARY_ARENA] = arena.ctypes.data
    model[merging.VOCABULARY_OFFSETS] = offsets.ctypes.data
    model[merging.WHOLE_IDS] = ids.ctypes.data
    return [table, arena, offsets, ids]


def _characters_begun(contents: list[bytes], lengths: np.ndarray) -> np.ndarray:
    text = np.frombuffer(b"".join(contents), dtype=np.uint8)
    begins = (text & 0xC0) != 0x80
    totals = np.zeros(len(text) + 1, dtype=np.int32)
    np.cumsum(begins, out=totals[1:])
    ends = np.cumsum(lengths)
    begun = (totals[ends] - totals[ends - lengths]) << 1
    known = lengths > 0
    begun[known] |= ~begins[(ends - lengths)[known]]
    return begun


def _packed(contents: list[bytes], ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(padded uint8 bytes, int64 offsets, int32 ids) of the tokens with these ids."""
    tokens = [contents[number] for number in ids.tolist()]
    offsets = np.zeros(len(tokens) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, tokens), np.int64, len(tokens)), out=offsets[1:])
    return padded(b"".join(tokens)), offsets, ids.astype(np.int32)


def contents_of(byte_ids: np.ndarray, merges: np.ndarray, whole_pieces: dict[bytes, int]) -> list[bytes]:
    """The bytes of each id, b"" where there is none."""
    largest = max(int(byte_ids.max()), int(merges.max(initial=0)), max(whole_pieces.values(), default=0))
    contents = [b""] * (largest + 1)
    for value, number in enumerate(byte_ids.tolist()):
        contents[number] = bytes([value])
    rows: list[list[int]] = merges.tolist()
    waiting: defaultdict[int, list[list[int]]] = defaultdict(list)
    # rows that waited come again at the end, while this goes on
    for row in rows:
        left, right, product = row
        first, second = contents[left], contents[right]
        if not (first and second):
            waiting[right if first else left].append(row)
            continue
        if contents[product] != first + second:
            _name(contents, product, first + second)
            rows += waiting.pop(product, ())
    # what still waits builds on ids that nothing makes
    for piece, number in whole_pieces.items():
        if contents[number] != piece:
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


def _clean_boundaries(merges: np.ndarray, contents: list[bytes], lengths: np.ndarray) -> np.ndarray:
    """uint8[65536], index u << 8 | v: 1 where the boundary between bytes u and v is clean; see `cpu_characters`."""
    arena, stops = np.frombuffer(b"".join(contents), dtype=np.uint8), np.cumsum(lengths, dtype=np.int64)
    whole = np.fromiter((content.isascii() or _is_whole(content) for content in contents), np.bool_, len(contents))
    left, right = merges[merges[:, 0] >= 0, :2].T
    # a merge of what nothing makes never applies
    joining = (lengths[left] > 0) & (lengths[right] > 0) & ~(whole[left] & whole[right])
    left, right = left[joining], right[joining]
    clean = np.ones(1 << 16, dtype=np.uint8)
    clean[arena[stops[left] - 1].astype(np.int64) << 8 | arena[stops[right] - lengths[right]]] = 0
    return clean


def _is_whole(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
