import csv
import gzip
import io
import json
import lzma
import sys
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.corpus import ReadReport, read_documents
from textmill.corpus.inputs import source_of
from textmill.errors import ConfigError, DataError

TEXTS = [
    "plain",
    "two\nlines\r\n",
    'quoted "words", and commas',
    "日本語 😀",
    "nul\0inside",
    " ",
    "tab\there",
    "",
    "x" * 200_000,
]
KEPT = [text.encode() for text in TEXTS if text.strip()]


def jsonl(texts) -> bytes:
    return b"".join(json.dumps({"id": 1, "text": text}, ensure_ascii=False).encode() + b"\n" for text in texts)


def table(texts, delimiter=",") -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["id", "text"])
    writer.writerows([["1", text] for text in texts])
    return out.getvalue().encode()


def parquet(texts, kind=None) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array(range(len(texts))), "text": pa.array(texts, kind)}), out, row_group_size=3)
    return out.getvalue()


def plain_table(texts, delimiter) -> bytes:
    return "".join(f"1{delimiter}{text}\n" for text in ["text", *texts]).replace("1", "id", 1).encode()


COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}
WRITE = {".jsonl": jsonl, ".csv": table, ".parquet": parquet}


def read(path: Path, data: bytes | None = None, **options) -> list[bytes]:
    if data is not None:
        path.write_bytes(data)
    return list(read_documents([path], **options))


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", WRITE)
def test_rows_of_every_format_come_back(tmp_path, suffix, compression):
    report = ReadReport()
    path = tmp_path / f"a{suffix}{compression}"
    assert read(path, COMPRESS[compression](WRITE[suffix](TEXTS)), report=report) == KEPT
    assert report.documents == len(KEPT)
    assert report.bytes == sum(map(len, KEPT))
    assert report.empty == 2
    assert report.stored_bytes == path.stat().st_size


@pytest.mark.parametrize("compression", COMPRESS)
def test_plain_text_of_every_compression(tmp_path, compression):
    text = "".join(f"Paragraph {number}.\n\n" for number in range(20_000)).encode()
    found = read(tmp_path / f"a.txt{compression}", COMPRESS[compression](text))
    assert b"".join(found) == text
    assert all(8_000 < len(document) <= 8_192 for document in found[:-1])
    assert read(tmp_path / f"a.txt{compression}", documents="file") == [text]
    assert len(read(tmp_path / f"a.txt{compression}", documents="paragraph")) == 20_000


def test_tsv_knows_no_quotation_marks(tmp_path):
    texts = ['"open', 'a "b" c', '"whole"']
    assert read(tmp_path / "a.tsv", plain_table(texts, "\t")) == [text.encode() for text in texts]


def test_a_table_without_a_header_by_column_number(tmp_path):
    assert read(tmp_path / "a.csv", b'2,"one"\n4,two\n', field="2") == [b"one", b"two"]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)))
def test_csv_agrees_with_the_csv_module(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "same.csv"
    kept = [text.encode() for text in texts if not text.encode().isspace() and text]
    assert read(path, table(texts)) == kept


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt"])
def test_byte_order_mark_and_windows_lines(tmp_path, suffix):
    data = {".jsonl": b'{"text": "a"}\r\n\r\n{"text": "b"}\r\n', ".csv": b"text\r\na\r\n\r\nb\r\n", ".txt": b"a\r\nb"}[
        suffix
    ]
    options = {"documents": "line"} if suffix == ".txt" else {}
    assert read(tmp_path / f"a{suffix}", b"\xef\xbb\xbf" + data, **options) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("name", "data", "place"),
    [
        ("a.txt", b"\xef\xbb\xbfgood\nb\xffd\n", "a.txt: byte 9"),
        ("a.jsonl", b'{"text": "good"}\n{"text": "b\xffd"}\n', "a.jsonl, line 2: byte 28"),
        ("a.csv", b"text\ngood\nb\xffd\n", "a.csv, line 3: byte 11"),
        ("a.tsv", b"text\ngood\nb\xffd\n", "a.tsv, line 3: byte 11"),
    ],
)
def test_invalid_utf8(tmp_path, name, data, place):
    path = tmp_path / name
    options = {"documents": "line"} if name == "a.txt" else {}
    for compression, compress in COMPRESS.items():
        packed = path.with_name(name + compression)
        place_there = place.replace(name, name + compression)
        with pytest.raises(DataError, match=rf"{place_there} is not valid UTF-8 \(found ff .*--errors replace"):
            read(packed, compress(data), **options)
    report = ReadReport()
    assert read(path, data, errors="skip", report=report, **options) == [b"good"]
    assert (report.skipped, report.replaced) == (1, 0)
    report = ReadReport()
    assert read(path, errors="replace", report=report, **options) == [b"good", "b\ufffdd".encode()]
    assert (report.skipped, report.replaced) == (0, 1)
    assert report.files[str(path)].documents == 2


def test_invalid_utf8_in_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet([b"good", b"b\xffd"], pa.binary()))
    with pytest.raises(DataError, match=r"a.parquet, row 2: byte 1 is not valid UTF-8"):
        read(path)
    assert read(path, errors="skip") == [b"good"]


