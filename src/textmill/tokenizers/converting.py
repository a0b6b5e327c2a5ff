"""From one tokenizer file to another, checked: the result must give the ids of the source before it is kept."""

import dataclasses
import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from textmill.errors import ConfigError, FormatError
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was checked, and what the file does not hold."""

    num_texts: int
    missing: tuple[str, ...]
    """What a reader must be told besides: the splitting pattern, special tokens."""


def convert(source: Tokenizer, destination: Path, *, texts: Iterable[str] = (), seed: int = 0) -> Conversion:
    """Writes the tokenizer in the format of `destination`, and says on how many texts it was checked.

    The file is read back as it is, and must give the ids of the source. The texts are made from the vocabulary and from
    odd characters of many scripts, after those that are given. Where one gives other ids, nothing is written.

    Args:
        texts: more to check on, for example lines of the text that the tokenizer is for.

    Raises:
        FormatError: the result would encode a text differently.
        NotSupportedError: the format cannot hold the tokenizer.
        OutputError: the path can't be written.
    """
    with tempfile.TemporaryDirectory(prefix="textmill-") as folder:
        trial = Path(folder) / destination.name
        beside = destination.parent / files.CONFIG_FILE
        if destination.suffix and beside.is_file():
            # a file that others beside it explain is read with them
            shutil.copy(beside, trial.parent)
        files.save(source.pipeline, trial)
        checked = [*texts, *sample_texts(source, NUM_TEXTS, seed)]
        missing = _missing(source, trial, checked, destination.name)
    files.save(source.pipeline, destination)
    return Conversion(num_texts=len(checked), missing=missing)


def _missing(source: Tokenizer, trial: Path, texts: Sequence[str], name: str) -> tuple[str, ...]:
    """What the file that was written does not hold.

    Raises:
        FormatError: with all that told, it gives other ids.
    """
    missing = []
    split = source.pipeline.byte_level_split
    try:
        result = Tokenizer(files.load(trial))
        difference = _difference(source, result, texts)
    except ConfigError:
        # the format holds no pattern, and its name says none
        result, difference = source, "the splitting pattern is not in it"
    if difference and split is not None and trial.suffix in (".tiktoken", ".json"):
        result = Tokenizer(files.load(trial, split))
        difference = _difference(source, result, texts)
        missing.append(f"the splitting pattern (load it with split={split!r})")
    if difference:
        raise FormatError(
            f"{name} would not give the same ids: {difference}",
            fix="convert to a tokenizer.json, which holds every part",
        )
    lost = [token for token in source.special_tokens if token not in result.special_tokens]
    if lost:
        missing.append(f"the special tokens {', '.join(lost[:8])}{', ...' * (len(lost) > 8)}")
    if source.pipeline.end_of_text != result.pipeline.end_of_text and source.pipeline.end_of_text not in lost:
        missing.append(f"that {source.pipeline.end_of_text} ends a text")
    return tuple(missing)


def _difference(source: Tokenizer, result: Tokenizer, texts: Iterable[str]) -> str:
    """Where the ids of a text differ; "" where they are all the same."""
    same_specials = source.special_tokens == result.special_tokens
    for text in texts:
        for allow_special in (False, True) if same_specials else (False,):
            expected = source.encode(text, allow_special=allow_special)
            found = result.encode(text, allow_special=allow_special)
            if expected != found:
                return f"{text[:60]!r} is {_first(expected, found)}"
    return ""


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
