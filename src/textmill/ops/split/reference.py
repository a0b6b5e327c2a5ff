r"""The published pre-tokenisation patterns, and the definition of the pieces: the `regex` module runs the pattern.

Sources: GPT-2, cl100k and o200k as tiktoken 0.14 publishes them (`tiktoken_ext/openai_public.py`), Llama 3 as in its
`tokenizer.json`, which is also cl100k as it was first published. tiktoken writes the end of the text as `$`, which in
Python also matches before a last line feed, so `\Z` stands here.
"""

import functools
from typing import Any

import numpy as np

from textmill.errors import NotSupportedError

PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++\Z|\s+(?!\S)|\s",
    "cl100k": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++\Z|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "llama3": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}


@functools.lru_cache(maxsize=64)
def compiled(pattern: str) -> Any:
    """The pattern, compiled by the `regex` module.

    Raises:
        NotSupportedError: it does not compile.
    """
    import regex

    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise NotSupportedError(
            f"the splitting pattern {pattern!r} cannot be used: {error}", fix="choose from " + ", ".join(PATTERNS)
        ) from None


def piece_ends(pattern: str, data: bytes) -> np.ndarray:
    r"""int64: the byte offset after each piece: each match of the pattern, and each stretch between two matches.

    A byte that is not part of valid UTF-8 is matched as a lone surrogate, thus as neither letter, number nor space.

    >>> piece_ends(PATTERNS["gpt2"], b"don't go  now").tolist()
    [3, 5, 8, 9, 13]
    """
    text = data.decode("utf-8", "surrogateescape")
    ends: list[int] = []
    for match in compiled(pattern).finditer(text):
        ends += match.span()
    ends.append(len(text))
    # in characters, with the empty stretches between matches: both vanish here
    cuts = np.unique(np.array(ends, dtype=np.int64))
    cuts = cuts[cuts > 0]
    if len(text) == len(data):
        return cuts
    return byte_offsets(text)[cuts]


def byte_offsets(text: str) -> np.ndarray:
    """int64 [characters + 1]: the byte at which each character of a surrogate-escaped text begins, and the length.

    >>> byte_offsets("aé中").tolist()
    [0, 1, 3, 6]
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    widths = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    widths[(codes >= 0xDC80) & (codes <= 0xDCFF)] = 1
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(widths)])
