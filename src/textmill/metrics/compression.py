"""What general compressors need for a text: baselines for a language model in bits per byte.

Alone, a compressor has seen nothing before and pays for learning the language. Primed, it has read the training text
first, as the model has. `gzip` looks back 32 KiB at most, so priming gives it the last 32 KiB of the training text and
no more; `xz` gets a dictionary as long as both texts together, so it can copy from anywhere in them.
"""

import gzip
import lzma
import zlib
from collections.abc import Mapping

from textmill.errors import DataError

GZIP_WINDOW_BYTES = 32 << 10
"""How far deflate looks back."""
XZ_LARGEST_DICTIONARY_BYTES = 64 << 20
"""`xz -9e`'s own. The encoder takes about eleven times the dictionary in memory, so the dictionary is no longer than
the text and never longer than this."""
_GZIP_FRAME_BYTES = 18
"""Header and trailer of a gzip file without a name."""


def gzip_bits_per_byte(text: bytes, *, train: bytes = b"") -> float:
    """Bits per byte of `text` by `gzip -9`, after the last 32 KiB of `train`.

    >>> gzip_bits_per_byte(b"a" * 10000) < 0.1
    True

    Raises:
        DataError: no text.
    """
    _check(text)
    if not train:
        return 8 * len(gzip.compress(text, 9, mtime=0)) / len(text)
    # a gzip file cannot name a dictionary: the same deflate stream without the frame, and the frame's size added
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, train[-GZIP_WINDOW_BYTES:])
    size = len(deflate.compress(text)) + len(deflate.flush()) + _GZIP_FRAME_BYTES
    return 8 * size / len(text)


def xz_bits_per_byte(text: bytes, *, train: bytes = b"") -> float:
    """Bits per byte of `text` by `xz -9e`; after `train`: (size(train + text) - size(train)) / bytes of text.

    Takes about a second per megabyte and eleven times the length of both texts in memory, up to 700 MB.

    Raises:
        DataError: no text.
    """
    _check(text)
    dictionary_bytes = min(max(4096, len(train) + len(text)), XZ_LARGEST_DICTIONARY_BYTES)
    whole = _xz_size(train + text, dictionary_bytes)
    return 8 * (whole - (_xz_size(train, dictionary_bytes) if train else 0)) / len(text)


def compression_baselines(text: bytes, train: bytes) -> Mapping[str, float]:
    """Bits per byte of `text` by each compressor, alone and primed with `train`; the names are fit for a plot."""
    return {
        "gzip -9": gzip_bits_per_byte(text),
        "gzip -9 after 32 KiB of training text": gzip_bits_per_byte(text, train=train),
        "xz -9e": xz_bits_per_byte(text),
        "xz -9e after the training text": xz_bits_per_byte(text, train=train),
    }


def _xz_size(data: bytes, dictionary_bytes: int) -> int:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary_bytes}]
    return len(lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=filters))


def _check(text: bytes) -> None:
    if not text:
        raise DataError("bits per byte are measured on text, got none", fix="give it a document")
