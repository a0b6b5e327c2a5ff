"""`Tables`: a vocabulary as the arrays that the encoding kernels read."""

from collections import defaultdict
from typing import NoReturn

import numpy as np

from textmill.errors import ConfigError
from textmill.ops.bpe import cpu_encode as encoding
from textmill.ops.bpe import cpu_merge as merging
from textmill.ops.bpe import cpu_vocabulary as vocabulary
from textmill.ops.bpe.character_tables import CharacterTables
from textmill.ops.bpe.cpu_piece import FIRST_WIDE, merge_rows
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
        lengths = np.fromiter(map(len, contents), np.int32, len(contents))
        self.lengths = lengths
        """int32[largest id + 1]: bytes of each token, 0 where there is none."""
        text, stops = padded(b"".join(contents)), np.cumsum(lengths, dtype=np.int64)
        self.begun = _characters_begun(text, stops, lengths)
        """int32[largest id + 1]: characters that begin in each token << 1 | whether the token begins inside one."""
        self._text, self._offsets = text, np.concatenate([np.zeros(1, dtype=np.int64), stops])
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
            characters = CharacterTables(merges, contents, text, self._offsets, self.model)
            owned = [characters.clean, characters.entries, characters.links, characters.splits]
            words = merging.CLEAN, merging.CHARACTERS, merging.LINKS, merging.SPLITS
            for word, array in zip(words, owned, strict=True):
                self.model[word] = array.ctypes.data
            self.model[merging.LINK_BITS] = characters.link_bits
            self._owned += owned
        self._add_vocabulary(whole_pieces, contents)

    def _add_vocabulary(self, whole_pieces: dict[bytes, int], contents: list[bytes]) -> None:
        """Pieces that become one id: those of `whole_pieces`, and the tokens that merging makes of their own bytes."""
        is_whole = np.zeros(len(contents), dtype=np.bool_)
        is_whole[list(whole_pieces.values())] = True
        # bytes of no character are there too: none of them is merged as a wide character
        wide = (self.lengths > INLINE_BYTES) & (self._text[self._offsets[:-1]] >= FIRST_WIDE)
        asked = np.flatnonzero((self.lengths > 0) & (~is_whole | wide))
        rows = merge_rows(*_packed(self._text, self._offsets, asked), self.model)
        made = np.zeros(len(contents), dtype=np.bool_)
        made[asked] = (rows[:, 0] == 1) & (rows[:, 1] == asked)
        self.model[merging.MERGED_WIDE] = not (wide & is_whole & ~made).any()
        if whole_pieces:
            # a whole piece may have another id than the one that merging gives
            for number in np.flatnonzero(made & ~is_whole).tolist():
                made[number] = contents[number] not in whole_pieces
        ids = np.flatnonzero(made | is_whole).astype(np.int32)
        self._owned += add_vocabulary(self.model[merging.TOKENS :], [contents[number] for number in ids], ids)


def new_table(num_buckets: int) -> np.ndarray:
    """An empty cache table. num_buckets: a power of two."""
    # the kernel starts at the first multiple of 64 bytes: two rows more make room for that
    return np.zeros((2 * num_buckets + 2, encoding.ENTRY_WORDS), dtype=np.int64)


def add_vocabulary(words: np.ndarray, tokens: list[bytes], ids: np.ndarray) -> list[np.ndarray]:
    """Fills the words of `cpu_vocabulary`; the caller holds the arrays it returns. ids: int32, one for each token."""
    text, offsets = padded(b"".join(tokens)), np.zeros(len(tokens) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, tokens), np.int64, len(tokens)), out=offsets[1:])
    bits = max(1, (2 * len(tokens)).bit_length())
    slots = np.zeros(1 << bits, dtype=np.uint64)
    vocabulary.build_index(text, offsets, slots)
    owned = [slots, text, offsets, ids]
    words[vocabulary.VOCABULARY_BITS] = bits
    places = (
        vocabulary.VOCABULARY,
        vocabulary.VOCABULARY_ARENA,
        vocabulary.VOCABULARY_OFFSETS,
        vocabulary.VOCABULARY_IDS,
    )
    for place, array in zip(places, owned, strict=True):
        words[place] = array.ctypes.data
    return owned


def _packed(text: np.ndarray, offsets: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(padded uint8, int64 offsets): the bytes of the tokens with these ids, one after the other."""
    sizes = np.diff(offsets)
    if len(ids) == len(sizes):
        return text, offsets
    wanted = np.zeros(len(sizes), dtype=np.bool_)
    wanted[ids] = True
    packed = np.concatenate([text[: offsets[-1]][np.repeat(wanted, sizes)], np.zeros(PADDING, dtype=np.uint8)])
    return packed, np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes[ids])])


def _characters_begun(text: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    begins = (text & 0xC0) != 0x80
    totals = np.zeros(len(text) + 1, dtype=np.int32)
    np.cumsum(begins, out=totals[1:])
    begun = (totals[ends] - totals[ends - lengths]) << 1
    known = lengths > 0
    begun[known] |= ~begins[(ends - lengths)[known]]
    return begun


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
