"""The normalisation rules that sentencepiece knows by name, derived from Unicode's data.

A rule replaces one string by another. The normal form of any text is more than a table can hold, so the rules cover
what they can: every character, and every sequence of characters that stands for the same as one character does.
Source: Kudo and Richardson 2018, arXiv:1808.06226, section 3.2; the rules are those of sentencepiece 0.2.3, Unicode 17.
"""

import collections
import functools
import itertools
import unicodedata
from collections.abc import Iterator, Mapping

from textmill.errors import ConfigError
from textmill.tokenizers.peer_data import LOWERED

NAMES = ("nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity")

_CYRILLIC = "абвгдежзиклмопрстуфхцчшыэю\ua689әіјөүӏабвгдежзиклопсуфхцчшъыґіѕџҫꙑұ"
_NEW_SINGLE: dict[str, str] = {
    "\ua7f1": "S",
    **{chr(0x1CCD6 + i): letter for i, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")},
    **{chr(0x1E030 + i): letter for i, letter in enumerate(_CYRILLIC)},
}
"""Compatibility characters from Unicode 15 on, which Python 3.11 does not know."""
_NEW_COMPOSED: dict[str, str] = {
    "\U000105c9": "\U000105d2\u0307",
    "\U000105e4": "\U000105da\u0307",
    "\U00011383": "\U00011382\U000113c9",
    "\U00011385": "\U00011384\U000113bb",
    "\U0001138e": "\U0001138b\U000113c2",
    "\U00011391": "\U00011390\U000113c9",
    "\U000113c5": "\U000113c2\U000113c2",
    "\U000113c7": "\U000113c2\U000113b8",
    "\U000113c8": "\U000113c2\U000113c9",
    "\U00016121": "\U0001611e\U0001611e",
    "\U00016122": "\U0001611e\U00016129",
    "\U00016123": "\U0001611e\U0001611f",
    "\U00016124": "\U00016129\U0001611f",
    "\U00016125": "\U0001611e\U00016120",
    "\U00016126": "\U0001611e\U0001611e\U0001611f",
    "\U00016127": "\U0001611e\U00016129\U0001611f",
    "\U00016128": "\U0001611e\U0001611e\U00016120",
    "\U00016d68": "\U00016d67\U00016d67",
    "\U00016d69": "\U00016d63\U00016d67",
    "\U00016d6a": "\U00016d63\U00016d67\U00016d67",
}
"""Characters from Unicode 16 on that are composed of others."""
_NEW_CHARACTERS = _NEW_SINGLE.keys() | _NEW_COMPOSED.keys()
_BLOCK = 256
_DROPPED = [*range(1, 9), 0xB, *range(0xE, 0x20), 0x7F, 0x8F, 0x9F]
_BLANKS = [0x9, 0xA, 0xC, 0xD, 0x1680, 0x61C, 0x200B, 0x200C, 0x200E, 0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD]
_FULL_WIDTH_TILDE = "\uff5e"


@functools.cache
def charsmap(name: str) -> bytes:
    """The compiled rules of a name in `NAMES`; see `textmill.ops.normalize.build_charsmap`.

    Raises:
        ConfigError: there is no such name.
    """
    from textmill.ops.normalize import build_charsmap

    return build_charsmap(rules(name))


@functools.cache
def rules(name: str) -> Mapping[str, str]:
    """What replaces what, by a name in `NAMES`. Where several keys fit, the longest counts.

    >>> rules("nmt_nfkc")["ﬁ"], rules("nmt_nfkc")["か\\u3099"], rules("nmt_nfkc")["\\t"]
    ('fi', 'が', ' ')

    Raises:
        ConfigError: there is no such name.
    """
    if name == "identity":
        return {}
    if name not in NAMES:
        raise ConfigError(f"there are no normalisation rules {name!r}", fix="use one of " + ", ".join(NAMES))
    found = dict(_nfkc())
    if name.startswith("nmt"):
        found |= {chr(code): "" for code in _DROPPED} | {chr(code): " " for code in _BLANKS}
        # the two tildes mean different things in Japanese
        del found[_FULL_WIDTH_TILDE]
    if name.endswith("cf"):
        found = {key: _folded(value) for key, value in found.items()}
        singles = ((character, _folded(character)) for character in _characters())
        found |= {key: value for key, value in singles if key != value and key not in found}
    return _without_redundant(found)


def _characters() -> Iterator[str]:
    return map(chr, itertools.chain(range(1, 0xD800), range(0xE000, 0x110000)))


def _changing_characters() -> Iterator[str]:
    """The characters that have a compatible decomposition."""
    for first in range(0, 0x110000, _BLOCK):
        block = [chr(code) for code in range(max(first, 1), first + _BLOCK) if not 0xD800 <= code < 0xE000]
        # line feeds keep characters apart, which would be reordered otherwise
        if unicodedata.is_normalized("NFKD", "\n".join(block)) and _NEW_CHARACTERS.isdisjoint(block):
            continue
        for character in block:
            if character in _NEW_CHARACTERS or not unicodedata.is_normalized("NFKD", character):
                yield character


def _nfkc() -> Iterator[tuple[str, str]]:
    # decomposed string -> composed, and each single character -> the others that decompose to it
    composed = {decomposed: character for character, decomposed in _NEW_COMPOSED.items()}
    spellings: dict[str, list[str]] = collections.defaultdict(list)
    for character in _changing_characters():
        new = _NEW_SINGLE.get(character) or _NEW_COMPOSED.get(character)
        decomposed = new or unicodedata.normalize("NFKD", character)
        result = _NEW_SINGLE.get(character) or unicodedata.normalize("NFKC", character)
        if result != character:
            yield character, result
        if len(decomposed) == 1:
            spellings[decomposed].append(character)
        else:
            composed.setdefault(decomposed, unicodedata.normalize("NFC", decomposed))
    for decomposed, result in composed.items():
        if result != decomposed:
            for parts in itertools.product(*([part, *spellings[part]] for part in decomposed)):
                if (key := "".join(parts)) != result:
                    yield key, result


def _folded(text: str) -> str:
    return "".join(map(_folded_character, text))


def _folded_character(character: str) -> str:
    """Simple case folding: to one character, or not at all."""
    folded = LOWERED.get(character) or character.casefold()
    folded = folded if len(folded) == 1 else character.lower()
    return folded if len(folded) == 1 else character


def _without_redundant(found: Mapping[str, str]) -> dict[str, str]:
    """The rules without those for strings that shorter rules already bring there."""
    kept = {key: value for key, value in found.items() if len(key) == 1}
    longer = sorted((key for key in found if len(key) > 1), key=len)
    for length, keys in itertools.groupby(longer, key=len):
        kept |= {key: found[key] for key in list(keys) if _applied(kept, key, length - 1) != found[key]}
    return kept


def _applied(kept: Mapping[str, str], text: str, longest: int) -> str:
    out, at = "", 0
    while at < len(text):
        for length in range(min(longest, len(text) - at), 0, -1):
            if (target := kept.get(text[at : at + length])) is not None:
                out, at = out + target, at + length
                break
        else:
            out, at = out + text[at], at + 1
    return out
