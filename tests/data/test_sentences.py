import dataclasses
import hashlib
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.data import layout
from textmill.data.build import build_shards
from textmill.data.sentences import SentenceTable, sentence_table
from textmill.data.shards import TokenShards
from textmill.data.spec import ShardSpec
from textmill.data.writer import MANIFEST, writing_shards
from textmill.errors import DataError, FormatError

ABOUT = {"tokenizer_fingerprint": "abc", "vocab_size": 1000, "end_of_text_id": 0}


class Bytes:
    """A token for each byte but `x`, which is no token at all; 0 ends a text."""

    vocab_size = 257
    end_of_text_id = 256

    def encode_array(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data.replace(b"x", b""), np.uint8).astype(np.int32)

    def fingerprint(self) -> str:
        return "bytes"


def sentences_of(shards: TokenShards) -> list[list[bytes]]:
    """The sentences of each document, read through the table."""
    table = shards.sentences
    firsts = table.firsts()
    return [
        [
            bytes(shards.window(int(begin), int(end - begin)).astype(np.uint8))
            for begin, end in zip(table.bounds[first : stop - 1], table.bounds[first + 1 : stop], strict=True)
        ]
        for first, stop in pairwise(firsts)
    ]


LINES = st.lists(st.text(alphabet="abx", min_size=1, max_size=5), min_size=1, max_size=5)


@given(st.lists(LINES, min_size=1, max_size=8), st.sampled_from([7, 1 << 28]))
def test_sentences_are_written_and_read(tmp_path_factory, documents, most):
    folder = tmp_path_factory.getbasetemp() / "sentences"
    texts = ["\n".join(lines).encode() for lines in documents]
    spec = ShardSpec(validation_fraction=0, sentences="lines", max_tokens_per_file=most)
    build_shards(texts, Bytes(), folder, spec)
    shards = TokenShards.open(folder)
    expected = [[kept.encode() for line in lines if (kept := line.replace("x", ""))] for lines in documents]
    assert shards.has_sentences
    assert sentences_of(shards) == expected
    assert shards.num_documents == len(documents)
    # the mark after a document is in no sentence
    assert shards.num_tokens == sum(len(b"".join(lines)) + 1 for lines in expected)


def test_running_text_is_kept_to_the_byte(tmp_path):
    texts = [b"One. Two!  Three?\n\nFour", "你好。再见！\n".encode(), b"   "]
    build_shards(texts, Bytes(), tmp_path / "s", ShardSpec(validation_fraction=0, sentences="text"))
    shards = TokenShards.open(tmp_path / "s")
    assert [b"".join(sentences) for sentences in sentences_of(shards)] == texts
    assert shards.sentences.counts.tolist() == [4, 2, 1]
    assert shards.text_bytes == sum(map(len, texts))


def test_several_files_are_one_table(tmp_path):
    with writing_shards(tmp_path / "s", **ABOUT, max_tokens_per_file=20, sentences=True) as writer:
        for length in (5, 9, 8, 12, 30):
            bounds = np.array([0, 2, length - 1])
            table = SentenceTable(np.array([2]), bounds)
            writer.add_documents(
                np.arange(length), np.array([0, length]), np.array([1]), sentences=table, split="train"
            )
    shards = TokenShards.open(tmp_path / "s")
    assert len(shards.token_files) == 3
    starts = shards.document_starts
    expected = [[start, start + 2, start + length - 1] for start, length in zip(starts, (5, 9, 8, 12, 30), strict=True)]
    assert shards.sentences.bounds.reshape(-1, 3).tolist() == expected
    for begin, ids in shards.token_files:
        assert shards.window(begin, len(ids)).tolist() == ids.tolist()


def test_shards_without_sentences_say_so_and_stay_as_they_were(tmp_path):
    build_shards([b"one", b"two"], Bytes(), tmp_path / "s", ShardSpec(validation_fraction=0))
    shards = TokenShards.open(tmp_path / "s")
    assert not shards.has_sentences
    with pytest.raises(DataError, match=r"do not say where sentences begin. Fix: build them again with sentences"):
        _ = shards.sentences
    assert json.loads((tmp_path / "s" / MANIFEST).read_text())["version"] == 1
    data = (tmp_path / "s" / "train-00000.tokens").read_bytes()
    assert data[8] == 1
    assert b"sentences" not in data


