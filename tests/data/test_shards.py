import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.data.layout import ALIGNMENT, HEADER_BYTES
from textmill.data.shards import TokenShards
from textmill.data.writer import MANIFEST, writing_shards
from textmill.errors import DataError, FormatError

ABOUT = {"tokenizer_fingerprint": "abc", "vocab_size": 1000, "end_of_text_id": 0}


def write(folder: Path, documents, max_tokens=1 << 28, **about) -> None:
    with writing_shards(folder, max_tokens_per_file=max_tokens, **{**ABOUT, **about}) as writer:
        for number, document in enumerate(documents):
            writer.add(np.array(document, np.int32), split="train", text_bytes=10 + number)
        writer.add(np.array([7, 0], np.int32), split="validation", text_bytes=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "shards", [[1, 2, 0], [3, 0], [4, 5, 6, 0]])
    return tmp_path / "shards"


def test_what_is_written_is_read(folder):
    train = TokenShards.open(folder)
    assert (train.num_tokens, train.num_documents, train.text_bytes) == (9, 3, 33)
    assert train.document_starts.tolist() == [0, 3, 5]
    assert train.document_bytes.tolist() == [10, 11, 12]
    assert train.window(2, 4).tolist() == [0, 3, 0, 4]
    assert train.gather(np.array([5, 0]), 3).tolist() == [[4, 5, 6], [1, 2, 0]]
    assert (train.tokenizer_fingerprint, train.vocab_size, train.end_of_text_id) == ("abc", 1000, 0)
    validation = TokenShards.open(folder, split="validation")
    assert validation.window(0, 2).tolist() == [7, 0]
    assert validation.text_bytes == 3


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 99_999), min_size=1, max_size=9), min_size=1, max_size=20),
    st.integers(1, 30),
    st.sampled_from([100_000, 65_536]),
)
def test_several_files_are_one_stream(tmp_path_factory, documents, max_tokens, vocab_size):
    folder = tmp_path_factory.getbasetemp() / "several"
    documents = [[token % vocab_size for token in document] for document in documents]
    write(folder, documents, max_tokens, vocab_size=vocab_size)
    flat = [token for document in documents for token in document]
    train = TokenShards.open(folder)
    assert train.window(0, len(flat)).tolist() == flat
    assert train.document_starts.tolist() == np.cumsum([0, *map(len, documents)])[:-1].tolist()
    assert train.document_bytes.tolist() == [10 + number for number in range(len(documents))]
    for start in range(0, len(flat), 3):
        assert train.window(start, min(7, len(flat) - start)).tolist() == flat[start : start + 7]
    for length in range(1, min(7, len(flat)) + 1):
        starts = np.arange(len(flat) - length + 1)[::-1]
        assert train.gather(starts, length).tolist() == [flat[start : start + length] for start in starts]
    sizes = [entry["tokens"] for entry in json.loads((folder / MANIFEST).read_text())["splits"]["train"]]
    assert max(sizes) <= max(max_tokens, *map(len, documents))


def test_positions_outside_are_caught(folder):
    train = TokenShards.open(folder)
    for start in (-1, 7):
        with pytest.raises(AssertionError):
            train.gather(np.array([0, start]), 3)
        with pytest.raises(AssertionError):
            train.window(start, 3)


def test_an_empty_split(tmp_path):
    with writing_shards(tmp_path / "s", **ABOUT) as writer:
        writer.add(np.array([1]), split="train")
    empty = TokenShards.open(tmp_path / "s", "validation")
    assert (empty.num_tokens, empty.num_documents, empty.document_starts.tolist()) == (0, 0, [])


def test_every_changed_byte_is_noticed(folder):
    path = folder / "train-00000.tokens"
    data = path.read_bytes()
    ids_end = HEADER_BYTES + 18
    padding = range(ids_end, HEADER_BYTES + ALIGNMENT)
    places = [*range(0, 600, 7), HEADER_BYTES - 1, *range(HEADER_BYTES, len(data), 3)]
    for place in places:
        if place in padding:
            continue
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(FormatError, match=r"Fix: (build the shards again|write the file again)"):
            TokenShards.open(folder)
    path.write_bytes(data)
    TokenShards.open(folder)


def test_every_cut_is_noticed_even_without_verifying(folder):
    path = folder / "train-00000.tokens"
    data = path.read_bytes()
    for size in [0, 5, 100, HEADER_BYTES, HEADER_BYTES + 6, len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(FormatError, match=r"too few for a token shard|cut short or added to"):
            TokenShards.open(folder, verify=False)
    path.write_bytes(data + b"x")
    with pytest.raises(FormatError, match=r"has .* bytes, its header promises .*cut short or added to"):
        TokenShards.open(folder, verify=False)


def test_messages_say_what_is_wrong(folder, tmp_path):
    path = folder / "train-00000.tokens"
    data = path.read_bytes()
    path.write_bytes(b"PARQUET." + data[8:])
    with pytest.raises(FormatError, match=r"is not a token shard"):
        TokenShards.open(folder)
    path.write_bytes(data[:8] + b"\x09" + data[9:])
    with pytest.raises(FormatError, match=r"is a token shard of version 9, this program reads 1 and 2"):
        TokenShards.open(folder)
    path.write_bytes(data[:HEADER_BYTES] + b"\x09" + data[HEADER_BYTES + 1 :])
    with pytest.raises(FormatError, match=r"the token ids differ from their checksum"):
        TokenShards.open(folder)
    path.unlink()
    with pytest.raises(FormatError, match=r"cannot read the token shard .*No such file"):
        TokenShards.open(folder)
    with pytest.raises(FormatError, match=r"shards.json does not exist"):
        TokenShards.open(tmp_path / "nowhere")


def test_a_file_of_other_shards_is_noticed(folder, tmp_path):
    write(tmp_path / "other", [[9, 9, 0]])
    (folder / "train-00000.tokens").write_bytes((tmp_path / "other" / "train-00000.tokens").read_bytes())
    with pytest.raises(FormatError, match=r"is not the file that shards.json names"):
        TokenShards.open(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "else"}, "is not a list of token shards"),
        ({"version": 3}, "is of version 3, this program reads 1 and 2"),
        ({"version": 2}, "train-00000.tokens is of version 1, shards.json says 2"),
        ({"vocab_size": -1}, "lacks something or holds values of the wrong kind"),
        ({"vocab_size": 999}, "has 1000 ids, shards.json says 999"),
        ({"splits": {"train": []}}, "lacks something"),
        ({"splits": {"train": [{"name": "../x"}], "validation": []}}, "lacks something"),
    ],
)
def test_a_hostile_manifest(folder, change, message):
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **change}))
    with pytest.raises(FormatError, match=message):
        TokenShards.open(folder)


def test_another_tokenizer(folder):
    TokenShards.open(folder).check_tokenizer("abc")
    with pytest.raises(DataError, match=r"made with another tokenizer \(abc, not xyz\). Fix: build the shards again"):
        TokenShards.open(folder).check_tokenizer("xyz")