def test_half_a_surrogate_pair_in_json(tmp_path):
    path = tmp_path / "a.jsonl"
    with pytest.raises(DataError, match=r"a.jsonl, line 1, field 'text': byte 1 is not valid UTF-8"):
        read(path, b'{"text": "a\\ud83d"}\n{"text": "\\ud83d\\ude00"}')
    assert read(path, errors="skip") == ["😀".encode()]
    assert read(path, errors="replace")[0].startswith("a\ufffd".encode())


@pytest.mark.parametrize("block", [5, 1000, 1 << 20])
def test_a_character_across_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr("textmill.corpus.streams.BLOCK", block)
    text = "aé日😀" * 50 + "\n"
    assert read(tmp_path / "a.txt", text.encode() * 3) == [text.encode() * 3]
    assert read(tmp_path / "a.jsonl", jsonl([text])) == [text.encode()]
    assert read(tmp_path / "a.csv", table([text])) == [text.encode()]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', "line 2 is not JSON: "),
        (b"[" * 100_000, "line 2 is not JSON: "),
        (b"\0{\0}", "line 2 is not JSON: "),
        (b'{"text": ' + b"1" * 5000 + b"}", "line 2 is not JSON: "),
        (b'["a"]', 'line 2 must be an object, got list. Fix: write {"text"'),
        (
            b'{"body": "a", "id": 3}',
            "line 2 has no field 'text', only 'body', 'id'. Fix: name the text's field",
        ),
        (b'{"text": 5}', "line 2: field 'text' must be text, got int"),
    ],
)
def test_malformed_rows_are_named(tmp_path, line, message):
    with pytest.raises(DataError) as error:
        read(tmp_path / "a.jsonl", b'{"text": "ok"}\n' + line + b"\n")
    assert message in str(error.value)


def test_null_is_empty_text(tmp_path):
    report = ReadReport()
    assert read(tmp_path / "a.jsonl", b'{"text": null}\n{"text": "a"}', report=report) == [b"a"]
    assert read(tmp_path / "a.parquet", parquet([None, "a"])) == [b"a"]
    assert report.empty == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,body\n1,a\n", "line 1: the header has no column 'text', only 'id', 'body'. Fix: name the text's column"),
        (b"id,text\n1,a\n2\n", "line 3 has 1 fields, the text is field 2"),
        (b'id,text\n1,a\n2,"open\nand more\n', "is not csv: unexpected end of data. Fix: mend its quotation marks"),
    ],
)
def test_malformed_tables(tmp_path, data, message):
    with pytest.raises(DataError) as error:
        read(tmp_path / "a.csv", data)
    assert message in str(error.value)


def test_a_skipped_row_does_not_lead_the_quotation_marks_astray(tmp_path):
    data = b'text\n"bad \xff\nstill bad"\ngood\n'
    report = ReadReport()
    assert read(tmp_path / "a.csv", data, errors="skip", report=report) == [b"good"]
    assert report.skipped == 1


def test_several_inputs_in_order_with_a_report_for_each(tmp_path):
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a.jsonl").write_text('{"text": "first"}')
    report = ReadReport()
    assert list(read_documents([tmp_path], report=report)) == [b"first", b"second"]
    assert [counts.documents for counts in report.files.values()] == [1, 1]
    assert list(read_documents([source_of(tmp_path / "b.txt")])) == [b"second"]


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"from a pipe"))))
    assert list(read_documents(["-"])) == [b"from a pipe"]


def test_mistakes_show_before_the_first_document(tmp_path):
    with pytest.raises(DataError, match=r"does not exist"):
        read_documents([tmp_path / "missing.txt"])
    with pytest.raises(ConfigError, match=r"errors must be strict, replace or skip, got 'ignore'"):
        read_documents(["-"], errors="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"documents must be auto"):
        read_documents(["-"], documents="page")  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet", ".txt.gz", ".jsonl.zst"])
def test_memory_is_bounded(tmp_path, suffix):
    texts = [f"{number} " * 1000 for number in range(2000)]  # about 10 MB
    inner, _, compression = suffix[1:].partition(".")
    data = "\n".join(texts).encode() if inner == "txt" else WRITE["." + inner](texts)
    (tmp_path / f"a{suffix}").write_bytes(COMPRESS["." + compression if compression else ""](data))
    del data
    tracemalloc.start()
    assert sum(1 for _ in read_documents([tmp_path / f"a{suffix}"])) >= 100
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "field", "rows"),
    [
        ("ag-news/train_20k.csv.xz", "description", 20_000),
        ("ag-news/test.csv.xz", "3", 7_600),
        ("chnsenticorp/train.tsv.xz", "text_a", 9_600),
        ("sst2/train.tsv", "1", 6_920),
        ("20news-4cat/train.jsonl.xz", "text", 2_257),
        ("imdb-slice/train_2000.jsonl.xz", "text", 2_000),
    ],
)
def test_real_tables_give_as_many_documents_as_their_makers_say(shared_data, name, field, rows):
    assert sum(1 for _ in read_documents([shared_data / name], field=field)) == rows


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["norvig-big/big.txt.xz", "peoples-daily-199801/199801.txt.xz", "text8-prefix/text8.head.xz"]
)
def test_real_text_comes_back_whole(shared_data, name):
    documents = list(read_documents([shared_data / name]))
    assert b"".join(documents) == lzma.decompress((shared_data / name).read_bytes())
    assert max(map(len, documents)) <= 65_536
