import dataclasses
import hashlib

import pytest

from textmill.data.layout import (
    ALIGNMENT,
    HEADER_BYTES,
    FileHeader,
    dtype_for,
    header_block,
    read_header,
    trailer,
    verify_sections,
    whole_numbers,
)
from textmill.errors import FormatError

IDS = bytes([1, 0, 2, 0, 3, 0])
TABLE = bytes(16)
HEADER = FileHeader(
    dtype="uint16",
    tokens=3,
    documents=1,
    text_bytes=9,
    vocab_size=10,
    tokens_sha256=hashlib.sha256(IDS).hexdigest(),
    documents_sha256=hashlib.sha256(TABLE).hexdigest(),
)


def file_of(header: FileHeader) -> bytes:
    block = header_block(header)
    return block + IDS.ljust(ALIGNMENT, b"\0") + TABLE + trailer(block)


def test_a_file_written_by_hand_is_read(tmp_path):
    path = tmp_path / "a.tokens"
    path.write_bytes(file_of(HEADER))
    header, digest = read_header(path)
    verify_sections(path, header)
    assert header == HEADER
    assert digest == hashlib.sha256(header_block(HEADER)).hexdigest()
    assert (header.documents_begin, header.file_bytes) == (HEADER_BYTES + 64, HEADER_BYTES + 64 + 16 + 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": -1}, "impossible counts"),
        ({"documents": 4}, "impossible counts"),
        ({"tokens": 1 << 60}, "its header promises"),
        ({"dtype": "float64"}, "has a damaged header: .* must be one of uint16, uint32"),
        ({"tokens": "3"}, "has a damaged header: .* must be a whole number"),
    ],
)
def test_headers_that_lie(tmp_path, change, message):
    path = tmp_path / "a.tokens"
    block = header_block(dataclasses.replace(HEADER, **change))
    path.write_bytes(block + file_of(HEADER)[HEADER_BYTES:-40] + trailer(block))
    with pytest.raises(FormatError, match=message):
        read_header(path)


def test_a_header_that_is_not_json(tmp_path):
    path = tmp_path / "a.tokens"
    data = file_of(HEADER)
    path.write_bytes(data[:16] + b"[" * 4000 + data[4016:])
    with pytest.raises(FormatError, match=r"has a damaged header: .*Fix: build the shards again from the text"):
        read_header(path)


def test_changed_sections(tmp_path):
    path = tmp_path / "a.tokens"
    data = file_of(HEADER)
    for place, name in ((HEADER_BYTES, "token ids"), (HEADER_BYTES + 64, "document table")):
        path.write_bytes(data[:place] + b"\x07" + data[place + 1 :])
        header, _ = read_header(path)
        with pytest.raises(FormatError, match=f"the {name} differ from their checksum: the file was changed"):
            verify_sections(path, header)


def test_small_helpers():
    assert dtype_for(1) == "uint16"
    assert whole_numbers({"a": 0, "b": 5}, ("a", "b"))
    assert not whole_numbers({"a": True}, ("a",))
    assert not whole_numbers({}, ("a",))
