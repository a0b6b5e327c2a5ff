"""Figures of language models. A loss is a sum in nats; each function says what it divides by."""

import math

from textmill.errors import DataError


def bits_per_byte(nats: float, num_bytes: int) -> float:
    """Bits needed per byte of text: nats / (ln 2 * bytes).

    Unlike a loss per token it can be compared between models with different tokenizers, and with compressors.

    >>> round(bits_per_byte(1000 * math.log(2), 500), 12)
    2.0

    Raises:
        DataError: no bytes.
    """
    return nats / math.log(2) / _positive(num_bytes, "bytes")


def bits_per_character(nats: float, num_characters: int) -> float:
    """Bits needed per character (Unicode code point): nats / (ln 2 * characters).

    Raises:
        DataError: no characters.
    """
    return nats / math.log(2) / _positive(num_characters, "characters")


def loss_per_token(nats: float, num_tokens: int) -> float:
    """Mean cross-entropy in nats per token.

    Raises:
        DataError: no tokens.
    """
    return nats / _positive(num_tokens, "tokens")


def perplexity(nats: float, num_tokens: int) -> float:
    """exp(nats / tokens): among how many equally likely tokens the model hesitates on average; inf when too large.

    >>> round(perplexity(10 * math.log(8), 10), 9)
    8.0

    Raises:
        DataError: no tokens.
    """
    try:
        return math.exp(loss_per_token(nats, num_tokens))
    except OverflowError:
        return math.inf


def _positive(count: int, unit: str) -> int:
    if count <= 0:
        raise DataError(f"a figure per {unit[:-1]} needs at least one, got {count} {unit}", fix="measure on more text")
    return count
