"""From one tokenizer file to another, checked: the result must give the ids of the source before it is kept."""

import random
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from textmill.errors import FormatError, OutputError
from textmill.tokenizers import files
from textmill.tokenizers.tokenizer import Tokenizer

NUM_TEXTS = 2000
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ABC.,'\"!?\n\t0123456789",
    "éüßñçøåÉÀ œ æﬁ①½²",
    "中文字符日本語テスト한국어 汉字",
    "Привет мир ελληνικά עברית العربية हिन्दी ไทย",
    "\u0301\u0308\u200b\u200d\ufeff\u00a0\u3000\u2028\x00\x07\x7f\ufffd\u2581",
    "😀👍🏽👨‍👩‍👧🇩🇪🎉\U000e0061",
)


def convert(source: Tokenizer, destination: Path, *, texts: Iterable[str] = (), seed: int = 0) -> int:
    """Writes the tokenizer in the format of `destination`, and returns on how many texts it was checked.

    The texts are made from the vocabulary and from odd characters of many scripts, after those that are given. Where
    one gives other ids than the source, nothing is written.

    Args:
        texts: more to check on, for example lines of the text that the tokenizer is for.

    Raises:
        FormatError: the result would encode a text differently.
        NotSupportedError: the format cannot hold the tokenizer.
        OutputError: the path can't be written.
    """
    with tempfile.TemporaryDirectory(prefix="textmill-") as folder:
        trial = Path(folder) / destination.name
        files.save(source.pipeline, trial)
        split = source.pipeline.byte_level_split
        result = Tokenizer(files.load(trial, split))
        checked = 0
        for text in (*texts, *sample_texts(source, NUM_TEXTS, seed)):
            expected, found = source.encode(text), result.encode(text)
            if expected != found:
                raise FormatError(
                    f"{destination.name} would not give the same ids: {text[:60]!r} is {_first(expected, found)}",
                    fix="convert to a tokenizer.json, which holds every part",
                )
            checked += 1
    files.save(source.pipeline, destination)
    if not destination.exists():
        raise OutputError(f"{destination} was not written")
    return checked


def sample_texts(tokenizer: Tokenizer, count: int, seed: int) -> Iterator[str]:
    """Texts that try a tokenizer: runs of its own tokens, and of characters of many kinds. The same for a seed."""
    chance = random.Random(seed)
    known = [id for id, token in enumerate(tokenizer.pipeline.strings) if token is not None]
    yield from ("", " ", "  ", "\n", "a", "a" * 300, "中" * 300, " " * 300)
    for number in range(count):
        parts = []
        for _ in range(chance.randint(1, 12)):
            if number % 2:
                alphabet = chance.choice(_ALPHABETS)
                parts.append("".join(chance.choices(alphabet, k=chance.randint(1, 8))))
            else:
                token = tokenizer.id_to_bytes(chance.choice(known))
                parts.append(token.decode("utf-8", "replace"))
                parts.append(chance.choice(("", "", " ", "\n", ".")))
        yield "".join(parts)


def _first(expected: list[int], found: list[int]) -> str:
    """The first place where two lists differ, with what stands there."""
    place = next((i for i, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(expected), len(found)) if place is None else place
    return f"{found[at : at + 4]} instead of {expected[at : at + 4]} from token {at} on"
