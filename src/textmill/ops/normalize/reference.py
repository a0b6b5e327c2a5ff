"""sentencepiece's normaliser, by its definition: at each place the longest rule wins, then blanks are dealt with.

Source: Kudo and Richardson 2018, arXiv:1808.06226, section 3.1 and 3.2; `src/normalizer.cc` of sentencepiece 0.2.3.
"""

import dataclasses
from collections.abc import Mapping

ESCAPED_BLANK = "▁".encode()
REPLACEMENT = "\ufffd".encode()


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlankRules:
    """What becomes of blanks (U+0020)."""

    dummy_prefix: bool = True
    """A blank is put before the text."""
    squeeze_blanks: bool = True
    """Runs of blanks become one, those at the ends none."""
    escape_blanks: bool = True
    """Blanks become `▁`."""
    blank_as_suffix: bool = False
    """The dummy blank stands at the end instead."""


def normalized(
    data: bytes, rules: Mapping[bytes, bytes], user_defined: frozenset[bytes], blanks: BlankRules
) -> tuple[bytes, list[int]]:
    """(the normalised text, for each of its bytes and for its end the byte of `data` that it came from).

    Args:
        rules: what replaces what.
        user_defined: strings that stay as they are, whatever the rules say.

    >>> normalized(b" a  1", {b"1": b"one"}, frozenset(), BlankRules())[0].decode()
    '▁a▁one'
    """
    at, out, sources = 0, bytearray(), []
    blank = ESCAPED_BLANK if blanks.escape_blanks else b" "

    def put(string: bytes) -> None:
        out.extend(string)
        sources.extend([at] * len(string))

    if blanks.squeeze_blanks:
        while at < len(data) and (step := _prefix(data, at, rules, user_defined))[0] == b" ":
            at += step[1]
    if at == len(data):
        return b"", [at]
    if blanks.dummy_prefix and not blanks.blank_as_suffix:
        put(blank)
    after_blank = blanks.squeeze_blanks
    while at < len(data):
        string, length = _prefix(data, at, rules, user_defined)
        if after_blank:
            string = string.lstrip(b" ")
        put(string.replace(b" ", blank))
        if string:
            after_blank = blanks.squeeze_blanks and string.endswith(b" ")
        at += length
    while blanks.squeeze_blanks and out.endswith(blank):
        at = sources[-len(blank)]
        del out[-len(blank) :], sources[-len(blank) :]
    if blanks.dummy_prefix and blanks.blank_as_suffix:
        put(blank)
    return bytes(out), [*sources, at]


def _prefix(data: bytes, at: int, rules: Mapping[bytes, bytes], user_defined: frozenset[bytes]) -> tuple[bytes, int]:
    """(what stands for the next bytes, how many they are)."""
    for length in range(len(data) - at, 0, -1):
        if data[at : at + length] in user_defined:
            return data[at : at + length], length
    for length in range(len(data) - at, 0, -1):
        if data[at : at + length] in rules:
            return rules[data[at : at + length]], length
    for length in range(1, 5):
        try:
            if len(data[at : at + length].decode()) == 1:
                return data[at : at + length], length
        except UnicodeDecodeError:
            pass
    return REPLACEMENT, 1
