"""Byte-level BPE encoding to flat ids, one thread, cold: the first pass over the text with a fresh tokenizer.

Loading the vocabulary is not counted, on neither side; kernels are compiled before.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import encode_peers, texts, vocabularies
from benchmarks.harness import Comparison, Goal, Options, Side, SkippedError

ABOUT = "text to flat ids, first pass with a fresh tokenizer, one thread; GPT-2 and cl100k; English, Chinese, code"
GOALS = (
    "tiktoken: at least 12x, Chinese 6x",
    "gigatoken: at least 1x, Chinese 3x",
    "tokenizers 1.0rc: at least 1.2x, Chinese 1.1x",
)
LEAST = {"tiktoken": (12, 6), "gigatoken": (1, 3), "tokenizers 1.0rc": (1.2, 1.1)}


def comparisons(options: Options) -> Iterator[Comparison]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for kind in texts.KINDS:
        for vocabulary, peer_name in encode_peers.pairs():
            name = f"encode cold {kind}, {vocabulary}, {peer_name}"
            if peer_name in LEAST and options.only in name:
                try:
                    yield _comparison(name, kind, vocabulary, peer_name, options.quick)
                except SkippedError as reason:
                    encode_peers.absent(name, reason)


def _load(vocabulary: str) -> Any:
    from textmill import Tokenizer

    if vocabulary == "gpt2":
        return Tokenizer.load(vocabularies.gpt2_file())
    return Tokenizer.from_tiktoken(vocabularies.cl100k_file())


def _comparison(name: str, kind: str, vocabulary: str, peer_name: str, quick: bool) -> Comparison:
    documents = encode_peers.documents_of(kind, quick)
    strings = [document.decode() for document in documents]
    if peer_name == "tokenizers 1.0rc":
        peer_side, wanted = encode_peers.candidate_side(kind, quick, cold=True)
    else:
        peer = encode_peers.peer(peer_name, vocabulary)
        wanted = encode_peers.checksum(peer.ids(peer.encode(peer.make(), strings)))
        peer_side = Side(name=peer_name, measure=_fresh(peer.make, lambda encoder: peer.encode(encoder, strings)))
    return Comparison(
        name=name,
        goal=Goal(kind="times", value=LEAST[peer_name][kind == "chinese"]),
        ours=Side(
            name="textmill",
            measure=_fresh(lambda: _load(vocabulary), lambda tokenizer: tokenizer.encode_documents(documents)),
        ),
        peer=peer_side,
        check=lambda: encode_peers.check_equal(_load(vocabulary).encode_documents(documents)[0], wanted),
        sizes={"bytes": sum(map(len, documents)), "documents": len(documents)},
    )


def _fresh(make: Callable[[], Any], work: Callable[[Any], Any]) -> Callable[[], float]:
    """Seconds of the first call of `work` with something new."""

    def measure() -> float:
        made = make()
        begun = time.perf_counter()
        work(made)
        return time.perf_counter() - begun

    return measure
