"""The peers of the encoding benchmarks: each takes documents its quickest way, and gives ids to compare.

tiktoken and tokenizers 0.23 are development dependencies. The others are optional, and reported as absent:

    pip install gigatoken
    pip install --pre --no-deps --target benchmarks/.cache/tokenizers-1.0rc tokenizers==1.0.0rc3

The last one has the same name as tokenizers 0.23, so it runs in a process of its own that sees only that folder.
"""

import importlib
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import texts, vocabularies
from benchmarks.harness import CACHE, RefusedError, Side, SkippedError, Worker

CANDIDATE = CACHE / "tokenizers-1.0rc"
NAMES = ("tiktoken", "tokenizers", "gigatoken", "tokenizers 1.0rc")
QUICK_BYTES, FULL_BYTES = 300_000, 10_000_000


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A library with a vocabulary, in this process."""

    make: Callable[[], Any]
    """a fresh encoder, with nothing in its cache"""
    encode: Callable[[Any, Sequence[str]], Any]
    ids: Callable[[Any], np.ndarray]
    """the flat ids of what `encode` returned"""
    has_cache: bool


def documents_of(kind: str, quick: bool) -> list[bytes]:
    """The documents that all sides encode."""
    return texts.documents(texts.text(kind, QUICK_BYTES if quick else FULL_BYTES))


def checksum(ids: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(ids, dtype=np.int32).tobytes())


def peer(name: str, vocabulary: str) -> Peer:
    """The peer with GPT-2's or cl100k's vocabulary.

    Raises:
        SkippedError: it is not installed, or does not take this vocabulary.
    """
    if name == "tiktoken":
        made = vocabularies.gpt2_tiktoken() if vocabulary == "gpt2" else vocabularies.cl100k_tiktoken()
        # its quickest call: a list; encode_to_numpy takes longer on most texts
        return Peer(make=lambda: made, encode=_by_tiktoken, ids=_joined, has_cache=False)
    if name == "tokenizers" and vocabulary == "gpt2":
        return Peer(make=vocabularies.gpt2_hugging_face, encode=_by_tokenizers, ids=_joined, has_cache=False)
    if name == "gigatoken":
        try:
            gigatoken = importlib.import_module("gigatoken")
        except ImportError as missing:
            raise SkippedError("gigatoken is not installed: pip install gigatoken") from missing
        if vocabulary == "gpt2":
            path = str(vocabularies.gpt2_file())
            return Peer(make=lambda: gigatoken.Tokenizer(path), encode=_by_gigatoken, ids=_flat, has_cache=True)
        path = str(vocabularies.cl100k_file())
        return Peer(
            make=lambda: gigatoken.Tokenizer.from_tiktoken(path, pretokenizer="cl100k"),
            encode=_by_gigatoken,
            ids=_flat,
            has_cache=True,
        )
    raise SkippedError(f"{name} is not measured with {vocabulary}")


def candidate_side(kind: str, quick: bool, cold: bool) -> tuple[Side, int]:
    """(tokenizers 1.0rc with GPT-2's vocabulary in a process of its own, the checksum of its ids).

    Raises:
        SkippedError: it is not installed.
    """
    if not CANDIDATE.is_dir():
        raise SkippedError(f"no tokenizers 1.0rc in {CANDIDATE.name}: see benchmarks/encode_peers.py")
    vocabularies.gpt2_file()
    worker = Worker("benchmarks.encode_peers:serve_candidate", {"kind": kind, "quick": quick, "cold": cold})
    return Side(name="tokenizers 1.0rc", measure=worker.measure), int(worker.facts["checksum"])


def serve_candidate(kind: str, quick: bool, cold: bool) -> tuple[dict[str, Any], Callable[[], float]]:
    """For `Worker`: (the checksum of the ids, one measurement in seconds)."""
    os.environ["TOKENIZERS_PARALLELISM"], os.environ["RAYON_NUM_THREADS"] = "false", "1"
    sys.path.insert(0, str(CANDIDATE))
    candidate = importlib.import_module("tokenizers").Tokenizer
    strings = [document.decode() for document in documents_of(kind, quick)]
    path = str(CACHE / "gpt2" / "tokenizer.json")

    def encode(tokenizer: Any) -> Any:
        return tokenizer.encode_batch(strings, add_special_tokens=False, encode_special_tokens=True)

    warm = candidate.from_file(path)
    ids = np.concatenate([np.asarray(encoded.ids, dtype=np.int32) for encoded in encode(warm)])

    def measure() -> float:
        tokenizer = candidate.from_file(path) if cold else warm
        begun = time.perf_counter()
        encode(tokenizer)
        return time.perf_counter() - begun

    return {"checksum": checksum(ids)}, measure


def check_equal(ours: np.ndarray, theirs: int) -> None:
    """Raises RefusedError if the ids have another checksum."""
    if checksum(ours) != theirs:
        raise RefusedError("the ids differ")


def absent(name: str, reason: SkippedError) -> None:
    """Says that a comparison is left out."""
    print(f"ABSENT   {name}: {reason}", flush=True)


def pairs() -> Iterator[tuple[str, str]]:
    """(vocabulary, peer) of all comparisons."""
    for name in NAMES:
        for vocabulary in ("gpt2", "cl100k") if name in ("tiktoken", "gigatoken") else ("gpt2",):
            yield vocabulary, name


def _by_tiktoken(encoding: Any, strings: Sequence[str]) -> list[list[int]]:
    return [encoding.encode_ordinary(string) for string in strings]


def _by_tokenizers(tokenizer: Any, strings: Sequence[str]) -> list[list[int]]:
    # the quicker call of the two it has: no offsets
    encoded = tokenizer.encode_batch_fast(strings, add_special_tokens=False)
    return [one.ids for one in encoded]


def _by_gigatoken(tokenizer: Any, strings: Sequence[str]) -> Any:
    return tokenizer.encode_batch(strings, parallel=False)


def _joined(rows: list[list[int]]) -> np.ndarray:
    return np.concatenate([np.asarray(row, dtype=np.int32) for row in rows])


def _flat(rows: Any) -> np.ndarray:
    return np.asarray(importlib.import_module("awkward").flatten(rows), dtype=np.int32)
