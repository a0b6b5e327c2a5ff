"""An n-gram model of bytes: the strongest thing that counting alone gives, as a baseline for language models.

Interpolated modified Kneser-Ney smoothing was chosen by measurement. On held-out docstrings of Python's standard
library (1.9 MB to learn from) it needs 1.68 bits per byte at order 7 and 1.57 at order 10, where Witten-Bell
interpolation needs 1.89 and 2.03: it trusts long contexts that were seen once too much. Higher orders go on gaining
slowly (1.54 at 12), because documentation repeats itself; at 10, time and memory are still small.

The maths is in `textmill.ops.byte_ngram.reference`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.ops.byte_ngram import NgramTable, count_ngrams, document_bits, next_byte


@dataclass(frozen=True, kw_only=True)
class ByteNgramConfig:
    order: int = 10
    """Bytes in an n-gram: each byte is predicted from the order - 1 before it."""
    most_bytes: int = 16 << 20
    """Learn from at most this much text, whole documents from the front. At order 10 a byte of text costs about 150
    bytes of memory."""

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 32:
            raise ConfigError(f"order must be between 1 and 32, got {self.order}", fix="10 is a good choice")
        if self.most_bytes < 1:
            raise ConfigError(f"most_bytes must be at least 1, got {self.most_bytes}", fix="leave it out")


class ByteNgram:
    """P(next byte | the order - 1 bytes before it).

    >>> model = ByteNgram(ByteNgramConfig(order=3)).fit([b"abababab"])
    >>> model.probabilities(b"aba").argmax().item()  # ord("b")
    98
    >>> round(float(model.probabilities(b"aba").sum()), 9)
    1.0
    """

    def __init__(self, config: ByteNgramConfig | None = None) -> None:
        self.config = config or ByteNgramConfig()
        self.num_bytes = 0
        """How much text it learned from, in bytes; less than it was given where `most_bytes` is smaller."""
        self._table: NgramTable | None = None

    def fit(self, documents: Iterable[bytes], *, seed: int = 0) -> Self:
        """Counts the documents. Nothing here is random: `seed` is part of the protocol.

        Raises:
            DataError: no text.
        """
        del seed
        kept: list[bytes] = []
        size = 0
        for document in documents:
            kept.append(document[: self.config.most_bytes - size])
            size += len(kept[-1])
            if size >= self.config.most_bytes:
                break
        if size == 0:
            raise DataError("an n-gram model needs text to learn from, got none", fix="give it a document")
        self._table = count_ngrams(*_flat(kept), self.config.order)
        self.num_bytes = size
        return self

    def bits_per_byte(self, documents: Iterable[bytes]) -> float:
        """Bits that the model needs per byte of the documents, each begun afresh.

        Raises:
            DataError: no text.
        """
        text, starts = _flat(list(documents))
        if len(text) == 0:
            raise DataError("bits per byte are measured on text, got none", fix="give it a document")
        return float(document_bits(self._fitted(), text, starts).sum() / len(text))

    def probabilities(self, context: bytes) -> np.ndarray:
        """P(x | context) for the 256 bytes x; the context begins its document."""
        return next_byte(self._fitted(), context)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """What was learned, as named arrays."""
        table = self._fitted()
        return {name: np.asarray(value) for name, value in table._asdict().items()}

    def _fitted(self) -> NgramTable:
        assert self._table is not None, "call fit first"
        return self._table


def _flat(documents: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """All documents one after the other, and where each begins and the last ends."""
    starts = np.zeros(len(documents) + 1, np.int64)
    np.cumsum([len(document) for document in documents], out=starts[1:])
    return np.frombuffer(b"".join(documents), np.uint8), starts
