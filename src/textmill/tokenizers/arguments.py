"""What callers give, checked before anything is done with it."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.tokenizers.pipeline import Buffer, utf8

_Text = TypeVar("_Text")


def several(texts: Iterable[_Text], what: str = "texts") -> Iterable[_Text]:
    """The texts as they are. One text would be taken for a list of its characters, or of its bytes.

    Raises:
        ConfigError: it is one text.
    """
    if isinstance(texts, str | bytes | bytearray | memoryview):
        raise ConfigError(f"{what} must be a list, got a single {type(texts).__name__}", fix="give a list: [text]")
    return texts


def text_bytes(text: str) -> bytes:
    """The text as UTF-8.

    Raises:
        DataError: it is not a string.
    """
    if not isinstance(text, str):
        fix = "decode it" if isinstance(text, bytes | bytearray | memoryview) else "give a string"
        raise DataError(f"a text must be a str, got {type(text).__name__}", fix=fix)
    return utf8(text)


def flat_bytes(data: str | Buffer) -> Buffer:
    """The data as bytes, or as a view whose elements are bytes; a string as UTF-8.

    Raises:
        DataError: it is neither a string nor memory.
    """
    if isinstance(data, str):
        return utf8(data)
    if isinstance(data, bytes):
        return data
    if isinstance(data, memoryview) and data.format == "B" and data.ndim == 1 and data.c_contiguous:
        return data
    try:
        return bytes(memoryview(data))
    except TypeError:
        raise DataError(f"a text must be str or bytes, got {type(data).__name__}", fix="give a string") from None


def whole_numbers(ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """The ids as one flat array of whole numbers.

    Raises:
        DataError: they are of another kind.
    """
    array = np.asarray(ids)
    if array.size and array.dtype.kind not in "iu":
        raise DataError(f"ids must be whole numbers of 64 bits, got {array.dtype}", fix="give token ids")
    return array.ravel() if array.size else array.astype(np.int64).ravel()


def check_threads(threads: int) -> None:
    """Checks that a thread is left to work.

    Raises:
        ConfigError: less than one.
    """
    if threads < 1:
        raise ConfigError(f"threads must be >= 1, got {threads}", fix="use threads=1")
