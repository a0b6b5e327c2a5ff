"""The byte-level alphabet of GPT-2: each of the 256 bytes has a printable character, so that any token is a string.

The 188 bytes that are printable in Latin-1 stand for themselves; the others, in order, for the characters from U+0100.
Source: `bytes_to_unicode` in openai/gpt-2, src/encoder.py.
"""

import codecs
import itertools
from collections.abc import Collection


def _alphabet() -> str:
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = (chr(0x100 + index) for index in range(256))
    return "".join(chr(byte) if byte in printable else next(hidden) for byte in range(256))


BYTE_CHARACTERS = _alphabet()
"""The character of each byte: BYTE_CHARACTERS[32] is 'Ġ'."""
_TO_BYTES = codecs.charmap_build(BYTE_CHARACTERS)

BYTES_IN_ORDER = sorted(range(256), key=BYTE_CHARACTERS.__getitem__)
"""The bytes in the order of their characters, which is the order of their ids in a vocabulary trained by tokenizers."""


def to_characters(token: bytes) -> str:
    """The byte-level string of a token.

    >>> to_characters(" né".encode())
    'ĠnÃ©'
    """
    return codecs.charmap_decode(token, "strict", BYTE_CHARACTERS)[0]


def to_bytes(token: str) -> bytes | None:
    """The bytes that a byte-level string stands for; None if a character is not of the alphabet.

    >>> to_bytes("ĠnÃ©"), to_bytes("a b")
    (b' n\\xc3\\xa9', None)
    """
    try:
        return codecs.charmap_encode(token, "strict", _TO_BYTES)[0]
    except UnicodeEncodeError:
        return None


def all_to_bytes(tokens: Collection[str]) -> list[bytes | None]:
    """`to_bytes` of each, faster."""
    joined = to_bytes("".join(tokens))
    if joined is None:
        return list(map(to_bytes, tokens))
    # a byte for each character
    bounds = itertools.pairwise(itertools.accumulate(map(len, tokens), initial=0))
    return [joined[begin:end] for begin, end in bounds]
