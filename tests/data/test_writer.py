import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from textmill.data.layout import ALIGNMENT, HEADER_BYTES
from textmill.data.shards import TokenShards
from textmill.data.writer import writing_shards
from textmill.errors import OutputError

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


def test_the_same_documents_give_the_same_bytes(folder, tmp_path):
    write(tmp_path / "again", [[1, 2, 0], [3, 0], [4, 5, 6, 0]])
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_ids_take_two_bytes_where_they_can(tmp_path):
    for vocab_size, width in ((65_536, 2), (65_537, 4)):
        write(tmp_path / "s", [[65_535] * 1000], vocab_size=vocab_size)
        size = (tmp_path / "s" / "train-00000.tokens").stat().st_size
        padded = -(-1000 * width // ALIGNMENT) * ALIGNMENT
        assert size == HEADER_BYTES + padded + 16 + 40
        assert TokenShards.open(tmp_path / "s").window(999, 1).tolist() == [65_535]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"already holds something else"):
        write(tmp_path, [[1]])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_error_in_the_middle_leaves_the_old_shards(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(AssertionError, match="outside the vocabulary"):
        write(folder, [[1, 2], [3], [1000]])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["shards"]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, size):
    # /dev/full refuses every write like a full disk
    full = lambda *_: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb")  # noqa: E731
    monkeypatch.setattr("textmill.data.writer.open", full, raising=False)
    with pytest.raises(OutputError, match=r"the disk is full. Fix: free some space"):
        write(tmp_path / "s", [[1] * size])
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys, numpy as np
from textmill.data.writer import writing_shards
with writing_shards(sys.argv[1], tokenizer_fingerprint="new", vocab_size=1000, end_of_text_id=0) as writer:
    for number in range(100_000):
        writer.add(np.arange(100_000) % 1000, split="train")
        if number == 10:
            print("writing", flush=True)
"""


@pytest.mark.parametrize("old", [True, False])
def test_kill_in_the_middle_leaves_the_old_shards_or_none(folder, old):
    out = folder if old else folder.parent / "new"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    if old:
        assert TokenShards.open(out).tokenizer_fingerprint == "abc"
    else:
        assert not out.exists()
    assert all(path == folder or path.name.startswith(".") for path in folder.parent.iterdir())
