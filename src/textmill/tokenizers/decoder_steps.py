"""What each decoding step does to a list of tokens, by definition: `tokenizers` 0.23.

`decoding.py` does the same to ids, faster.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from textmill.tokenizers import normalizing, steps
from textmill.tokenizers.byte_level import to_bytes

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>")
"""A byte token's spelling; a sign instead of the first digit is read, too."""
_CLEANUP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


def decode_tokens(tokens: Sequence[str], decoders: Iterable[steps.Decoder]) -> str:
    """The text of tokens, by definition: the steps one after the other, and what they leave joined.

    >>> decode_tokens(["un", "##able", "!"], [steps.DecodeWordPiece()])
    'unable!'
    """
    done = list(decoders)
    if not done:
        return " ".join(tokens)
    parts = list(tokens)
    for step in done:
        parts = ACTIONS[type(step)](parts, step)
    return "".join(parts)


def cleaned(text: str) -> str:
    """Without the blanks that splitting puts before punctuation and English contractions."""
    for dirty, clean in _CLEANUP:
        text = text.replace(dirty, clean)
    return text


# one action for each step: tokens -> tokens


def _byte_level(tokens: list[str], _step: steps.DecodeByteLevel) -> list[str]:
    data = b"".join(
        token.encode("utf-8", "surrogateescape") if (found := to_bytes(token)) is None else found for token in tokens
    )
    return [data.decode("utf-8", "replace")]


def _wordpiece(tokens: list[str], step: steps.DecodeWordPiece) -> list[str]:
    joined = [
        token if i == 0 else token[len(step.prefix) :] if token.startswith(step.prefix) else " " + token
        for i, token in enumerate(tokens)
    ]
    return [cleaned(token) for token in joined] if step.cleanup else joined


def _metaspace(tokens: list[str], step: steps.DecodeMetaspace) -> list[str]:
    first = "" if step.prepend != "never" else " "
    return [token.replace(step.replacement, " " if i else first) for i, token in enumerate(tokens)]


def _suffix(tokens: list[str], step: steps.DecodeSuffix) -> list[str]:
    last = len(tokens) - 1
    return [token.replace(step.suffix, "" if i == last else " ") for i, token in enumerate(tokens)]


def _byte_fallback(tokens: list[str], _step: steps.DecodeByteFallback) -> list[str]:
    parts: list[str] = []
    waiting = bytearray()

    def flush() -> None:
        if waiting:
            try:
                parts.append(waiting.decode())
            except UnicodeDecodeError:
                parts.extend("\ufffd" * len(waiting))
            waiting.clear()

    for token in tokens:
        if match := BYTE_TOKEN.fullmatch(token):
            waiting.append(int(match.group(1), 16))
        else:
            flush()
            parts.append(token)
    flush()
    return parts


def _strip(tokens: list[str], step: steps.DecodeStrip) -> list[str]:
    return [stripped(token, step) for token in tokens]


def stripped(token: str, step: steps.DecodeStrip) -> str:
    """The token without up to so many of the character at each end."""
    left = right = 0
    while left < min(step.start, len(token)) and token[left] == step.content:
        left += 1
    while right < min(step.stop, len(token) - left) and token[-1 - right] == step.content:
        right += 1
    return token[left : len(token) - right]


def _ctc(tokens: list[str], step: steps.DecodeCtc) -> list[str]:
    parts = []
    for token, before in zip(tokens, [None, *tokens], strict=False):
        if token == before:
            continue
        token = token.replace(step.pad_token, "")
        if step.cleanup:
            token = cleaned(token).replace(step.word_delimiter, " ")
        if token:
            parts.append(token)
    return parts


def _replace(tokens: list[str], step: steps.DecodeReplace) -> list[str]:
    as_normalizer = steps.Replace(pattern=step.pattern, content=step.content, is_regex=step.is_regex)
    return [normalizing.normalize(token, [as_normalizer]) for token in tokens]


ACTIONS: Mapping[type, Callable[[list[str], Any], list[str]]] = {
    steps.DecodeByteLevel: _byte_level,
    steps.DecodeWordPiece: _wordpiece,
    steps.DecodeMetaspace: _metaspace,
    steps.DecodeSuffix: _suffix,
    steps.DecodeByteFallback: _byte_fallback,
    steps.DecodeFuse: lambda tokens, _: ["".join(tokens)],
    steps.DecodeStrip: _strip,
    steps.DecodeReplace: _replace,
    steps.DecodeCtc: _ctc,
}
