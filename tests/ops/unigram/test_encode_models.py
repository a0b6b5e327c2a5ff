"""Published models: ids of their expected rows, and of real text by the line, by the document and in one piece."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from textmill.ops.memory import padded
from textmill.ops.unigram import reference
from textmill.ops.unigram.encode import UnigramEncoder
from textmill.ops.unigram.lattice import UnigramLattice

from .sentencepiece_models import encoder_of

MODELS = ["albert-30k-clean", "test_model", "test_ja_model"]
TEXTS = {
    "english": "norvig-big/big.txt.xz",
    "chinese": "peoples-daily-199801/199801.txt.xz",
    "mixed": "wiki-demo/wiki_demo.txt.xz",
}


def opened(folder: Path, name: str) -> tuple[sentencepiece.SentencePieceProcessor, UnigramEncoder]:
    path = folder / "vocab-sentencepiece" / f"{name}.model"
    return sentencepiece.SentencePieceProcessor(model_file=str(path)), encoder_of(path)


def assert_equal_ids(peer: sentencepiece.SentencePieceProcessor, encoder: UnigramEncoder, texts: list[str]) -> None:
    normalised = [text.encode() for text in peer.normalize(texts)]
    expected = [ids for text, ids in zip(normalised, peer.encode(texts), strict=True) if text]
    normalised = [text for text in normalised if text]
    ends = np.cumsum([len(text) for text in normalised]).astype(np.int32)
    ids, token_ends = encoder.encode_with_ends(padded(b"".join(normalised)), 0, ends)
    found = np.split(ids, (np.searchsorted(token_ends, ends) + 1)[:-1])
    wrong = [i for i, row in enumerate(expected) if row != found[i].tolist()]
    assert not wrong, f"{len(wrong)} of {len(expected)} texts differ, first {normalised[wrong[0]][:200]!r}"


@pytest.mark.parametrize("name", MODELS)
def test_expected_rows(shared_data: Path, name: str) -> None:
    peer, encoder = opened(shared_data, name)
    lines = (shared_data / "vocab-sentencepiece" / f"{name}.expected.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines[1:] if line]
    assert len(rows) >= 200
    # twice: segmented, then out of the cache
    for row in rows * 2:
        text = peer.normalize(row["text"]).encode()
        assert encoder.encode_sentence(padded(text), 0, len(text)).tolist() == row["ids"], row["text"]
        if len(text) < 200:
            assert reference.encode(text, encoder.vocabulary) == row["ids"], row["text"]


@pytest.mark.slow
@pytest.mark.parametrize("text_name", TEXTS)
@pytest.mark.parametrize("name", MODELS)
def test_real_text(shared_data: Path, name: str, text_name: str) -> None:
    peer, encoder = opened(shared_data, name)
    text = lzma.decompress((shared_data / TEXTS[text_name]).read_bytes()).decode()[:2_000_000]
    assert_equal_ids(peer, encoder, text.split("\n"))
    assert_equal_ids(peer, encoder, [text[start : start + 20_000] for start in range(0, len(text), 20_000)])
    # so long that the running score starts anew many times
    assert_equal_ids(peer, encoder, [text])


@pytest.mark.slow
def test_n_best_of_real_sentences(shared_data: Path) -> None:
    peer, encoder = opened(shared_data, "test_model")
    lattice = UnigramLattice(encoder.tables)
    text = lzma.decompress((shared_data / TEXTS["english"]).read_bytes()).decode()
    sentences = [line for line in text.split("\n") if 20 < len(line) < 120 and line.isascii()][:100]
    for sentence in sentences:
        found = lattice.n_best(peer.normalize(sentence).encode(), 12)
        expected = peer.nbest_encode(sentence, nbest_size=8)
        scores = [sum(peer.get_score(number) for number in ids) for ids in expected]
        # `sentencepiece` adds in float32: near ties may change places
        if peer.unk_id() not in expected[0]:
            assert [score for score, _ in found[:8]] == pytest.approx(scores, abs=1e-3)
            assert {tuple(ids) for ids in expected[:6]} <= {tuple(ids) for _, ids in found}
