"""Training of a byte-level BPE vocabulary with GPT-2's splitting, on the same documents, against five trainers.

Each side works in a process of its own. Ours always counts with one thread; a peer is measured with one thread and with
the threads it takes by itself. Where a peer breaks ties in a known order, the tokens of both sides are compared first:
our merges with the bytes ranked as it ranks them. Peers that are not installed are reported as absent.
"""

import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import texts
from benchmarks.harness import (
    CACHE,
    Comparison,
    Goal,
    Options,
    RefusedError,
    Side,
    SkippedError,
    Worker,
    in_child,
    timed,
)

ABOUT = "train a 32k byte-level BPE on 15 MB; ours with one thread; merges must be equal where ties are broken alike"
GOALS = (
    "tokenizers with one thread, English and code: at least 10x, Chinese: 4x",
    "rustbpe, gigatoken, ffbpe, sentencepiece, English and code: at least 2.5x, Chinese: 1.3x",
    "peak memory of tokenizers: no more on English and code, half on Chinese",
    "peak memory on 100 MB of English (the same 15 MB again and again): under 400 MB",
)

_BYTES = 15_000_000
_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_SEPARATOR = b"<|document ends|>"

Tokens = list[bytes]
"""What merges make, in order."""


def comparisons(options: Options) -> Iterator[Comparison]:
    size, vocab_size = (300_000, 4000) if options.quick else (_BYTES, 32_000)
    for kind in texts.KINDS:
        try:
            texts.text(kind, size)
        except SkippedError as missing:
            print(f"train BPE {kind}: {missing}")
            continue
        work = {"kind": kind, "size": size, "vocab_size": vocab_size}
        for library in PEERS:
            for threads in (1, 0):
                name = f"train BPE {kind}, {library} with {'one thread' if threads else 'its threads'}"
                if options.only in name:
                    yield from _timed(name, library, threads, work)
        if options.only in f"train BPE memory {kind}":
            yield _memory(kind, size, vocab_size, bare=False)
            yield _memory(kind, size, vocab_size, bare=True)
    if options.only in "train BPE memory of 100 MB":
        yield Comparison(
            name="train BPE memory of 100 MB of English",
            goal=Goal(kind="below", value=400),
            ours=Side(name="textmill", measure=partial(_peak, "textmill", "english", 100_000_000, 32_000, False)),
            unit="MB",
            warm_up=0,
            rounds=2,
        )


def _timed(name: str, library: str, threads: int, work: dict[str, Any]) -> Iterator[Comparison]:
    module, _, order = PEERS[library]
    try:
        importlib.import_module(module)
    except ImportError:
        print(f"{name}: not installed")
        return
    here = {"library": "textmill", "threads": 1, "order": order, **work}
    there = {"library": library, "threads": threads, "order": order, **work}
    goals = (10.0, 4.0) if library == "tokenizers" else (2.5, 1.3)
    with Worker("benchmarks.train_bpe:serve", here) as ours, Worker("benchmarks.train_bpe:serve", there) as peer:

        def check() -> None:
            if order and ours.facts["tokens"] != peer.facts["tokens"]:
                raise RefusedError(f"{library} makes other tokens, or in another order")

        yield Comparison(
            name=name,
            goal=Goal(kind="times", value=goals[work["kind"] == "chinese"]),
            ours=Side(name="textmill", measure=ours.measure),
            peer=Side(name=library, measure=peer.measure),
            check=check,
            sizes={"bytes": work["size"], "vocabulary": work["vocab_size"], "peer's threads": threads or "its own"},
            warm_up=0,  # the workers have trained once for the check
        )


def _memory(kind: str, size: int, vocab_size: int, *, bare: bool) -> Comparison:
    """bare: less what each side's process takes to train on a single document, which is its runtime and little else."""
    ours, peer = (partial(_peak, library, kind, size, vocab_size, bare) for library in ("textmill", "tokenizers"))
    return Comparison(
        name=f"train BPE memory {kind}{', beyond the runtime' if bare else ''}",
        goal=Goal(kind="share", value=0.5 if kind == "chinese" else 1.0),
        ours=Side(name="textmill", measure=ours),
        peer=Side(name="tokenizers", measure=peer),
        unit="MB",
        sizes={"bytes": size, "vocabulary": vocab_size},
        warm_up=0,
        rounds=2,
    )


def _peak(library: str, kind: str, size: int, vocab_size: int, bare: bool) -> float:
    arguments = {"library": library, "kind": kind, "size": size, "vocab_size": vocab_size}
    peak = float(in_child("benchmarks.train_bpe:train_once", arguments)["peak_bytes"])
    if bare:
        peak -= float(in_child("benchmarks.train_bpe:train_once", arguments | {"size": 1})["peak_bytes"])
    return peak / 1e6


