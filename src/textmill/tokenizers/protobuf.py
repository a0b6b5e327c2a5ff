"""The wire format of protocol buffers, as far as sentencepiece's models need it: (field number, value) in order.

Source: "Encoding" in the Protocol Buffers documentation.
"""

import struct
from collections.abc import Iterable, Iterator

from textmill.errors import FormatError

Value = int | bytes | float
"""A varint, a string of bytes (a text, a message), or a 32-bit float."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def fields(message: bytes, at: int = 0) -> Iterator[tuple[int, Value]]:
    r"""The fields of a message, from a byte at which one begins. A value of 32 bits is a float, one of 64 bits comes
    out as its bytes.

    >>> list(fields(b"\x08\x96\x01\x12\x02hi"))
    [(1, 150), (2, b'hi')]

    Raises:
        FormatError: the message is cut off, or is none.
    """
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise FormatError(f"byte {at} is no field of a protocol buffer")
        if wire_type == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, at = _varint(message, at)
        elif wire_type in (_FIXED32, _FIXED64):
            length = 4 if wire_type == _FIXED32 else 8
        else:
            raise FormatError(f"byte {at} is no field of a protocol buffer: it has the type {wire_type}")
        if length > len(message) - at:
            raise FormatError(f"a protocol buffer is cut off: a field at byte {at} has {length} bytes")
        content = message[at : at + length]
        at += length
        yield number, struct.unpack("<f", content)[0] if wire_type == _FIXED32 else content


def message(content: Iterable[tuple[int, Value | str | bool]]) -> bytes:
    r"""A message of these fields.

    >>> message([(1, 150), (2, "hi"), (3, 0.5)])
    b'\x08\x96\x01\x12\x02hi\x1d\x00\x00\x00?'
    """
    parts = []
    for number, value in content:
        if isinstance(value, float):
            parts += [_key(number, _FIXED32), struct.pack("<f", value)]
        elif isinstance(value, int):
            parts += [_key(number, _VARINT), _varint_bytes(value)]
        else:
            data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            parts += [_key(number, _BYTES), _varint_bytes(len(data)), data]
    return b"".join(parts)


def signed(value: Value) -> int:
    """A varint as the int32 that it stands for.

    >>> signed((1 << 64) - 1)
    -1
    """
    assert isinstance(value, int)
    return value - (1 << 64) if value >= 1 << 63 else value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= len(message):
            raise FormatError(f"a protocol buffer is cut off at byte {at}")
        byte = message[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & ((1 << 64) - 1), at + index + 1
    raise FormatError(f"byte {at} begins a number of more than 64 bits: this is no protocol buffer")


def _varint_bytes(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _key(number: int, wire_type: int) -> bytes:
    return _varint_bytes(number << 3 | wire_type)
