"""What a corpus holds: sizes, scripts, repeated documents, common words; in one pass over a stream of documents."""

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

_COMMON_WORDS = 20
_MOST_TALLIED = 1 << 20
_LONGEST_TALLIED = 40
_BATCH_BYTES = 1 << 20

_SCRIPT_RANGES: tuple[tuple[str, int, int], ...] = (
    ("space", 0x0009, 0x000D),
    ("control", 0x0000, 0x0008),
    ("control", 0x000E, 0x001F),
    ("space", 0x0020, 0x0020),
    ("digits", 0x0030, 0x0039),
    ("latin", 0x0041, 0x005A),
    ("latin", 0x0061, 0x007A),
    ("control", 0x007F, 0x0084),
    ("control", 0x0086, 0x009F),
    ("space", 0x0085, 0x0085),
    ("space", 0x00A0, 0x00A0),
    ("latin", 0x00C0, 0x00D6),
    ("latin", 0x00D8, 0x00F6),
    ("latin", 0x00F8, 0x02AF),
    ("greek", 0x0370, 0x03FF),
    ("cyrillic", 0x0400, 0x052F),
    ("hebrew", 0x0590, 0x05FF),
    ("arabic", 0x0600, 0x06FF),
    ("arabic", 0x0750, 0x077F),
    ("devanagari", 0x0900, 0x097F),
    ("thai", 0x0E00, 0x0E7F),
    ("hangul", 0x1100, 0x11FF),
    ("latin", 0x1E00, 0x1EFF),
    ("greek", 0x1F00, 0x1FFF),
    ("space", 0x2000, 0x200A),
    ("space", 0x2028, 0x2029),
    ("han", 0x2E80, 0x2FDF),
    ("space", 0x3000, 0x3000),
    ("kana", 0x3041, 0x30FF),
    ("han", 0x3400, 0x4DBF),
    ("han", 0x4E00, 0x9FFF),
    ("hangul", 0xAC00, 0xD7A3),
    ("han", 0xF900, 0xFAFF),
    ("digits", 0xFF10, 0xFF19),
    ("latin", 0xFF21, 0xFF3A),
    ("latin", 0xFF41, 0xFF5A),
    ("kana", 0xFF66, 0xFF9D),
    ("replacement", 0xFFFD, 0xFFFD),
    ("han", 0x20000, 0x323AF),
)
"""Unicode blocks, first and last character; what lies in none is "other": punctuation, symbols, further scripts."""


@dataclass(frozen=True, kw_only=True)
class CorpusStats:
    """The figures of a corpus."""

    documents: int
    bytes: int
    characters: int
    lines: int
    """Line ends, and one for a document whose last line has none."""
    words: int
    """Runs of characters other than white space; text without spaces between words has long ones."""
    document_bytes: dict[str, int]
    """Quantiles of the bytes per document, "0%" the shortest and "100%" the longest."""
    scripts: dict[str, float]
    """Share of the characters, largest first; Unicode blocks stand for scripts."""
    duplicate_documents: int
    """Documents equal to an earlier one."""
    common_words: dict[str, int]
    """The most frequent words, lower-cased, without punctuation around them."""
    control_characters: int
    """Characters below U+0020 or from U+007F to U+009F, line ends and tabs not counted."""
    replacement_characters: int
    """U+FFFD: text that was damaged before it came here."""


def corpus_stats(documents: Iterable[bytes]) -> CorpusStats:
    """The figures of a stream of documents in valid UTF-8.

    Memory: about 100 bytes a document, and a tally of at most a million words (beyond that the rarest are forgotten).

    >>> stats = corpus_stats([b"One two.\\n", b"Two \\xe6\\x97\\xa5"])
    >>> stats.documents, stats.bytes, stats.characters, stats.lines, stats.words
    (2, 16, 14, 2, 4)
    >>> stats.common_words["two"], stats.scripts["han"] * stats.characters
    (2, 1.0)
    """
    gathered = _Gathered()
    batch: list[bytes] = []
    size = 0
    for document in documents:
        gathered.count_document(document)
        batch.append(document)
        size += len(document)
        if size >= _BATCH_BYTES:
            gathered.count_text(batch)
            batch, size = [], 0
    gathered.count_text(batch)
    return gathered.result()


class _Gathered:
    def __init__(self) -> None:
        self.sizes = array("q")
        self.seen: set[bytes] = set()
        self.lines = 0
        self.words = 0
        self.tally: Counter[str] = Counter()
        self.scripts = np.zeros(len(_SCRIPTS), np.int64)

    def count_document(self, document: bytes) -> None:
        self.sizes.append(len(document))
        self.seen.add(hashlib.blake2b(document, digest_size=16).digest())
        self.lines += document.count(b"\n") + (bool(document) and not document.endswith(b"\n"))

    def count_text(self, documents: list[bytes]) -> None:
        for document in documents:
            text = document.decode()
            codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
            self.scripts += np.bincount(_SCRIPT_OF[codes], minlength=len(_SCRIPTS))
            self.words += len(text.split())
            self.tally.update(word for word in _WORD.findall(text.lower()) if len(word) <= _LONGEST_TALLIED)
        if len(self.tally) > _MOST_TALLIED:
            self.tally = Counter(dict(self.tally.most_common(_MOST_TALLIED // 2)))

    def result(self) -> CorpusStats:
        characters = int(self.scripts.sum())
        counts = dict(zip(_SCRIPTS, self.scripts.tolist(), strict=True))
        ranked = sorted(counts.items(), key=lambda item: -item[1])
        sizes = np.frombuffer(self.sizes, np.int64) if self.sizes else np.zeros(1, np.int64)
        quantiles = np.quantile(sizes, QUANTILES, method="nearest")
        return CorpusStats(
            documents=len(self.sizes),
            bytes=int(sizes.sum()),
            characters=characters,
            lines=self.lines,
            words=self.words,
            document_bytes={f"{share:.0%}": int(value) for share, value in zip(QUANTILES, quantiles, strict=True)},
            scripts={name: count / characters for name, count in ranked if count},
            duplicate_documents=len(self.sizes) - len(self.seen),
            common_words=dict(sorted(self.tally.items(), key=lambda item: (-item[1], item[0]))[:_COMMON_WORDS]),
            control_characters=counts["control"],
            replacement_characters=counts["replacement"],
        )


_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SCRIPTS = ("other", *sorted({name for name, _, _ in _SCRIPT_RANGES}))


def _script_table() -> np.ndarray:
    """The number of the script of each code point."""
    table = np.zeros(0x110000, np.uint8)
    for name, first, last in _SCRIPT_RANGES:
        table[first : last + 1] = _SCRIPTS.index(name)
    return table


_SCRIPT_OF = _script_table()
