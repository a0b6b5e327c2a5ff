"""WordPiece, Unigram and character-level BPE: text to flat ids, one thread, warm, raw text in on both sides.

Vocabularies: bert-base-uncased, ALBERT's 30k Unigram model, Mistral's first model. ALBERT's knows next to no Chinese,
so there is a Unigram vocabulary of all three kinds of text too, trained here; splintr, which reads no .model file, has
that one alone.

splintr adds scores in 64 bits, sentencepiece and we in 32, so where two segmentations of a run such as "1111" are equal
but for rounding, the winner may be another one. (`tokenizers` mostly, not always, chooses ours.) Documents with such a
place are left out of that comparison; their number is printed.
"""

import functools
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import encode_peers, texts
from benchmarks.harness import CACHE, Comparison, Goal, Options, Side, SkippedError, Worker, timed
from benchmarks.texts import data_folder

ABOUT = "WordPiece, Unigram and character-level BPE to flat ids, one thread, warm"
GOALS = (
    "WordPiece: tokenizers 0.23 at least 25x, 1.0rc 3x, splintr 1.6x",
    "Unigram: sentencepiece at least 5x, splintr 3x",
    "character-level BPE: sentencepiece at least 5x",
)
_ROWS = (
    ("wordpiece", "tokenizers", 25.0),
    ("wordpiece", "tokenizers 1.0rc", 3.0),
    ("wordpiece", "splintr", 1.6),
    ("unigram", "sentencepiece", 5.0),
    ("unigram", "splintr", 3.0),
    ("unigram trained here", "sentencepiece", 5.0),
    ("character bpe", "sentencepiece", 5.0),
)

Encode = Callable[[Sequence[str]], Any]


def comparisons(options: Options) -> Iterator[Comparison]:
    os.environ["TOKENIZERS_PARALLELISM"], os.environ["RAYON_NUM_THREADS"] = "false", "1"
    for kind in texts.KINDS:
        for family, peer, goal in _ROWS:
            name = f"encode {kind}, {family}, {peer}"
            if options.only in name:
                try:
                    yield _comparison(name, kind, family, peer, goal, options.quick)
                except SkippedError as reason:
                    encode_peers.absent(name, reason)


def _comparison(name: str, kind: str, family: str, peer: str, goal: float, quick: bool) -> Comparison:
    documents = encode_peers.documents_of(kind, quick)
    ours = _ours(family, peer)
    if (family, peer) == ("unigram", "splintr"):
        documents = _agreed(name, documents, ours)
    strings = [document.decode() for document in documents]
    if peer == "tokenizers 1.0rc":
        _bert_json()
        worker = Worker("benchmarks.encode_family:serve_candidate", {"kind": kind, "quick": quick})
        side, wanted = Side(name=peer, measure=worker.measure), int(worker.facts["checksum"])
    else:
        encode, ids = _peer(family, peer)
        wanted = encode_peers.checksum(ids(encode(strings)))
        side = Side(name=peer, measure=timed(lambda: encode(strings)))
    return Comparison(
        name=name,
        goal=Goal(kind="times", value=goal),
        ours=Side(name="textmill", measure=timed(lambda: ours.encode_documents(documents))),
        peer=side,
        check=lambda: encode_peers.check_equal(ours.encode_documents(documents)[0], wanted),
        sizes={"bytes": sum(map(len, documents)), "documents": len(documents)},
        warm_up=2,
    )


@functools.cache
def _ours(family: str, peer: str) -> Any:
    from textmill import Tokenizer

    if family == "wordpiece":
        return Tokenizer.load(_bert_vocabulary())
    if peer == "splintr":
        return Tokenizer.load(_trained_unigram())
    return Tokenizer.load(_model(family))


def _peer(family: str, peer: str) -> tuple[Encode, Callable[[Any], np.ndarray]]:
    """(what encodes texts its quickest way, the flat ids of that)."""
    if peer == "tokenizers":
        import tokenizers

        theirs = tokenizers.Tokenizer.from_file(str(_bert_json()))
        return lambda strings: theirs.encode_batch_fast(strings, add_special_tokens=False), _of_encodings
    if peer == "sentencepiece":
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_file=str(_model(family)))
        return lambda strings: processor.encode(strings, num_threads=1), _of_lists
    try:
        splintr = importlib.import_module("splintr")
    except ImportError as missing:
        raise SkippedError("splintr is not installed: pip install splintr-rs") from missing
    path = _bert_json() if family == "wordpiece" else _trained_unigram() / "tokenizer.json"
    loaded = splintr.from_json(str(path))
    # its quickest call: two blocks of bytes, ids and offsets
    return loaded.encode_batch_flat, lambda found: np.frombuffer(found[0], dtype=np.int32)


