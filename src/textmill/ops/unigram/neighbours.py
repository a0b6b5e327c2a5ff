"""Which characters stand side by side in the pieces of a vocabulary, for cutting text where none do: see `cpu_cut`."""

import numpy as np

from textmill.ops.unigram.cpu_cut import PAIR_FACTOR

_CODE_POINTS = 1 << 16
# of 32 bits asked about at random one is set
_BITS_PER_PAIR = 32
_FEWEST_PAIR_BITS, _MOST_PAIR_BITS = 10, 22


def neighbour_tables(contents: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """(uint8: a bit for each hash of a pair of neighbours in a piece, uint8 [8192]: a bit for each code point in one,
    and for those that no three bytes stand for); see `cpu_cut`."""
    sizes = np.array([len(content) for content in contents], dtype=np.int64)
    text = np.concatenate([np.frombuffer(b"".join(contents), dtype=np.uint8), np.zeros(8, np.uint8)]).astype(np.int64)
    piece = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(8, -1)])
    wide, narrow = (text & 0xF0) == 0xE0, text < 0x80
    at = np.flatnonzero(wide[:-8])
    codes = text.copy()
    codes[at] = (text[at] & 0x0F) << 12 | (text[at + 1] & 0x3F) << 6 | text[at + 2] & 0x3F
    first = np.flatnonzero((wide | narrow)[:-8])
    second = first + np.where(wide[first], 3, 1)
    joined = (piece[first] == piece[second]) & (wide | narrow)[second] & (wide[first] | wide[second])
    keys = np.unique(codes[first[joined]] << 16 | codes[second[joined]]).astype(np.uint64)
    bits = min(max((_BITS_PER_PAIR * len(keys)).bit_length(), _FEWEST_PAIR_BITS), _MOST_PAIR_BITS)
    pairs = np.zeros(1 << bits, dtype=bool)
    # whole numbers wrap around, as in the kernel
    pairs[(keys * np.uint64(PAIR_FACTOR)) >> np.uint64(64 - bits)] = True
    known = np.zeros(_CODE_POINTS, dtype=bool)
    known[codes[at]] = True
    known[:0x800] = known[0xD800:0xE000] = True
    return np.packbits(pairs, bitorder="little"), np.packbits(known, bitorder="little")