def serve(
    library: str, threads: int, order: str, kind: str, size: int, vocab_size: int
) -> tuple[dict[str, Any], Callable[[], float]]:
    """For `harness.Worker`: a digest of the tokens, and the time of one training."""
    if threads:
        os.environ.update(RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false")
    documents = [document.decode() for document in texts.documents(texts.text(kind, size))]
    train = _train_textmill if library == "textmill" else PEERS[library][1]
    arguments = (documents, vocab_size - 256, order if library == "textmill" else threads)
    tokens = train(*arguments)
    digest = hashlib.sha256(b"".join(len(token).to_bytes(4, "little") + token for token in tokens)).hexdigest()
    return {"tokens": digest, "number": len(tokens)}, timed(partial(train, *arguments))


def train_once(library: str, kind: str, size: int, vocab_size: int) -> None:
    """Trains on documents that are read one after the other, and again from the first when there are too few."""
    os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    if library == "textmill":
        _train_textmill(_stream(kind, size), vocab_size - 256, "tokenizers")
    else:
        _train_tokenizers(_stream(kind, size), vocab_size - 256, 1)


def _stream(kind: str, size: int) -> Iterator[str]:
    left = size
    while left > 0:
        with open(CACHE / f"{kind}.txt", encoding="utf-8", newline="") as file:
            while left > 0 and (lines := file.readlines(texts.DOCUMENT_BYTES)):
                document = "".join(lines)
                left -= len(document.encode())
                yield document


def _train_textmill(documents: Iterable[str], num_merges: int, order: str) -> Tokens:
    """order: whose ranks of bytes break ties."""
    import numpy as np

    from textmill.ops.bpe import PieceCounter, train_merges
    from textmill.ops.memory import padded
    from textmill.ops.split import BLOCK_PIECES, splitter

    cut, counter, ends = splitter("gpt2"), PieceCounter(), np.empty(BLOCK_PIECES, dtype=np.int32)
    for document in documents:
        data = document.encode()
        buffer = padded(data)
        for origin, block in cut.blocks(buffer, 0, len(data), ends):
            counter.add(buffer, origin, block)
    ranks = np.arange(256) if order == "bytes" else None
    return train_merges(counter.counts(), num_merges, rank_of_byte=ranks).token_bytes()[256:]


def _train_tokenizers(documents: Iterable[str], num_merges: int, threads: int) -> Tokens:
    del threads
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + num_merges, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(documents, trainer)
    return _from_characters([tokenizer.id_to_token(id) for id in range(256, tokenizer.get_vocab_size())])


def _train_rustbpe(documents: Iterable[str], num_merges: int, threads: int) -> Tokens:
    del threads
    import rustbpe

    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(iter(documents), 256 + num_merges, pattern=_PATTERN)
    return [bytes(token) for token, _ in tokenizer.get_mergeable_ranks()[256:]]


def _train_gigatoken(documents: Iterable[str], num_merges: int, threads: int) -> Tokens:
    del threads
    import gigatoken

    whole = _SEPARATOR.join(document.encode() for document in documents)
    tokens, *_ = gigatoken.train_bpe(whole, 256 + num_merges, [], separator=_SEPARATOR)
    return [bytes(tokens[id]) for id in range(256, len(tokens))]


def _train_ffbpe(documents: Iterable[str], num_merges: int, threads: int) -> Tokens:
    del threads
    import ffbpe

    model = ffbpe.train_bpe(documents, vocab_size=256 + num_merges)
    return sorted(model.vocab, key=model.vocab.get)[256:]


def _train_sentencepiece(documents: Iterable[str], num_merges: int, threads: int) -> Tokens:
    """Characters instead of bytes, and its own words: another vocabulary of the same size."""
    import sentencepiece

    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for document in documents for line in document.splitlines()),
            model_prefix=str(Path(folder) / "model"),
            vocab_size=256 + num_merges,
            model_type="bpe",
            num_threads=threads or os.cpu_count(),
            minloglevel=2,
            hard_vocab_limit=False,
        )
    return []


def _from_characters(tokens: list[str]) -> Tokens:
    from benchmarks.vocabularies import characters_of_bytes

    byte_of = characters_of_bytes()
    return [bytes(byte_of[character] for character in token) for token in tokens]


PEERS: dict[str, tuple[str, Callable[..., Tokens], str]] = {
    "tokenizers": ("tokenizers", _train_tokenizers, "tokenizers"),
    "rustbpe": ("rustbpe", _train_rustbpe, "bytes"),
    "gigatoken": ("gigatoken", _train_gigatoken, "tokenizers"),
    "ffbpe": ("ffbpe", _train_ffbpe, "bytes"),
    "sentencepiece": ("sentencepiece", _train_sentencepiece, ""),
}
"""Module, training, and the order in which ties are broken; "" where the merges are not comparable."""