def _agreed(name: str, documents: list[bytes], ours: Any) -> list[bytes]:
    """The documents that splintr gives the same ids for.

    Raises:
        SkippedError: splintr is not installed, or a third of the documents have other ids.
    """
    encode, ids = _peer("unigram", "splintr")
    same = [np.array_equal(ids(encode([document.decode()])), ours.encode_array(document)) for document in documents]
    kept = [document for document, equal in zip(documents, same, strict=True) if equal]
    if 3 * len(kept) < 2 * len(documents):
        raise SkippedError(f"splintr has the same ids for {len(kept)} of {len(documents)} documents only")
    if len(kept) < len(documents):
        print(f"NOTE     {name}: {len(documents) - len(kept)} of {len(documents)} documents left out", flush=True)
    return kept


def serve_candidate(kind: str, quick: bool) -> tuple[dict[str, Any], Callable[[], float]]:
    """For `Worker`: (the checksum of the ids of tokenizers 1.0rc, one measurement in seconds)."""
    os.environ["TOKENIZERS_PARALLELISM"], os.environ["RAYON_NUM_THREADS"] = "false", "1"
    if not encode_peers.CANDIDATE.is_dir():
        raise SkippedError(f"no tokenizers 1.0rc in {encode_peers.CANDIDATE.name}: see benchmarks/encode_peers.py")
    sys.path.insert(0, str(encode_peers.CANDIDATE))
    theirs = importlib.import_module("tokenizers").Tokenizer.from_file(str(CACHE / "bert" / "tokenizer.json"))
    strings = [document.decode() for document in encode_peers.documents_of(kind, quick)]
    ids = _of_encodings(theirs.encode_batch(strings, add_special_tokens=False))

    def measure() -> float:
        begun = time.perf_counter()
        theirs.encode_batch(strings, add_special_tokens=False)
        return time.perf_counter() - begun

    return {"checksum": encode_peers.checksum(ids)}, measure


def _of_encodings(encodings: Any) -> np.ndarray:
    return np.concatenate([np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings])


def _of_lists(lists: Any) -> np.ndarray:
    return np.concatenate([np.asarray(ids, dtype=np.int32) for ids in lists])


def _bert_vocabulary() -> Path:
    return _data() / "vocab-bert" / "bert-base-uncased-vocab.txt"


@functools.cache
def _bert_json() -> Path:
    """BERT's vocabulary as a tokenizer.json without its template."""
    import tokenizers

    theirs = tokenizers.BertWordPieceTokenizer(str(_bert_vocabulary()), lowercase=True)
    # so that a peer which has no call without the template's [CLS] and [SEP] adds none either
    schema = json.dumps({**json.loads(theirs._tokenizer.to_str()), "post_processor": None})
    path = CACHE / "bert" / "tokenizer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema, encoding="utf-8")
    return path


def _model(family: str) -> Path:
    if family == "unigram trained here":
        path = _trained_unigram() / "exported.model"
        if not path.exists():
            from textmill import Tokenizer

            Tokenizer.load(_trained_unigram() / "tokenizer.json").save(path)
        return path
    return _data() / "vocab-sentencepiece" / ("albert-30k-clean.model" if family == "unigram" else "mistral-v1.model")


@functools.cache
def _trained_unigram() -> Path:
    """A Unigram vocabulary of English, Chinese and code."""
    from textmill import Tokenizer

    path = CACHE / "unigram"
    if not (path / "tokenizer.json").exists():
        parts = [texts.text(kind, 3_000_000) for kind in texts.KINDS]
        documents = [document for part in parts for document in texts.documents(part)]
        Tokenizer.train(documents, algorithm="unigram", vocab_size=32_000, allow_fewer=True).save(path)
    return path


def _data() -> Path:
    folder = data_folder()
    if folder is None:
        raise SkippedError("no published vocabulary here: set TEXTMILL_DATA to the folder of data sets")
    return folder
