import gzip
import io
import lzma
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from textmill.corpus.inputs import resolve_inputs, source_of
from textmill.corpus.streams import BLOCK, blocks
from textmill.errors import DataError, FormatError

CONTENT = b"".join(b"line %d of the text\n" % number for number in range(100_000))
COMPRESS = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


def written(tmp_path: Path, suffix: str, data: bytes) -> Path:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", COMPRESS)
def test_round_trip_in_full_blocks(tmp_path, suffix):
    path = written(tmp_path, suffix, COMPRESS[suffix](CONTENT))
    positions: list[int] = []
    found = list(blocks(source_of(path), positions.append))
    assert b"".join(found) == CONTENT
    assert [len(block) for block in found[:-1]] == [BLOCK] * (len(found) - 1)
    assert positions == sorted(positions)
    assert positions[-1] <= path.stat().st_size


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_several_members_one_after_the_other(tmp_path, suffix):
    data = COMPRESS[suffix](b"one ") + COMPRESS[suffix](b"two")
    assert b"".join(blocks(source_of(written(tmp_path, suffix, data)))) == b"one two"


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("keep", [0.001, 0.5, 0.999])
def test_cut_short(tmp_path, suffix, keep):
    data = COMPRESS[suffix](CONTENT)
    path = written(tmp_path, suffix, data[: max(5, int(len(data) * keep))])
    with pytest.raises(FormatError, match=rf"a.txt{suffix} is cut short.* Fix: copy or download"):
        list(blocks(source_of(path)))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_damaged(tmp_path, suffix):
    data = bytearray(COMPRESS[suffix](CONTENT))
    data[20:40] = b"\xff" * 20  # zstd's sums are optional: what breaks is the structure
    with pytest.raises(FormatError, match=rf"a.txt{suffix} is "):
        list(blocks(source_of(written(tmp_path, suffix, bytes(data)))))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_plain_text_under_a_compressed_name(tmp_path, suffix):
    with pytest.raises(FormatError, match=r"is not valid"):
        list(blocks(source_of(written(tmp_path, suffix, b"just plain text, much of it"))))


def test_a_file_that_vanished(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*gone.txt: No such file"):
        list(blocks(source_of(tmp_path / "gone.txt")))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_standard_input_may_be_compressed(monkeypatch, suffix):
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(COMPRESS[suffix](CONTENT))))
    monkeypatch.setattr(sys, "stdin", stdin)
    (source,) = resolve_inputs(["-"])
    assert b"".join(blocks(source)) == CONTENT
