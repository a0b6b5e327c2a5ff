"""`tokenizer show` and `tokenizer compare`: what they print and write, and what they say of mistakes."""

import json
from pathlib import Path

import pytest

from textmill.cli import main
from textmill.cli.tokenizer_judge import names_of
from textmill.tokenizers import Tokenizer

Capture = pytest.CaptureFixture[str]
TEXT = "the list of items returns naïve values 猫 <script>alert(1)</script>\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tokenizers and a text."""
    folder = tmp_path_factory.mktemp("judge")
    (folder / "text.txt").write_text(TEXT * 20, encoding="utf-8")
    Tokenizer.train([TEXT] * 9, vocab_size=300).save(folder / "large")
    Tokenizer.train([TEXT] * 9, vocab_size=265).save(folder / "small")
    (folder / "bert").mkdir()
    (folder / "bert" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nlist\n##s\nof\n##中\n")
    return folder


def printed(capsys: Capture, *words: object) -> tuple[str, str]:
    """(stdout, stderr) of a command that must succeed."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return shown.out, shown.err


def refused(capsys: Capture, *words: object) -> str:
    """The one line that a command that must fail says."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return shown.err


def test_show_a_text(folder: Path, capsys: Capture) -> None:
    tokenizer = Tokenizer.load(folder / "large")
    words = ("tokenizer", "show", folder / "large", "the list 猫")
    tokens = json.loads(printed(capsys, *words, "--json")[0])
    assert tokens["ids"] == tokenizer.encode("the list 猫")
    assert tokens["tokens"][0] == "the"
    assert tokens["spellings"] == [tokenizer.id_to_token(id) for id in tokens["ids"]]
    assert set(tokens["kinds"]) <= {"text", "part"}
    above, below, counts, *_ = printed(capsys, *words)[0].splitlines()
    assert above.startswith("the")
    assert below.split() == [str(id) for id in tokens["ids"]]
    assert counts.startswith(f"{len(tokens['ids'])} tokens, 10 characters, 12 bytes")


def test_show_unknown_tokens(folder: Path, capsys: Capture) -> None:
    out, _ = printed(capsys, "tokenizer", "show", folder / "bert" / "vocab.txt", "the lists 猫")
    assert "⁇·猫" in out
    assert "1 unknown" in out


def test_show_what_a_tokenizer_is(folder: Path, capsys: Capture) -> None:
    said, _ = printed(capsys, "tokenizer", "show", folder / "bert" / "vocab.txt")
    assert "WordPiece" in said
    assert "[PAD] 0, [UNK] 1" in said
    assert "Template([CLS] A [SEP])" in said
    assert "1: '##中'" in said
    described = json.loads(printed(capsys, "tokenizer", "show", folder / "large", "--json")[0])
    assert (described["algorithm"], described["vocab_size"], described["unreachable"]) == ("byte-level BPE", 300, 0)


def test_show_a_tree(folder: Path, capsys: Capture) -> None:
    out, _ = printed(capsys, "tokenizer", "show", folder / "large", "--tree", " list")
    assert out.splitlines()[0].startswith("Ġlist  id ")
    (tree,) = json.loads(printed(capsys, "tokenizer", "show", folder / "large", "--tree", " list", "--json")[0])["tree"]
    assert tree["id"] == Tokenizer.load(folder / "large").token_to_id("Ġlist")
    assert len(tree["parts"]) == 2


def test_show_a_difference(folder: Path, capsys: Capture) -> None:
    words = ("tokenizer", "show", folder / "large", "the list", "--diff", folder / "small")
    above, below, *_ = printed(capsys, *words)[0].splitlines()
    assert above.removeprefix("large").replace(" ", "") == "the│·list"
    assert below.startswith("small  ")
    assert "┃" in below
    both = json.loads(printed(capsys, *words, "--json")[0])
    assert both["other"]["ids"] == Tokenizer.load(folder / "small").encode("the list")


def test_show_writes_a_page(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    page = tmp_path / "page.html"
    out, told = printed(capsys, "tokenizer", "show", folder / "large", TEXT, "--html", page)
    assert (out, told) == ("", f"wrote {page}\n")
    written = page.read_text(encoding="utf-8")
    assert "<script" not in written
    assert "&lt;script" in written or "&lt;</span>" in written


def test_compare(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ("tokenizer", "compare", folder / "large", folder / "small", folder / "bert" / "vocab.txt")
    out, told = printed(capsys, *words, "--on", folder / "text.txt", "-o", tmp_path / "out")
    assert "comparison.html" in told
    header = next(line for line in out.splitlines() if "large" in line)
    assert header.split() == ["large", "small", "bert"]
    measured = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert measured["bytes"] == (folder / "text.txt").stat().st_size
    assert [one["name"] for one in measured["tokenizers"]] == ["large", "small", "bert"]
    large, small, bert = (one["figures"] for one in measured["tokenizers"])
    assert large["num_tokens"] < small["num_tokens"]
    assert large["coverage"] > bert["coverage"]
    assert bert["unknown_rate"] > 0.5
    assert "<script" not in (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    # again into the same folder, as JSON
    again, told = printed(capsys, *words, "--on", folder / "text.txt", "-o", tmp_path / "out", "--json", "--quiet")
    assert told == ""
    assert json.loads(again)["tokenizers"][0]["figures"] == large


def test_compare_reads_as_much_as_it_is_told(folder: Path, capsys: Capture) -> None:
    words = ("tokenizer", "compare", folder / "large", "--on", folder / "text.txt", "--json", "--quiet")
    assert json.loads(printed(capsys, *words, "--megabytes", "0.0005")[0])["bytes"] == 500


def test_names() -> None:
    assert names_of([Path("tok"), Path("tok")]) == ["tok (1)", "tok (2)"]
    assert names_of([Path("a/tok"), Path("b/tok")]) == ["a/tok", "b/tok"]


def test_mistakes_are_one_line(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    large = folder / "large"
    assert "--diff needs a text to cut" in refused(capsys, "tokenizer", "show", large, "--diff", folder / "small")
    assert "--html needs a text to cut" in refused(capsys, "tokenizer", "show", large, "--html", tmp_path / "x.html")
    assert "takes no text" in refused(capsys, "tokenizer", "show", large, "x", "--tree", "the")
    assert "has no token 'qqq'" in refused(capsys, "tokenizer", "show", large, "--tree", "qqq")
    said = refused(capsys, "tokenizer", "show", folder / "bert" / "vocab.txt", "--tree", "the")
    assert "a tokenizer that does not merge" in said
    assert "holds no tokenizer" in refused(capsys, "tokenizer", "show", tmp_path, "x")
    compare = ("tokenizer", "compare", large, "--on", folder / "text.txt", "--quiet")
    assert "--alpha must be > 0, got 0.0" in refused(capsys, *compare, "--alpha", "0")
    assert "--megabytes must be > 0, got -1.0" in refused(capsys, *compare, "--megabytes", "-1")
    assert "does not exist" in refused(capsys, "tokenizer", "compare", tmp_path / "none", "--on", folder / "text.txt")
    (tmp_path / "blank.txt").write_text("\n \n")
    assert "judged on a text" in refused(
        capsys, "tokenizer", "compare", large, "--on", tmp_path / "blank.txt", "--quiet"
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    assert "already holds something else" in refused(capsys, *compare, "-o", tmp_path / "full")
    assert "there must be a tokenizer to judge" in refused(capsys, "tokenizer", "compare", "--on", folder / "text.txt")
