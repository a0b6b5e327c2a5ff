"""Leftmost-longest matching by its definition."""

from collections.abc import Sequence


def find(strings: Sequence[bytes], data: bytes) -> list[tuple[int, int]]:
    """(start, number of the string) of each match in order: the leftmost, there the longest, and on behind its end.

    Of equal strings the first one is found, an empty one never.

    >>> find([b"ab", b"abc", b"cd"], b"abcdcd")
    [(0, 1), (4, 2)]
    """
    found = []
    at = 0
    while at < len(data):
        matching = [i for i in range(len(strings)) if strings[i] and data.startswith(strings[i], at)]
        if matching:
            longest = max(matching, key=lambda i: len(strings[i]))
            found.append((at, longest))
            at += len(strings[longest])
        else:
            at += 1
    return found
