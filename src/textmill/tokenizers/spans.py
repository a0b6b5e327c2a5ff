"""Where in the text each token came from."""

from collections.abc import Sequence

import numpy as np

from textmill.tokenizers.engine import Workspace
from textmill.tokenizers.pipeline import TEXT, Part

_BLANK = ord(" ")


def byte_spans(workspace: Workspace, data: bytes, parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(int32 ids, int64 first byte, int64 byte after the last) of each token of the parts; they tile the data."""
    buffer = workspace.buffer(data)
    ids: list[np.ndarray] = [np.empty(0, dtype=np.int32)]
    ends: list[np.ndarray] = [np.empty(0, dtype=np.int64)]
    for start, stop, id in parts:
        if id == TEXT:
            for block_ids, block_ends in workspace.encode_with_ends(buffer, start, stop):
                ids.append(block_ids)
                ends.append(block_ends)
        else:
            ids.append(np.array([id], dtype=np.int32))
            ends.append(np.array([stop], dtype=np.int64))
    all_ends = np.concatenate(ends)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), all_ends[:-1]])[: len(all_ends)]
    return np.concatenate(ids), starts, all_ends


def in_characters(data: bytes, starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int]]:
    """The same spans in characters: each from the character that holds its first byte to the one that holds its last.

    >>> in_characters("é!".encode(), np.array([0, 1]), np.array([1, 3]))
    [(0, 1), (0, 2)]
    """
    if not data.isascii():
        # entry i is the number of characters that begin at byte i or before it
        begun = np.cumsum((np.frombuffer(data, dtype=np.uint8) & 0xC0) != 0x80)
        starts, ends = begun[starts] - 1, begun[ends - 1]
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def trimmed(data: bytes, starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int]]:
    """`in_characters` without the blanks at both ends of each token; a token of blanks alone becomes empty."""
    spans = []
    for (start, end), first, after in zip(
        in_characters(data, starts, ends), starts.tolist(), ends.tolist(), strict=True
    ):
        token = data[first:after]
        start = min(start + len(token) - len(token.lstrip(b" ")), end)
        spans.append((start, max(end - len(token) + len(token.rstrip(b" ")), start)))
    return spans
