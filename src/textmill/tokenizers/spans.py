"""Where in the text each token came from."""

import numpy as np

# surrogates, without their low ten bits
_HIGH, _LOW = 0x36, 0x37


def character_arrays(data: bytes, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same spans in characters: each from the character that holds its first byte to the one that holds its last.

    >>> character_arrays("é!".encode(), np.array([0, 1]), np.array([1, 3]))
    (array([0, 0]), array([1, 2]))
    """
    if data.isascii():
        return starts, ends
    # entry i is the number of characters that begin at byte i or before it
    begun = np.cumsum((np.frombuffer(data, dtype=np.uint8) & 0xC0) != 0x80)
    empty = starts == ends
    starts, ends = begun[np.minimum(starts, len(begun) - 1)] - 1, begun[ends - 1]
    return starts, np.where(empty, starts, ends)


def in_characters(data: bytes, starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int]]:
    """`character_arrays` as a list of pairs.

    >>> in_characters("é!".encode(), np.array([0, 1]), np.array([1, 3]))
    [(0, 1), (0, 2)]
    """
    starts, ends = character_arrays(data, starts, ends)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def in_original(text: str, data: bytes, found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    r"""The same spans of `text`, where they are those of its UTF-8 data: there two surrogates may have become one.

    >>> in_original("\ud83d\ude00!", "\U0001f600!".encode(), [(0, 1), (1, 2)])
    [(0, 2), (2, 3)]
    """
    if len(text) == len(data) or len(text) == len(data.decode()):
        return found
    halves = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32) >> 10
    second = np.flatnonzero((halves[:-1] == _HIGH) & (halves[1:] == _LOW)) + 1
    begins = np.delete(np.arange(len(text) + 1), second).tolist()
    return [(begins[start], begins[end]) for start, end in found]