def test_every_changed_byte_of_the_table_is_noticed(tmp_path):
    build_shards([b"one\ntwo", b"three"], Bytes(), tmp_path / "s", ShardSpec(validation_fraction=0, sentences="lines"))
    path = tmp_path / "s" / "train-00000.tokens"
    header, _ = layout.read_header(path)
    data = path.read_bytes()
    assert header.sentences_end - header.documents_end == 8 * (2 + 5)
    for place in range(header.documents_end, header.sentences_end):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(FormatError, match="the sentence table differ from their checksum"):
            TokenShards.open(tmp_path / "s")
        # a table that is not verified is at least never followed out of its documents
        shards = TokenShards.open(tmp_path / "s", verify=False)
        try:
            assert shards.sentences.fits(np.append(shards.document_starts, shards.num_tokens))
        except FormatError as error:
            assert "points outside its documents" in str(error)  # noqa: PT017 - either may be


def test_a_table_that_lies_is_refused(tmp_path):
    build_shards([b"one\ntwo", b"three"], Bytes(), tmp_path / "s", ShardSpec(validation_fraction=0, sentences="lines"))
    path = tmp_path / "s" / "train-00000.tokens"
    header, _ = layout.read_header(path)
    data = path.read_bytes()
    for bounds in ([0, 3, 99, 7, 12], [-1, 3, 6, 7, 12], [0, 3, 3, 7, 12], [0, 3, 6, 7, 14]):
        table = np.array([2, 1, *bounds], "<i8").tobytes()
        lying = dataclasses.replace(header, sentences_sha256=hashlib.sha256(table).hexdigest())
        block = layout.header_block(lying)
        path.write_bytes(block + data[layout.HEADER_BYTES : header.documents_end] + table + layout.trailer(block))
        manifest = json.loads((tmp_path / "s" / MANIFEST).read_text())
        manifest["splits"]["train"][0]["header_sha256"] = hashlib.sha256(block).hexdigest()
        (tmp_path / "s" / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(FormatError, match="points outside its documents"):
            _ = TokenShards.open(tmp_path / "s").sentences


def test_headers_that_contradict_themselves(tmp_path):
    build_shards([b"one\ntwo"], Bytes(), tmp_path / "s", ShardSpec(validation_fraction=0, sentences="lines"))
    path = tmp_path / "s" / "train-00000.tokens"
    header, _ = layout.read_header(path)
    data = path.read_bytes()
    for change, message in (
        ({"sentences_sha256": None}, "says two things about sentences"),
        ({"sentences": -1}, "impossible counts"),
        ({"sentences": 100}, "impossible counts"),
        ({"sentences": 1}, "its header promises"),
    ):
        path.write_bytes(layout.header_block(dataclasses.replace(header, **change)) + data[layout.HEADER_BYTES :])
        with pytest.raises(FormatError, match=message):
            layout.read_header(path)


def test_documents_must_come_with_their_sentences(tmp_path):
    table = SentenceTable(np.array([1]), np.array([0, 2]))
    ids, offsets, sizes = np.array([1, 2]), np.array([0, 2]), np.array([2])
    with pytest.raises(AssertionError, match="takes them with all"), writing_shards(tmp_path / "a", **ABOUT) as writer:
        writer.add_documents(ids, offsets, sizes, sentences=table)
    with writing_shards(tmp_path / "b", **ABOUT, sentences=True) as writer:
        with pytest.raises(AssertionError, match="takes them with all"):
            writer.add_documents(ids, offsets, sizes)
        with pytest.raises(AssertionError, match="outside their documents"):
            writer.add_documents(ids, offsets, sizes, sentences=table.moved(1))


def test_tables():
    table, documents = sentence_table([0, 0], np.array([0]))
    assert (table.counts.tolist(), table.bounds.tolist(), documents.tolist()) == ([0, 0], [0, 0], [0, 0, 0])
    assert table.fits(documents)
    assert SentenceTable(np.zeros(0, np.int64), np.zeros(0, np.int64)).fits(np.array([0]))
    assert not SentenceTable(np.array([1]), np.array([0])).fits(np.array([0, 5]))
    assert not SentenceTable(np.array([-1]), np.array([0])).fits(np.array([0, 5]))
