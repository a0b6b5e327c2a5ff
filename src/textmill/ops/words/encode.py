"""`WordEncoder`: pieces to ids, one each."""

from collections.abc import Mapping

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.ops.bpe import OUT_SLACK, PieceCounter, PieceCounts
from textmill.ops.bpe.keys import bad_ends, check_block
from textmill.ops.words import cpu as kernels


class WordEncoder:
    """Encodes pieces that are words of a vocabulary; another piece is the unknown token.

    >>> from textmill.ops.memory import padded
    >>> encoder = WordEncoder({b"a": 7, b"cat": 3}, unknown=0)
    >>> encoder.encode(padded(b"acatx"), 0, np.array([1, 4, 5], np.int32)).tolist()
    [7, 3, 0]
    """

    def __init__(self, tokens: Mapping[bytes, int], *, unknown: int | None) -> None:
        """unknown: None raises an error for such a piece.

        Raises:
            ConfigError: an empty word, or an id out of range.
        """
        if b"" in tokens or any(not 0 <= id < 1 << 31 for id in tokens.values()):
            raise ConfigError("words must have bytes, and ids from 0 to 2**31-1", fix="check the vocabulary")
        counter = PieceCounter()
        counter.add_counts(PieceCounts.from_mapping(dict.fromkeys(tokens, 1)))
        self._table, self._arena, self._offsets = counter.index_arrays()
        self._ids = np.fromiter(tokens.values(), dtype=np.int32, count=len(tokens))
        self._unknown = unknown

    def clone(self) -> "WordEncoder":
        """Itself: it has no state, so threads can share it."""
        return self

    def encode(self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None) -> np.ndarray:
        """int32: the ids of the pieces that end at start + ends[0], start + ends[1], ...; the first begins at start.

        Raises:
            DataError: the block is not what a splitter makes (see `check_block`), its ends do not grow, or a piece is
                no word and there is no unknown token.
        """
        ends = check_block(text, start, ends, num_pieces)
        out = np.empty(len(ends), dtype=np.int32)
        unknown = -1 if self._unknown is None else self._unknown
        tables = (self._table, self._arena, self._offsets, self._ids)
        if kernels.look_up(text, start, ends, *tables, unknown, out) == kernels.BAD_ENDS:
            raise bad_ends()
        if self._unknown is None and len(out) and out.min() < 0:
            index = int(np.flatnonzero(out < 0)[0])
            first = int(ends[index - 1]) if index else 0
            word = text[start + first : start + int(ends[index])].tobytes()
            raise DataError(f"the vocabulary has no token for {word[:60]!r}", fix="use one with an unknown token")
        return out

    def encode_into(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None, out: np.ndarray
    ) -> int:
        """How many ids were written to the front of `out`.

        Raises:
            DataError: as in `encode`, or `out` is too small.
        """
        ids = self.encode(text, start, ends, num_pieces)
        if len(out) < len(ids) + OUT_SLACK:
            raise DataError(f"out must hold {len(ids) + OUT_SLACK} ids, got {len(out)}", fix="enlarge it")
        out[: len(ids)] = ids
        return len(ids)

    def encode_with_ends(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, int32 ends): the tokens are the pieces."""
        return self.encode(text, start, ends, num_pieces), check_block(text, start, ends, num_pieces)
