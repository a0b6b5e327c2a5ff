"""Writes the data of `textmill.ops.split.classes`: `python -m tools.unicode_classes`. By hand, seldom; needs tiktoken.

Source of truth: what the character classes of tiktoken's regex engine match, so that token ids agree with tiktoken on
every code point. tiktoken 0.14 and tokenizers 0.23 see the same classes, those of Unicode 16.0. A newer Unicode assigns
more code points; moving to it would change the ids of text that uses them, hence the pin.
"""

import base64
import textwrap
import zlib

from textmill.ops.split.classes import CASELESS, LOWER, MARK, NUM_CODE_POINTS, NUMBER, OTHER, SPACE, UPPER

_PATTERNS = {
    UPPER: r"[\p{Lu}\p{Lt}]",
    LOWER: r"\p{Ll}",
    CASELESS: r"[\p{Lm}\p{Lo}]",
    MARK: r"\p{M}",
    NUMBER: r"\p{N}",
    SPACE: r"\s",
}
_BLOCK = 20_000
_LINE = 100


def matched(pattern: str) -> set[int]:
    """The code points that the pattern matches in tiktoken."""
    import tiktoken

    code_points = [code for code in range(NUM_CODE_POINTS) if not 0xD800 <= code < 0xE000]
    encoding = tiktoken.Encoding(
        "probe", pat_str=pattern, mergeable_ranks={bytes([byte]): byte for byte in range(256)}, special_tokens={}
    )
    found: set[int] = set()
    for start in range(0, len(code_points), _BLOCK):
        text = "".join(map(chr, code_points[start : start + _BLOCK]))
        # what no alternative matches is dropped, so that the ids hold the matched characters alone
        found.update(map(ord, encoding.decode_bytes(encoding.encode_ordinary(text)).decode()))
    return found


def runs(classes: list[int]) -> list[tuple[int, int]]:
    """(class, length) of each stretch of equal classes.

    >>> runs([1, 1, 4])
    [(1, 2), (4, 1)]
    """
    result: list[tuple[int, int]] = []
    start = 0
    for index in range(1, len(classes) + 1):
        if index == len(classes) or classes[index] != classes[start]:
            result.append((classes[start], index - start))
            start = index
    return result


def packed(stretches: list[tuple[int, int]]) -> str:
    """Base64 of the zlib-compressed runs: a byte for the class, then the length, 7 bits a byte, lowest first."""
    raw = bytearray()
    for kind, length in stretches:
        raw.append(kind)
        while length >= 0x80:
            raw.append(length & 0x7F | 0x80)
            length >>= 7
        raw.append(length)
    return base64.b64encode(zlib.compress(bytes(raw), 9)).decode()


def main() -> None:
    classes = [OTHER] * NUM_CODE_POINTS
    for kind, pattern in _PATTERNS.items():
        for code in matched(pattern):
            assert classes[code] == OTHER, f"U+{code:04X} is in two classes"
            classes[code] = kind
    print("\n".join(textwrap.wrap(packed(runs(classes)), _LINE)))


if __name__ == "__main__":
    main()
