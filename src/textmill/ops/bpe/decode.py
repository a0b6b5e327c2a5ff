"""`TokenBytes`: ids to bytes."""

import ctypes
from collections.abc import Sequence

import numpy as np

from textmill.errors import DataError
from textmill.ops.bpe import cpu_decode as kernels
from textmill.ops.memory import padded

_PYTHON = ctypes.PyDLL(None)
_PYTHON.PyBytes_FromStringAndSize.argtypes = ctypes.c_char_p, ctypes.c_ssize_t
_PYTHON.PyBytes_FromStringAndSize.restype = ctypes.py_object
_PYTHON.PyBytes_AsString.argtypes = (ctypes.py_object,)
_PYTHON.PyBytes_AsString.restype = ctypes.c_void_p


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
        is_long = self.lengths > kernels.SHORT_BYTES
        self._arena = padded(b"".join(token or b"" for token, long in zip(tokens, is_long, strict=True) if long))
        self._records = _records(tokens, self.lengths, is_long)

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
        if numbers.dtype.itemsize > 2 and numbers.dtype != np.int32:
            outside = (numbers < 0) | (numbers >= len(self.lengths))
            if outside.any():
                raise DataError(f"token id {numbers[outside.argmax()]} is not in the vocabulary", fix=self._range())
        numbers = np.ascontiguousarray(numbers, dtype=np.int32)
        if not numbers.flags.writeable:
            numbers = numbers.copy()
        total = kernels.decoded_bytes(numbers, self.lengths)
        if total < 0:
            raise DataError(f"token id {numbers[-1 - total]} is not in the vocabulary", fix=self._range())
        decoded, address = _new_bytes(int(total))
        kernels.copy_tokens(numbers, self.lengths, self._records, self._arena, address, total)
        return decoded

    def _range(self) -> str:
        return f"ids of this vocabulary are below {len(self.lengths)}"


def _records(tokens: Sequence[bytes | None], lengths: np.ndarray, is_long: np.ndarray) -> np.ndarray:
    """uint8[ids, 16]: the record of each id, see `cpu_decode`."""
    records = np.zeros((len(tokens), kernels.RECORD_BYTES), dtype=np.uint8)
    records[:, -1] = np.where(is_long, kernels.LONG, lengths)
    places = np.cumsum(np.where(is_long, lengths, 0), dtype=np.int64) - lengths
    records[is_long, :8] = places[is_long, None].view(np.uint8)
    short = np.where(is_long, 0, lengths)
    rows = np.repeat(np.arange(len(tokens)), short)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(short) - short, short)
    text = b"".join(token for token in tokens if token is not None and len(token) <= kernels.SHORT_BYTES)
    records[rows, columns] = np.frombuffer(text, dtype=np.uint8)
    return records


def _new_bytes(size: int) -> tuple[bytes, int]:
    """A bytes object that still has to be filled, and where its bytes lie: CPython's own way to make one in place."""
    made = _PYTHON.PyBytes_FromStringAndSize(None, size)
    return made, _PYTHON.PyBytes_AsString(made)
