import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from textmill import files
from textmill.errors import FormatError, OutputError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.json"
    files.write_json(path, {"a": 1})
    files.write_json(path, {"a": "ü"})
    assert files.read_json(path) == {"a": "ü"}
    assert names(path.parent) == ["x.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    files.write_text(path, "old")

    def fail() -> None:
        with files.replacing(path) as file:
            file.write(b"new")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in ("one", "two"):
        with files.replacing_folder(target) as folder:
            (folder / content).write_text(content)
    assert names(target) == ["two"]
    assert names(tmp_path) == ["model"]

    def fail() -> None:
        with files.replacing_folder(target) as folder:
            (folder / "three").write_text("three")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert names(target) == ["two"]
    assert names(tmp_path) == ["model"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    files.write_text(path, "old")
    program = (
        "import sys, time\nfrom textmill import files\n"
        f"with files.replacing({str(path)!r}) as file:\n"
        "    file.write(b'new' * 100000); file.flush(); print('writing', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    files.remove_partials(tmp_path)
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full. Fix: free some space"),
        (errno.EROFS, "the file system is read-only. Fix: choose an output folder that can be written"),
        (errno.EACCES, "permission denied. Fix: choose an output folder that you may write to"),
    ],
)
def test_write_errors_say_what_to_do(code: int, message: str) -> None:
    with pytest.raises(OutputError) as caught, files.clear_errors("out"):
        raise OSError(code, os.strerror(code))
    assert f"cannot write out: {message}" in str(caught.value)


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a part of the path is a file"):
        files.write_text(tmp_path / "file" / "x", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "is not JSON"), (b'"\xff"', "is not UTF-8 at byte 1"), (b"[" * 200_000, "is nested too deep")],
)
def test_damaged_json_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        files.read_json(path)


def test_missing_and_oversized_json(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(FormatError, match="is a folder"):
        files.read_json(tmp_path)
    (tmp_path / "x.json").write_text(json.dumps("x" * 100))
    with pytest.raises(FormatError, match="more than the 10"):
        files.read_json(tmp_path / "x.json", most_bytes=10)


def test_an_output_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert files.claim_output(out, marker="run.json") == out
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(
        OutputError, match=r"already holds something else \(thesis.tex\). Fix: choose another -o, or add --force"
    ):
        files.claim_output(out, marker="run.json")
    files.claim_output(out, marker="run.json", force=True)
    (out / "run.json").write_text("{}")
    files.claim_output(out, marker="run.json")
    with pytest.raises(OutputError, match="is a file, expected a folder"):
        files.claim_output(out / "run.json", marker="run.json")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_modification_time_moves_on_replacement(tmp_path: Path) -> None:
    files.write_text(tmp_path / "x", "1")
    first = (tmp_path / "x").stat().st_mtime_ns
    time.sleep(0.02)
    files.write_text(tmp_path / "x", "2")
    assert (tmp_path / "x").stat().st_mtime_ns > first
