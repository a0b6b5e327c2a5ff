import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textmill.corpus.inputs import source_of
from textmill.corpus.parquet import parquet_rows
from textmill.errors import DataError, FormatError

TEXTS = ["one", None, "日本"]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_kind_of_text_column(tmp_path, kind):
    values = [text.encode() if text and kind == pa.binary() else text for text in TEXTS]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(values).cast(kind)}), path)
    rows = list(parquet_rows(source_of(path), "text"))
    assert rows == [(1, 1 / 3, b"one"), (2, 2 / 3, b""), (3, 1.0, "日本".encode())]


def test_wrong_columns(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1], "body": ["x"]}), path)
    with pytest.raises(DataError, match=r"has no column 'text', only 'id', 'body'. Fix: name the text's column"):
        list(parquet_rows(source_of(path), "text"))
    with pytest.raises(DataError, match=r"column 'id' must be text, got int64"):
        list(parquet_rows(source_of(path), "id"))


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_cut_short_or_no_parquet_at_all(tmp_path, keep):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 1000] * 100}), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match=r"a.parquet is not a sound parquet file: .*Fix: write or copy it again"):
        list(parquet_rows(source_of(path), "text"))
