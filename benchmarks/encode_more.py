"""What encoding costs beyond ids, what a second thread brings, and decoding: byte-level BPE with GPT-2's vocabulary."""

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import encode_peers, texts, vocabularies
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, SkippedError, timed

ABOUT = "character offsets against ids alone, two threads against one, flat ids to bytes; English, Chinese, code"
GOALS = ("offsets: at most 1.25x the time of ids", "two threads: 1.8x", "decode: gigatoken 2.5x, tiktoken 5x")


def comparisons(options: Options) -> Iterator[Comparison]:
    from textmill import Tokenizer

    tokenizer = Tokenizer.load(vocabularies.gpt2_file())
    for kind in texts.KINDS:
        documents = encode_peers.documents_of(kind, options.quick)
        whole = b"".join(documents)
        yield _offsets(kind, tokenizer, whole)
        yield _threads(kind, tokenizer, documents)
        for peer_name, least in (("gigatoken", 2.5), ("tiktoken", 5)):
            try:
                yield _decode(kind, tokenizer, whole, peer_name, least)
            except SkippedError as reason:
                encode_peers.absent(f"decode {kind}, {peer_name}", reason)


def _offsets(kind: str, tokenizer: Any, whole: bytes) -> Comparison:
    def check() -> None:
        ids, starts, ends = tokenizer.encode_spans_array(whole)
        if not np.array_equal(ids, tokenizer.encode_array(whole)) or (starts > ends).any():
            raise RefusedError("ids with offsets are not the ids")

    return Comparison(
        name=f"character offsets, {kind}",
        goal=Goal(kind="share", value=1.25),
        ours=Side(name="ids and offsets", measure=timed(lambda: tokenizer.encode_spans_array(whole))),
        peer=Side(name="ids alone", measure=timed(lambda: tokenizer.encode_array(whole))),
        check=check,
        sizes={"bytes": len(whole)},
        warm_up=3,
    )


def _threads(kind: str, tokenizer: Any, documents: list[bytes]) -> Comparison:
    def check() -> None:
        one, two = tokenizer.encode_documents(documents), tokenizer.encode_documents(documents, threads=2)
        if not all(np.array_equal(mine, other) for mine, other in zip(one, two, strict=True)):
            raise RefusedError("two threads give other ids")

    return Comparison(
        name=f"two threads, {kind}",
        goal=Goal(kind="times", value=1.8),
        ours=Side(name="two threads", measure=timed(lambda: tokenizer.encode_documents(documents, threads=2))),
        peer=Side(name="one thread", measure=timed(lambda: tokenizer.encode_documents(documents))),
        check=check,
        sizes={"bytes": sum(map(len, documents)), "documents": len(documents)},
        warm_up=4,
    )


def _decode(kind: str, tokenizer: Any, whole: bytes, peer_name: str, least: float) -> Comparison:
    ids = tokenizer.encode_array(whole)
    if peer_name == "tiktoken":
        listed = ids.tolist()
        theirs = lambda: vocabularies.gpt2_tiktoken().decode_bytes(listed)  # noqa: E731
    else:
        try:
            peer = importlib.import_module("gigatoken").Tokenizer(str(vocabularies.gpt2_file()))
        except ImportError as missing:
            raise SkippedError("gigatoken is not installed: pip install gigatoken") from missing
        unsigned = ids.astype(np.uint32)
        theirs = lambda: peer.decode(unsigned)  # noqa: E731

    def check() -> None:
        if not tokenizer.decode_bytes(ids) == theirs() == whole:
            raise RefusedError("the bytes differ")

    return Comparison(
        name=f"decode {kind}, {peer_name}",
        goal=Goal(kind="times", value=least),
        ours=Side(name="textmill", measure=timed(lambda: tokenizer.decode_bytes(ids))),
        peer=Side(name=peer_name, measure=timed(theirs)),
        check=check,
        sizes={"bytes": len(whole), "ids": len(ids)},
    )
