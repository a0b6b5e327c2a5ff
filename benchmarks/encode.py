"""Byte-level BPE encoding to flat ids, one thread, warm: every text was encoded before."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import texts, vocabularies
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, timed

ABOUT = "text to flat ids, warm, one thread; GPT-2's and cl100k's vocabularies; English, Chinese, code"
GOALS = ("tiktoken: at least 10x", "tokenizers: at least 40x")


def comparisons(options: Options) -> Iterator[Comparison]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from textmill import Tokenizer

    gpt2 = Tokenizer.load(vocabularies.gpt2_file())
    cl100k = Tokenizer.from_tiktoken(vocabularies.cl100k_file())
    hugging_face, tiktoken_gpt2 = vocabularies.gpt2_hugging_face(), vocabularies.gpt2_tiktoken()
    tiktoken_cl100k = vocabularies.cl100k_tiktoken()
    for kind in texts.KINDS:
        documents = texts.documents(texts.text(kind, 300_000 if options.quick else 10_000_000))
        for peer_name, vocabulary, ours, peer_encode, least in (
            ("tiktoken", "gpt2", gpt2, _by_tiktoken(tiktoken_gpt2), 10),
            ("tiktoken", "cl100k", cl100k, _by_tiktoken(tiktoken_cl100k), 10),
            ("tokenizers", "gpt2", gpt2, _by_tokenizers(hugging_face), 40),
        ):
            yield _comparison(
                f"encode {kind}, {vocabulary}, {peer_name}", documents, ours, peer_name, peer_encode, least
            )


def _comparison(
    name: str,
    documents: list[bytes],
    tokenizer: Any,
    peer_name: str,
    peer_encode: Callable[[str], Sequence[int]],
    least: float,
) -> Comparison:
    strings = [document.decode() for document in documents]

    def ours() -> list[np.ndarray]:
        return [tokenizer.encode_array(document) for document in documents]

    def theirs() -> list[Sequence[int]]:
        return [peer_encode(string) for string in strings]

    def check() -> None:
        for number, (mine, other) in enumerate(zip(ours(), theirs(), strict=True)):
            if not np.array_equal(mine, np.asarray(other, dtype=mine.dtype)):
                raise RefusedError(f"the ids of document {number} differ")

    return Comparison(
        name=name,
        goal=Goal(kind="times", value=least),
        ours=Side(name="textmill", measure=timed(ours)),
        peer=Side(name=peer_name, measure=timed(theirs)),
        check=check,
        sizes={"bytes": sum(map(len, documents)), "documents": len(documents)},
    )


def _by_tiktoken(encoding: Any) -> Callable[[str], Sequence[int]]:
    # its quickest call: a list; encode_to_numpy takes longer on most texts
    return lambda string: encoding.encode_ordinary(string)


def _by_tokenizers(tokenizer: Any) -> Callable[[str], Sequence[int]]:
    # the quicker call of the two it has: no offsets
    def encode(string: str) -> Sequence[int]:
        (encoded,) = tokenizer.encode_batch_fast([string], add_special_tokens=False)
        ids: Sequence[int] = encoded.ids
        return ids

    return encode
