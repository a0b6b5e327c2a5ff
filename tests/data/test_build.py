import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.data import build
from textmill.data.build import build_shards, with_end_of_text
from textmill.data.shards import TokenShards
from textmill.data.spec import ShardSpec
from textmill.data.split import is_validation
from textmill.errors import DataError

DOCUMENTS = [(f"document {number} " * (number % 7 + 1)).encode() for number in range(300)]


class Bytes:
    """A tokenizer whose ids are the bytes, and 256 for the end of a text."""

    vocab_size = 257
    end_of_text_id: int | None = 256

    def encode_array(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.uint8).astype(np.int32)

    def fingerprint(self) -> str:
        return "bytes"


class FastBytes(Bytes):
    def encode_documents(self, documents):
        offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
        return self.encode_array(b"".join(documents)), offsets


def texts(folder, split) -> list[bytes]:
    shards = TokenShards.open(folder, split)
    borders = [*shards.document_starts.tolist(), shards.num_tokens]
    found = [shards.window(start, end - start) for start, end in pairwise(borders)]
    assert all(document[-1] == 256 and 256 not in document[:-1] for document in found)
    assert shards.document_bytes.tolist() == [len(document) - 1 for document in found]
    return [document[:-1].astype(np.uint8).tobytes() for document in found]


@pytest.mark.parametrize("tokenizer", [Bytes(), FastBytes()])
@pytest.mark.parametrize("batch", [1, 100, 1 << 20])
def test_documents_come_back_in_order_from_the_split_their_hash_decides(tmp_path, monkeypatch, tokenizer, batch):
    monkeypatch.setattr(build, "BATCH_BYTES", batch)
    done: list[int] = []
    report = build_shards(iter(DOCUMENTS), tokenizer, tmp_path / "s", ShardSpec(split_seed=0), done.append)
    train, validation = texts(tmp_path / "s", "train"), texts(tmp_path / "s", "validation")
    assert validation == [document for document in DOCUMENTS if is_validation(document, 0.05)]
    assert sorted(train + validation) == sorted(DOCUMENTS)
    assert done == sorted(done)
    assert done[-1] == sum(map(len, DOCUMENTS)) == report.train.text_bytes + report.validation.text_bytes
    assert report.train.documents + report.validation.documents == 300
    assert report.bytes_per_token == done[-1] / (done[-1] + 300)


def test_both_encoders_and_all_batch_sizes_give_the_same_files(tmp_path, monkeypatch):
    build_shards(DOCUMENTS, Bytes(), tmp_path / "a")
    monkeypatch.setattr(build, "BATCH_BYTES", 50)
    build_shards(DOCUMENTS, FastBytes(), tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_without_an_end_of_text_token(tmp_path):
    tokenizer = Bytes()
    tokenizer.end_of_text_id = None
    build_shards([b"ab", b"c"], tokenizer, tmp_path / "s", ShardSpec(validation_fraction=0))
    shards = TokenShards.open(tmp_path / "s")
    assert shards.window(0, 3).tolist() == [97, 98, 99]
    assert shards.end_of_text_id is None


def test_two_documents_fill_both_splits(tmp_path):
    report = build_shards([b"one", b"two"], Bytes(), tmp_path / "s", ShardSpec(validation_fraction=1e-9))
    assert (report.train.documents, report.validation.documents) == (1, 1)


def test_several_files(tmp_path):
    report = build_shards(DOCUMENTS, Bytes(), tmp_path / "s", ShardSpec(max_tokens_per_file=1))
    manifest = json.loads((tmp_path / "s" / "shards.json").read_text())
    assert len(manifest["splits"]["train"]) == report.train.files >= 1
    assert len(texts(tmp_path / "s", "train")) == report.train.documents


def test_no_document_at_all(tmp_path):
    with pytest.raises(DataError, match=r"the corpus holds no document. Fix: check the input"):
        build_shards([], Bytes(), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_a_bad_document_leaves_nothing(tmp_path):
    def documents():
        yield from DOCUMENTS
        raise DataError("broken row")

    with pytest.raises(DataError, match=r"broken row"):
        build_shards(documents(), Bytes(), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6))
def test_end_of_text_goes_after_each_document(documents):
    flat = np.array([token for document in documents for token in document], np.int32)
    offsets = np.cumsum([0, *map(len, documents)])
    ids, ends = with_end_of_text(flat, offsets, 99)
    assert [ids[a:b].tolist() for a, b in pairwise(ends)] == [[*d, 99] for d in documents]
    assert ids.dtype == np.int32
