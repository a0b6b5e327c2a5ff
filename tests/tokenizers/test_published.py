"""Published vocabularies against the ids that their owners' libraries give; needs the data under TEXTMILL_DATA.

The expected files were made with tiktoken 0.14 and tokenizers 0.23.3; their first line says how.
"""

import json
import lzma
import os
from pathlib import Path

import pytest
import sentencepiece
import tiktoken
import tokenizers

from textmill.ops.split import PATTERNS
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.converting import sample_texts
from textmill.tokenizers.vocab_txt import read_vocab_txt

DATA = Path(os.environ.get("TEXTMILL_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="TEXTMILL_DATA is missing")]


def expected(folder: str, name: str = "expected.jsonl") -> list[dict]:
    return [json.loads(line) for line in (DATA / folder / name).read_text().split("\n")[1:] if line]


def unpacked(source: Path, target: Path) -> Path:
    target.write_bytes(lzma.decompress(source.read_bytes()))
    return target


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    unpacked(DATA / "vocab-gpt2" / "encoder.json.xz", folder / "encoder.json")
    (folder / "vocab.bpe").write_bytes((DATA / "vocab-gpt2" / "vocab.bpe").read_bytes())
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def cl100k_path(tmp_path_factory):
    packed = DATA / "vocab-cl100k" / "cl100k_base.tiktoken.xz"
    return unpacked(packed, tmp_path_factory.mktemp("cl100k") / "cl100k_base.tiktoken")


@pytest.fixture(scope="module")
def neox_path(tmp_path_factory):
    packed = DATA / "vocab-tokenizer-json" / "gpt-neox-20B_tokenizer.json.xz"
    return unpacked(packed, tmp_path_factory.mktemp("neox") / "tokenizer.json")


@pytest.fixture(scope="module")
def english():
    return lzma.decompress((DATA / "norvig-big" / "big.txt.xz").read_bytes())


def test_gpt2(gpt2, tmp_path, english):
    assert (gpt2.vocab_size, gpt2.end_of_text_id) == (50257, 50256)
    for row in expected("vocab-gpt2"):
        assert gpt2.encode(row["text"]) == row["ids"], row["text"]
        assert gpt2.decode(row["ids"]) == row["text"]
    gpt2.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = english[:1_000_000].decode()
    assert gpt2.encode(text) == theirs.encode(text).ids
    assert Tokenizer.load(tmp_path).fingerprint() == gpt2.fingerprint()


def test_gpt2_on_the_examples_of_hugging_face(gpt2):
    text = json.loads((DATA / "vocab-gpt2" / "encoded_tokens.hf.json").read_text())
    for row in text if isinstance(text, list) else [text]:
        ids = row.get("token_ids") or row.get("ids") or row.get("encoded_tokens")
        assert gpt2.encode(row["text"]) == ids


def test_cl100k(cl100k_path, tmp_path, english):
    ours = Tokenizer.load(cl100k_path)
    assert (ours.vocab_size, ours.end_of_text_id) == (100277, 100257)
    for row in expected("vocab-cl100k"):
        assert ours.encode(row["text"]) == row["ids"], row["text"]
        assert ours.decode(row["ids"]) == row["text"]
    theirs = tiktoken.Encoding(
        "cl100k",
        pat_str=json.loads((DATA / "vocab-cl100k" / "expected.jsonl").read_text().split("\n")[0])["pat_str"],
        mergeable_ranks=dict(ours.pipeline.model.tokens),
        special_tokens=ours.special_tokens,
    )
    assert ours.encode_array(english).tolist() == theirs.encode_ordinary(english.decode())
    ours.save(tmp_path)
    hugging_face = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.load(tmp_path)
    for row in expected("vocab-cl100k"):
        # which always looks for special tokens
        assert hugging_face.encode(row["text"]).ids == ours.encode(row["text"], allow_special=True)
        assert again.encode(row["text"]) == row["ids"]


def test_gpt_neox(neox_path):
    ours, theirs = Tokenizer.load(neox_path), tokenizers.Tokenizer.from_file(str(neox_path))
    assert (ours.vocab_size, ours.end_of_text_id) == (50277, 0)
    for row in expected("vocab-tokenizer-json"):
        text = row["text"]
        assert ours.encode(text, allow_special=True) == row["ids"], text
        assert ours.decode(row["ids"]) == theirs.decode(row["ids"], skip_special_tokens=False)
        assert ours.spans(text, allow_special=True) == [tuple(offset) for offset in row["offsets"]]


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-chinese"])
def test_bert(name):
    """The expected ids were made in lower case for both, with [CLS] and [SEP] around them."""
    pipeline = read_vocab_txt(DATA / "vocab-bert" / f"{name}-vocab.txt", lowercase=True)
    ours = Tokenizer(pipeline)
    for row in expected("vocab-bert", f"{name}.expected.jsonl"):
        text = row["text"]
        assert ours.encode(text, allow_special=True) == row["ids"][1:-1], text
        assert ours.spans(text, allow_special=True) == [tuple(offset) for offset in row["offsets"]][1:-1]
        assert ours.batch([text], allow_special=True).ids[0].tolist() == row["ids"]
        assert [ours.id_to_token(id) for id in row["ids"]] == row["tokens"]


def test_bert_on_questions():
    ours = Tokenizer.load(DATA / "vocab-bert" / "bert-base-uncased-vocab.txt")
    for row in expected("vocab-bert", "squad-questions.hf.jsonl"):
        assert ours.encode(row["text"]) == row["ids"], row["text"]


@pytest.mark.parametrize("name", ["albert-30k-clean", "mistral-v1", "test_ja_model", "test_model"])
def test_sentencepiece_models(name, tmp_path, english):
    path = DATA / "vocab-sentencepiece" / f"{name}.model"
    ours, theirs = Tokenizer.load(path), sentencepiece.SentencePieceProcessor(model_file=str(path))
    ours.save(tmp_path / "again.model")
    again = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "again.model"))
    for row in expected("vocab-sentencepiece", f"{name}.expected.jsonl"):
        text = row["text"]
        assert ours.encode(text) == row["ids"] == again.encode(text), text
        assert [ours.id_to_token(id) for id in row["ids"]] == [theirs.id_to_piece(id) for id in row["ids"]]
        assert ours.decode(row["ids"]) == row["decoded"], text
        stream = ours.stream()
        assert "".join([*map(stream.push, row["ids"]), stream.finish()]) == row["decoded"]
        _, starts, ends = ours.encode_spans_array(text, unit="bytes")
        pieces = theirs.encode(text, return_type="proto").pieces
        assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(piece.begin, piece.end) for piece in pieces]
    for text in (*english[:300_000].decode().split("\n"), *sample_texts(ours, 3000, seed=1)):
        assert ours.encode(text) == theirs.encode(text), text


def test_published_vocabularies_on_hostile_text(gpt2, cl100k_path, neox_path, tmp_path):
    gpt2.save(tmp_path)
    pairs = [
        (gpt2, tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))),
        (Tokenizer.load(neox_path), tokenizers.Tokenizer.from_file(str(neox_path))),
    ]
    for ours, theirs in pairs:
        for text in sample_texts(ours, 5000, seed=2):
            assert ours.encode_with_spans(text, allow_special=True) == _of(
                theirs.encode(text, add_special_tokens=False)
            )
    cl100k = Tokenizer.load(cl100k_path)
    peer = tiktoken.Encoding(
        "cl100k",
        pat_str=PATTERNS["cl100k"].replace(r"\Z", "$"),
        mergeable_ranks=dict(cl100k.pipeline.model.tokens),
        special_tokens=cl100k.special_tokens,
    )
    for text in sample_texts(cl100k, 5000, seed=3):
        assert cl100k.encode(text) == peer.encode_ordinary(text), text


def _of(encoding):
    return encoding.ids, encoding.offsets
