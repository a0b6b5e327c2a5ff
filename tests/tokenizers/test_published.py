"""Published vocabularies against the ids that their owners' libraries give; needs the data under TEXTMILL_DATA.

The expected files were made with tiktoken 0.14 and tokenizers 0.23.3; their first line says how.
"""

import json
import lzma
import os
from pathlib import Path

import pytest
import tiktoken
import tokenizers

from textmill.tokenizers import Tokenizer

DATA = Path(os.environ.get("TEXTMILL_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="TEXTMILL_DATA is missing")]


def expected(folder: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / folder / "expected.jsonl").read_text().split("\n")[1:] if line]


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
        if ours.pipeline.normalized(text) == text:
            assert ours.spans(text, allow_special=True) == [tuple(offset) for offset in row["offsets"]]
