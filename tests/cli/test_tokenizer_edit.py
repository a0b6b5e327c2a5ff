"""`textmill tokenizer extend`, `add`, `prune` and `merge`: what they write and say, and what they refuse."""

import io
import json
import sys
from pathlib import Path

import pytest

from textmill.cli import main
from textmill.folder import load, save_folder
from textmill.models import GPT, GPTConfig
from textmill.tokenizers import Tokenizer

Capture = pytest.CaptureFixture[str]
OTHER = "die Liste der Dinge, die eine Nummer liefert\n" * 5


@pytest.fixture
def tok(tmp_path: Path) -> Path:
    Tokenizer.train(["the list of items that a number returns"] * 3, vocab_size=280).save(tmp_path / "tok")
    (tmp_path / "other.txt").write_text(OTHER)
    return tmp_path / "tok"


@pytest.fixture
def model(tok: Path) -> Path:
    config = GPTConfig(vocab_size=280, context_length=16, width=16, num_layers=1, num_heads=2)
    save_folder(tok.parent / "model", model=GPT(config), tokenizer=Tokenizer.load(tok))
    return tok.parent / "model"


def done(capsys: Capture, *words: object) -> tuple[dict, str]:
    """(the JSON that a command prints, what it says on stderr)."""
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    shown = capsys.readouterr()
    return json.loads(shown.out), shown.err


def refused(capsys: Capture, *words: object) -> str:
    capsys.readouterr()
    assert main([*map(str, words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("textmill: error: ")
    assert ". Fix: " in line
    return line


def test_extend(tok: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    facts, told = done(capsys, "tokenizer", "extend", tok, tmp_path / "other.txt", "--tokens", 12, "-o", out)
    assert facts["folder"] == str(out)
    assert facts["vocab_size"] == {"before": 280, "after": 292}
    assert facts["tokens"] == {"kept": 280, "gone": 0, "new": 12}
    rates = facts["bytes_per_token"]
    assert rates["after"] > rates["before"] > 0
    assert rates["measured_bytes"] == len(OTHER)
    assert "280 -> 292 tokens (12 new, 0 gone)" in told
    tokenizer, ids = Tokenizer.load(out), json.loads((out / "ids.json").read_text())
    assert tokenizer.vocab_size == ids["vocab_size"] == 292
    assert ids["old_to_new"] == list(range(280))
    assert sorted(map(int, ids["new_pieces"])) == list(range(280, 292))


def test_text_from_stdin_is_measured_too(
    tok: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(OTHER.encode())))
    words = ("tokenizer", "prune", tok, "-", "--min-count", 1, "-o", tmp_path / "out", "--documents", "file")
    facts, _ = done(capsys, *words)
    assert facts["tokens"]["gone"] > 0
    assert facts["bytes_per_token"]["before"] == facts["bytes_per_token"]["after"] > 0


def test_prune_and_merge(tok: Path, tmp_path: Path, capsys: Capture) -> None:
    small, both = tmp_path / "small", tmp_path / "both"
    facts, _ = done(capsys, "tokenizer", "prune", tok, tmp_path / "other.txt", "--vocab-size", 270, "-o", small)
    assert facts["vocab_size"] == {"before": 280, "after": 270}
    facts, told = done(capsys, "tokenizer", "merge", small, tok, "-o", both)
    assert facts == {
        "folder": str(both),
        "vocab_size": {"before": 270, "after": 280},
        "tokens": {"kept": 270, "gone": 0, "new": 10},
    }
    assert "bytes per token" not in told
    assert set(Tokenizer.load(both).pipeline.strings) == set(Tokenizer.load(tok).pipeline.strings)
    assert len(json.loads((both / "ids.json").read_text())["other_to_new"]) == 280


def test_add(tok: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ("tokenizer", "add", tok, "--words", "photon,two words", "--after-blank", "-o", tmp_path / "out")
    done(capsys, *words)
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert [len(tokenizer.encode(word)) for word in ("photon", " photon", "two words", " two words")] == [1, 1, 1, 1]
    (tmp_path / "words.txt").write_text("photon\n\n lepton\n")
    facts, _ = done(capsys, "tokenizer", "add", tok, "--words-file", tmp_path / "words.txt", "-o", tmp_path / "file")
    tokenizer = Tokenizer.load(tmp_path / "file")
    assert [len(tokenizer.encode(word)) for word in ("photon", " lepton")] == [1, 1]
    assert facts["tokens"]["new"] == tokenizer.vocab_size - 280


def test_a_models_embeddings_follow(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    words = ("tokenizer", "extend", model, tmp_path / "other.txt", "--tokens", 12, "--multiple-of", 8, "-o", out)
    _, told = done(capsys, *words)
    assert "the model is in" in told
    made = load(out)
    assert made.config.vocab_size == 296
    assert made.tokenizer.vocab_size == 292
    assert made.model.embedding.weight.shape == (296, 16)
    facts, _ = done(
        capsys, "tokenizer", "prune", model, tmp_path / "other.txt", "--min-count", 1, "-o", tmp_path / "small"
    )
    assert load(tmp_path / "small").config.vocab_size == facts["vocab_size"]["after"] < 280


def test_quiet(tok: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["tokenizer", "add", str(tok), "--words", "photon", "-o", str(tmp_path / "out"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_what_is_refused(tok: Path, model: Path, tmp_path: Path, capsys: Capture) -> None:
    text, out = tmp_path / "other.txt", ("-o", tmp_path / "out")
    assert "the text gives" in refused(capsys, "tokenizer", "extend", tok, text, "--tokens", 9999, *out, "--quiet")
    assert "must have at least 257" in refused(capsys, "tokenizer", "prune", tok, text, "--vocab-size", 9, *out)
    assert "one of the two" in refused(capsys, "tokenizer", "prune", tok, text, *out)
    assert "one of the two" in refused(capsys, "tokenizer", "add", tok, *out)
    assert "at least one word" in refused(capsys, "tokenizer", "add", tok, "--words", ",", *out)
    Tokenizer.train(["aab"], algorithm="chars", vocab_size=9, allow_fewer=True).save(tmp_path / "chars")
    assert "these differ in the model" in refused(capsys, "tokenizer", "merge", tok, tmp_path / "chars", *out)
    assert "another folder" in refused(capsys, "tokenizer", "add", model, "--words", "photon", "-o", model)
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    told = refused(capsys, "tokenizer", "add", tok, "--words", "photon", "-o", tmp_path / "full")
    assert "already holds something else" in told
