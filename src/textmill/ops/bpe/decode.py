"""`TokenBytes`: ids to bytes."""

from collections.abc import Sequence

import numpy as np

from textmill.errors import DataError
from textmill.ops.bpe import cpu_decode as kernels
from textmill.ops.memory import PADDING, padded


class TokenBytes:
    """The bytes of every id of a vocabulary; None where there is no such id.

    >>> tokens = TokenBytes([b"a", b" cat", None])
    >>> tokens.decode(np.array([0, 1]))
    b'a cat'
    """

    def __init__(self, tokens: Sequence[bytes | None]) -> None:
        if b"" in tokens:
            raise DataError(
                f"token {list(tokens).index(b'')} has no bytes", fix="use None for an id that does not exist"
            )
        self.lengths = np.array([len(token or b"") for token in tokens], dtype=np.int32)
        """int32[ids]: bytes of each token, 0 where there is none."""
        self._offsets = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        self._arena = padded(b"".join(token or b"" for token in tokens))

    def decode(self, ids: np.ndarray | Sequence[int]) -> bytes:
        """The bytes of the ids, one after the other.

        Raises:
            DataError: an id that is not in the vocabulary, or ids that are not whole numbers.
        """
        numbers = np.asarray(ids)
        if numbers.size == 0:
            return b""
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
            raise DataError(f"ids must be whole numbers in one row, got {numbers.dtype} of {numbers.ndim} dimensions")
        # two kernels at most: int32, and int64 for all the rest
        if numbers.dtype == np.uint64 and numbers.max() > np.uint64(1 << 62):
            raise DataError(f"token id {numbers.max()} is not in the vocabulary", fix=self._range())
        numbers = np.ascontiguousarray(numbers, dtype=np.int32 if numbers.dtype.itemsize <= 2 else None)
        if numbers.dtype != np.int32:
            numbers = numbers.astype(np.int64)
        if not numbers.flags.writeable:
            numbers = numbers.copy()
        total = kernels.decoded_bytes(numbers, self.lengths)
        if total < 0:
            raise DataError(f"token id {numbers[-1 - total]} is not in the vocabulary", fix=self._range())
        out = np.empty(total + PADDING, dtype=np.uint8)
        kernels.copy_tokens(numbers, self.lengths, self._offsets, self._arena, out)
        return out[:total].tobytes()

    def _range(self) -> str:
        return f"ids of this vocabulary are below {len(self.lengths)}"
