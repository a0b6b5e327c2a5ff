r"""The published pre-tokenisation patterns, and the definition of the pieces: the `regex` module runs the pattern.

Sources: GPT-2, cl100k and o200k as tiktoken 0.14 publishes them (`tiktoken_ext/openai_public.py`), Llama 3 as in its
`tokenizer.json`, which is also cl100k as it was first published. tiktoken writes the end of the text as `$`, which in
Python also matches before a last line feed, so `\Z` stands here. Qwen 2, Tekken (Mistral) and DeepSeek V3 as in their
`tokenizer.json`; DeepSeek's has three splits, one after the other, which are `DEEPSEEK_STEPS`. Kimi K2 as in its
`tokenization_kimi.py`.
"""

import functools
from typing import Any

import numpy as np

from textmill.errors import DataError, NotSupportedError

DEEPSEEK_STEPS = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
"""The three splits of DeepSeek V3: each cuts the pieces of the one before at its matches."""

# of DeepSeek's second split, the letters and marks, and the code points that are unassigned
_HAN_OR_KANA = "一-龥ぁ-ゖ\u3099\u309aゝ-ゟァ-ヺー-ヿ"
_NO_KANA = "\u3040\u3097\u3098"

# Kimi's letters, without Han; its own spelling is a class with &&[^\p{Han}], which the `regex` module reads otherwise
_NOT_LOWER = r"(?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
_NOT_UPPER = r"(?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}])"

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
    "qwen2": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "tekken": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "kimi": (
        rf"\p{{Han}}+|[^\r\n\p{{L}}\p{{N}}]?{_NOT_LOWER}*{_NOT_UPPER}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{_NOT_LOWER}+{_NOT_UPPER}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    # the three steps at once: what the first two cut out ends the text of the third, which cuts it once more; so the
    # second alternative is that of letters among the Han and the kana, the third their symbols, the fourth the rest
    "deepseek": (
        rf"\p{{N}}{{1,3}}|[{_NO_KANA}]?[{_HAN_OR_KANA}]+|[゛゜゠・]+|[{_NO_KANA}]+(?![{_HAN_OR_KANA}])"
        r"|[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
        r"|[^\r\n\p{L}\p{P}\p{S}\p{N}一-龥぀-ヿ]?(?:(?![一-龥぀-ヿ])[\p{L}\p{M}])+"
        r"| ?(?:(?![一-龥぀-ヿ])[\p{P}\p{S}])+[\r\n]*|\s*[\r\n]+|\s+(?![^\s\p{N}一-龥぀-ヿ])|\s+"
    ),
}

SECONDS_AT_LEAST = 5.0
BYTES_PER_SECOND = 50_000
"""The `regex` module is given this long: a common pattern runs 20 times as fast or more."""


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
    r"""int64: the byte offset after each piece; see `marked_ends`.

    >>> piece_ends(PATTERNS["gpt2"], b"don't go  now").tolist()
    [3, 5, 8, 9, 13]
    """
    return marked_ends(pattern, data)[0]


def marked_ends(pattern: str, data: bytes, *, seconds: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    r"""(byte offset after each piece, whether it is a match): int64 and bool, both [pieces].

    A piece is a match of the pattern, or the stretch between two matches. A byte that is not part of valid UTF-8 is
    matched as a lone surrogate, thus as neither letter, number nor space.

    >>> ends, matches = marked_ends(r"\d+", b"a12b")
    >>> ends.tolist(), matches.tolist()
    ([1, 3, 4], [False, True, False])

    Args:
        seconds: after which to give up; None: a time by the length of the text.

    Raises:
        DataError: matching took too long, which shows a pattern that tries exponentially many ways.
    """
    text = data.decode("utf-8", "surrogateescape")
    seconds = max(SECONDS_AT_LEAST, len(data) / BYTES_PER_SECOND) if seconds is None else seconds
    spans: list[int] = []
    try:
        for match in compiled(pattern).finditer(text, timeout=seconds):
            spans += match.span()
    except TimeoutError:
        raise DataError(
            f"the splitting pattern {pattern!r} took more than {seconds:g} s on {len(data)} bytes of text",
            fix="take out repeats within repeats, such as (a+)+",
        ) from None
    # in characters, with the empty stretches between matches: both vanish below
    starts, stops = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    cuts = np.unique(np.concatenate([starts, stops, [len(text)]]))
    cuts = cuts[cuts > 0]
    matches = np.isin(cuts, stops[stops > starts])
    if len(text) == len(data):
        return cuts, matches
    return byte_offsets(text)[cuts], matches


def byte_offsets(text: str) -> np.ndarray:
    """int64 [characters + 1]: the byte at which each character of a surrogate-escaped text begins, and the length.

    >>> byte_offsets("aé中").tolist()
    [0, 1, 3, 6]
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    widths = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    widths[(codes >= 0xDC80) & (codes <= 0xDCFF)] = 1
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(widths)])
