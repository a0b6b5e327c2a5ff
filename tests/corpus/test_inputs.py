import os
from pathlib import Path

import pytest

from textmill.corpus.inputs import resolve_inputs, source_of
from textmill.errors import DataError


def names(inputs) -> list[str]:
    return [source.name for source in resolve_inputs(inputs)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a/z.jsonl.gz", "a/b/c.CSV", "a.md", "notes.bin", ".hidden.txt", ".git/x.txt", "t.tsv.xz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path


def test_a_folder_is_searched_in_sorted_order_without_hidden_and_unknown_names(folder):
    expected = ["a/b/c.CSV", "a/z.jsonl.gz", "a.md", "b.txt", "t.tsv.xz"]
    assert names([folder]) == [str(folder / name) for name in expected]


def test_formats_and_compressions(folder):
    found = [(source.format, source.compression) for source in resolve_inputs([folder])]
    assert found == [("csv", ""), ("jsonl", "gz"), ("text", ""), ("text", ""), ("tsv", "xz")]
    assert source_of(Path("x.parquet.zst")).format == "parquet"


def test_a_file_named_outright_may_have_any_suffix(folder):
    assert resolve_inputs([folder / "notes.bin"])[0].format == "text"
    assert resolve_inputs([folder / "*.bin"])[0].format == "text"


def test_globs_reach_into_subfolders_and_nothing_comes_twice(folder):
    pattern = str(folder / "**" / "*.CSV")
    assert names([pattern]) == [str(folder / "a/b/c.CSV")]
    assert names([folder / "a", pattern, folder / "a" / ".." / "a" / "z.jsonl.gz"]) == [
        str(folder / "a/b/c.CSV"),
        str(folder / "a/z.jsonl.gz"),
    ]


def test_a_name_with_glob_characters_that_exists_is_that_file(tmp_path):
    (tmp_path / "a[1].txt").write_text("x")
    assert names([tmp_path / "a[1].txt"]) == [str(tmp_path / "a[1].txt")]


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    assert names(["~/a.txt", "~/*.txt"]) == [str(tmp_path / "a.txt")]


def test_builtin_and_stdin_and_resolved_sources():
    sources = resolve_inputs(["builtin", "-", "builtin"])
    assert [source.name for source in sources] == ["builtin", "standard input"]
    assert resolve_inputs(sources) == sources
    assert sources[0].stored_size() is None


def test_a_loop_of_links_ends(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    os.symlink(tmp_path, tmp_path / "loop")
    assert names([tmp_path]) == [str(tmp_path / "a.txt")]


def test_a_pipe_is_an_input(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (source,) = resolve_inputs([tmp_path / "pipe"])
    assert source.format == "text"
    assert source.stored_size() is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no input was given. Fix: name a file"),
        (["missing.txt"], "the input missing.txt does not exist. Fix: check the path"),
        (["missing*.txt"], "no file matches missing*.txt. Fix: check the pattern"),
    ],
)
def test_nothing_to_read(given, message):
    with pytest.raises(DataError) as error:
        resolve_inputs(given)
    assert str(error.value).startswith(message)


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match=r"holds no file to read. Fix: its files must end in .txt, .*\.zst"):
        resolve_inputs([tmp_path])


@pytest.mark.parametrize("name", ["a.json", "a.zip", "a.tar.gz", "a.pdf", "a.bz2"])
def test_foreign_kinds_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"which can't be read as text. Fix: "):
        resolve_inputs([tmp_path / name])
