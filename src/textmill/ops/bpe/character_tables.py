"""What merging may begin with instead of bytes, as arrays: see `cpu_characters`."""

from typing import NamedTuple

import numpy as np

from textmill.ops.bpe import cpu_characters as kernels
from textmill.ops.bpe.cpu_piece import merge_rows
from textmill.ops.memory import padded

_WIDE = kernels.WIDE_BYTES
_FIRST_WIDE_CODE = 0x800


class CharacterTables:
    """The arrays of one vocabulary."""

    def __init__(
        self, merges: np.ndarray, contents: list[bytes], text: np.ndarray, offsets: np.ndarray, model: np.ndarray
    ) -> None:
        """merges: rows of ids (left, right, product), -1 for none.

        contents: the bytes of each id; text[offsets[i]:offsets[i + 1]] are the same.
        model: the vector of a vocabulary that has its merges, but no characters yet.
        """
        whole = np.fromiter((content.isascii() or _is_whole(content) for content in contents), np.bool_, len(contents))
        left, right = merges[merges[:, 0] >= 0, :2].T
        # a merge of what nothing makes never applies
        applies = (offsets[left] < offsets[left + 1]) & (offsets[right] < offsets[right + 1])
        left, right = left[applies], right[applies]
        is_part = ~(whole[left] & whole[right])
        self.clean = np.ones(1 << 16, dtype=np.uint8)
        """uint8[65536], index u << 8 | v: 1 where the boundary between bytes u and v is clean."""
        self.clean[text[offsets[left + 1] - 1][is_part].astype(np.int64) << 8 | text[offsets[right]][is_part]] = 0
        ends, begins = _last_bytes(text, offsets, left), _first_bytes(text, offsets, right)
        between_wide = _fits(ends, at_end=True) & _fits(begins, at_end=False)
        parts, links = between_wide & is_part, between_wide & ~is_part
        links &= (ends.counts == _WIDE) & (begins.counts == _WIDE)
        self.entries = _entries(ends, begins, links, parts, model)
        """int32[CODE_POINTS, ENTRY_WORDS]: what each character starts as."""
        keys = _codes_of(ends.words[links]) << 16 | _codes_of(begins.words[links])
        # sixteen bits for each: the table says "perhaps" of one absent pair in sixteen
        self.link_bits = max(6, (16 * len(keys)).bit_length())
        self.links = _table(keys, self.link_bits)
        """uint8[2**link_bits / 8]: the table of links."""
        keys = ends.words[parts] << kernels.SUFFIX_SHIFT | begins.words[parts] << kernels.PREFIX_SHIFT
        self.splits = _table(keys | ends.counts[parts] << 2 | begins.counts[parts], kernels.SPLIT_BITS)
        """uint8[2**SPLIT_BITS / 8]: the table of splits."""


class _Edges(NamedTuple):
    """Up to three bytes at one end of each token."""

    words: np.ndarray
    """int64: the bytes, the first of them lowest."""
    counts: np.ndarray
    """int64: how many they are."""


def _first_bytes(text: np.ndarray, offsets: np.ndarray, ids: np.ndarray) -> _Edges:
    counts = np.minimum(offsets[ids + 1] - offsets[ids], _WIDE)
    return _Edges(_words(text, offsets[ids]) & ((1 << 8 * counts) - 1), counts)


def _last_bytes(text: np.ndarray, offsets: np.ndarray, ids: np.ndarray) -> _Edges:
    counts = np.minimum(offsets[ids + 1] - offsets[ids], _WIDE)
    return _Edges(_words(text, offsets[ids + 1] - _WIDE) >> 8 * (_WIDE - counts), counts)


def _words(text: np.ndarray, places: np.ndarray) -> np.ndarray:
    """int64: the three bytes at each place, the first lowest; those before the text may be any."""
    first, second, third = (text[np.maximum(places + i, 0)].astype(np.int64) for i in range(_WIDE))
    return first | second << 8 | third << 16


def _fits(edges: _Edges, *, at_end: bool) -> np.ndarray:
    """bool: whether the bytes may be the last ones, or the first ones, of a wide character."""
    # where its last bytes are fewer than three, its first ones are missing at the low end
    missing = 8 * (_WIDE - edges.counts) if at_end else np.zeros_like(edges.counts)
    known = (1 << 8 * edges.counts) - 1
    return edges.words & (kernels.WIDE_MASK >> missing) & known == (kernels.WIDE_FORM >> missing) & known


def _entries(ends: _Edges, begins: _Edges, links: np.ndarray, parts: np.ndarray, model: np.ndarray) -> np.ndarray:
    # of two and three bytes, without surrogates
    codes = np.concatenate([np.arange(0x80, 0xD800), np.arange(0xE000, kernels.CODE_POINTS)])
    sizes = np.where(codes < _FIRST_WIDE_CODE, 2, _WIDE)
    text = padded(codes.astype("<u4").tobytes().decode("utf-32-le").encode())
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)])
    rows = merge_rows(text, offsets, model)
    wide, heads = sizes == _WIDE, rows[:, 0] | sizes << kernels.BYTES_SHIFT
    words = _words(text, offsets[:-1])
    for edges, link_flag, part_flag in (
        (ends, kernels.ENDS_MERGE, kernels.ENDS_PART),
        (begins, kernels.BEGINS_MERGE, kernels.BEGINS_PART),
    ):
        # what merging leaves in two or three ids is no part of a longer token
        linked = wide & (rows[:, 0] == 1) & np.isin(words, edges.words[links])
        heads |= np.where(linked, link_flag, 0)
        for count in range(1, _WIDE + 1):
            some = words >> 8 * (_WIDE - count) if edges is ends else words & ((1 << 8 * count) - 1)
            heads |= np.where(wide & np.isin(some, edges.words[parts & (edges.counts == count)]), part_flag, 0)
    rows[:, 0] = heads
    entries = np.zeros((kernels.CODE_POINTS, kernels.ENTRY_WORDS), dtype=np.int32)
    entries[codes] = rows
    return entries


def _codes_of(words: np.ndarray) -> np.ndarray:
    """int64: the code points whose three bytes these are, the first lowest."""
    return (words & 0x0F) << 12 | (words >> 2) & 0xFC0 | (words >> 16) & 0x3F


def _table(keys: np.ndarray, num_bits: int) -> np.ndarray:
    bits = np.zeros(1 << num_bits, dtype=np.bool_)
    bits[(keys.astype(np.uint64) * np.uint64(kernels.LINK_FACTOR)) >> np.uint64(64 - num_bits)] = True
    return np.packbits(bits, bitorder="little")


def _is_whole(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
