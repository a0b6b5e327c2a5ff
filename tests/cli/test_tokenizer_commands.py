"""`textmill tokenizer train`, `count`, `convert` and `encode` with every algorithm."""

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers

from textmill.cli import main
from textmill.tokenizers import Tokenizer

Capture = pytest.CaptureFixture[str]
ALGORITHMS: dict[str, tuple[str, ...]] = {
    "bpe": (),
    "characters": ("--level", "characters"),
    "end_of_word": ("--end-of-word", "</w>"),
    "wordpiece": ("--algorithm", "wordpiece"),
    "unigram": ("--algorithm", "unigram", "--character-coverage", "1"),
    "words": ("--algorithm", "words"),
    "chars": ("--algorithm", "chars"),
}
SIZES = {"bpe": 290, "characters": 330, "end_of_word": 80, "wordpiece": 80, "unigram": 45, "words": 20, "chars": 20}


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def folders(text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("algorithms")
    for name, options in ALGORITHMS.items():
        size = SIZES[name]
        assert run("tokenizer", "train", text, *options, "--vocab-size", size, "-o", root / name, "--quiet") == 0
    return {name: root / name for name in ALGORITHMS}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_train_writes_a_folder_that_opens(folders: dict[str, Path], name: str) -> None:
    ours = Tokenizer.load(folders[name])
    assert ours.vocab_size == SIZES[name]
    theirs = tokenizers.Tokenizer.from_file(str(folders[name] / "tokenizer.json"))
    line = "the list of items returns a value"
    assert theirs.encode(line, add_special_tokens=False).ids == ours.encode(line)


def test_counts_of_two_parts_train_the_same(
    text: Path, folders: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    whole = text.read_text()
    middle = whole.index("\n\n", len(whole) // 2) + 2
    for name, part in (("one", whole[:middle]), ("two", whole[middle:])):
        (tmp_path / name).write_text(part)
        assert run("tokenizer", "count", tmp_path / name, "-o", tmp_path / f"{name}.counts", "--json") == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["file"] == str(tmp_path / "two.counts")
    counts = (tmp_path / "one.counts", tmp_path / "two.counts")
    assert run("tokenizer", "train", "--counts", *counts, "--vocab-size", 290, "-o", tmp_path / "tok") == 0
    assert Tokenizer.load(tmp_path / "tok").fingerprint() == Tokenizer.load(folders["bpe"]).fingerprint()


def test_counts_take_the_place_of_text(text: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run("tokenizer", "count", text, "-o", tmp_path / "c", "--quiet") == 0
    assert run("tokenizer", "train", text, "--counts", tmp_path / "c", "-o", tmp_path / "tok") == 2
    assert f"--counts takes the place of text, got {text} as well" in "".join(capsys.readouterr().err.splitlines())
    assert not (tmp_path / "tok").exists()


@pytest.mark.parametrize("memory", ["0", "-1", "nan", "inf", "0.001"])
def test_too_little_memory_to_count_in(text: Path, tmp_path: Path, memory: str, capsys: Capture) -> None:
    assert run("tokenizer", "count", text, f"--memory={memory}", "-o", tmp_path / "c") == 2
    assert f"--memory must be at least 0.004 gigabytes, got {memory}" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_counts_of_other_settings_are_refused(text: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run("tokenizer", "count", text, "--split", "cl100k", "-o", tmp_path / "c", "--quiet") == 0
    assert run("tokenizer", "train", "--counts", tmp_path / "c", "-o", tmp_path / "tok") == 2
    assert "was counted with other settings" in capsys.readouterr().err
    assert run("tokenizer", "train", "--counts", text, "-o", tmp_path / "tok") == 2
    assert "is no whole file of counts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("bpe", "t.tiktoken"),
        ("bpe", "vocab.json"),
        ("bpe", "again.json"),
        ("characters", "t.model"),
        ("unigram", "t.model"),
        ("wordpiece", "vocab.txt"),
        ("words", "folder"),
    ],
)
def test_convert_checks_the_ids(
    folders: dict[str, Path], name: str, file: str, text: Path, tmp_path: Path, capsys: Capture
) -> None:
    split = ("--split", "gpt2") if file == "t.tiktoken" else ()
    assert run("tokenizer", "convert", folders[name], tmp_path / file, "--on", text, "--json") == 0
    assert json.loads(capsys.readouterr().out)["texts_checked"] > 2000
    assert run("tokenizer", "convert", tmp_path / file, tmp_path / "back", *split, "--quiet") == 0
    line = "über the list naïve 猫"
    assert Tokenizer.load(tmp_path / "back").encode(line) == Tokenizer.load(folders[name]).encode(line)


def test_sentencepiece_opens_a_converted_model(folders: dict[str, Path], tmp_path: Path) -> None:
    assert run("tokenizer", "convert", folders["unigram"], tmp_path / "m.model", "--quiet") == 0
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    line = "the list  of items"
    assert theirs.encode(line) == Tokenizer.load(folders["unigram"]).encode(line)


@pytest.mark.parametrize(("name", "file"), [("unigram", "t.tiktoken"), ("bpe", "t.model"), ("words", "vocab.txt")])
def test_what_a_format_cannot_hold(
    folders: dict[str, Path], name: str, file: str, tmp_path: Path, capsys: Capture
) -> None:
    assert run("tokenizer", "convert", folders[name], tmp_path / file) == 2
    assert "Fix: write a tokenizer.json" in capsys.readouterr().err
    assert not (tmp_path / file).exists()


def encoded(capsys: Capture, *words: object) -> list[str]:
    capsys.readouterr()
    assert run("tokenizer", "encode", *words) == 0
    return capsys.readouterr().out.splitlines()


def test_encode_in_other_ways(folders: dict[str, Path], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "lines").write_text("the list of items\nnot found\n")
    plain = encoded(capsys, folders["wordpiece"], tmp_path / "lines")
    whole = encoded(capsys, folders["wordpiece"], tmp_path / "lines", "--template")
    ids: dict[str, Any] = Tokenizer.load(folders["wordpiece"]).special_tokens
    assert whole == [f"{ids['[CLS]']} {line} {ids['[SEP]']}" for line in plain]
    counts = encoded(capsys, folders["wordpiece"], tmp_path / "lines", "--count")
    assert counts == [str(len(line.split())) for line in plain]
    drawn = encoded(capsys, folders["bpe"], tmp_path / "lines", "--dropout", "0.9", "--seed", "3")
    assert drawn == encoded(capsys, folders["bpe"], tmp_path / "lines", "--dropout", "0.9", "--seed", "3")
    assert drawn != encoded(capsys, folders["bpe"], tmp_path / "lines")
    assert run("tokenizer", "encode", folders["unigram"], tmp_path / "lines", "--dropout", "0.1") == 2
    assert "needs alpha" in capsys.readouterr().err
    assert run("tokenizer", "encode", folders["bpe"], tmp_path / "lines", "--dropout", "0.1", "--template") == 2
    assert "--template does not go with --dropout" in capsys.readouterr().err
