"""Byte-level BPE encoding to flat ids, one thread, warm: every text was encoded before."""

import os
from collections.abc import Iterator
from typing import Any

from benchmarks import encode_peers, texts, vocabularies
from benchmarks.harness import Comparison, Goal, Options, Side, SkippedError, timed

ABOUT = "text to flat ids, warm, one thread; GPT-2's and cl100k's vocabularies; English, Chinese, code"
GOALS = ("tiktoken: at least 20x", "tokenizers 0.23: at least 90x", "tokenizers 1.0rc: 1.4x", "gigatoken: 1x")
LEAST = {"tiktoken": 20, "tokenizers": 90, "tokenizers 1.0rc": 1.4, "gigatoken": 1.0}


def comparisons(options: Options) -> Iterator[Comparison]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from textmill import Tokenizer

    ours = {
        "gpt2": Tokenizer.load(vocabularies.gpt2_file()),
        "cl100k": Tokenizer.from_tiktoken(vocabularies.cl100k_file()),
    }
    for kind in texts.KINDS:
        for vocabulary, peer_name in encode_peers.pairs():
            name = f"encode {kind}, {vocabulary}, {peer_name}"
            if options.only in name:
                try:
                    yield _comparison(name, ours[vocabulary], kind, vocabulary, peer_name, options.quick)
                except SkippedError as reason:
                    encode_peers.absent(name, reason)


def _comparison(name: str, tokenizer: Any, kind: str, vocabulary: str, peer_name: str, quick: bool) -> Comparison:
    documents = encode_peers.documents_of(kind, quick)
    strings = [document.decode() for document in documents]
    if peer_name == "tokenizers 1.0rc":
        peer_side, wanted = encode_peers.candidate_side(kind, quick, cold=False)
    else:
        peer = encode_peers.peer(peer_name, vocabulary)
        encoder = peer.make()
        wanted = encode_peers.checksum(peer.ids(peer.encode(encoder, strings)))
        peer_side = Side(name=peer_name, measure=timed(lambda: peer.encode(encoder, strings)))
    return Comparison(
        name=name,
        goal=Goal(kind="times", value=LEAST[peer_name]),
        ours=Side(name="textmill", measure=timed(lambda: tokenizer.encode_documents(documents))),
        peer=peer_side,
        check=lambda: encode_peers.check_equal(tokenizer.encode_documents(documents)[0], wanted),
        sizes={"bytes": sum(map(len, documents)), "documents": len(documents)},
        # the second pass still meets pieces that the first had no room for
        warm_up=3,
    )
