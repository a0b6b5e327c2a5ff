"""Each command does what it says, on a small text: what it prints and writes is checked for substance."""

import io
import json
import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from textmill.cli import main
from textmill.corpus import read_documents
from textmill.tokenizers import Tokenizer

Capture = pytest.CaptureFixture[str]


def printed(capsys: Capture, *words: object) -> tuple[str, str]:
    """(stdout, stderr) of a command that must succeed."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return shown.out, shown.err


def typed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Puts the bytes on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# --- run


def test_run(finished: Path, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "report" / "report.html").unlink()
    out, told = printed(capsys, "run", "quickstart", *tiny, "-o", folder)
    assert "5/6 let it write (kept from before)" in told
    assert "6/6 write the report\n" in told
    assert "bits per byte" in out
    assert f"textmill generate {folder / 'model'}" in out.replace("\n", "")


def test_run_quietly_and_as_json(finished: Path, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    out, told = printed(capsys, "run", "quickstart", *tiny, "--quiet", "--json", "-o", tmp_path / "run")
    assert told == ""
    result = json.loads(out)
    assert result["folder"] == str(tmp_path / "run")
    facts = result["stages"]
    assert list(facts) == ["tokenizer", "shards", "pretrain", "evaluate", "write", "report"]
    assert facts["tokenizer"]["vocab_size"] == 300
    assert 0 < facts["evaluate"]["bits_per_byte"] < 9
    assert facts["pretrain"]["steps"] == 6
    assert (tmp_path / "run" / facts["report"]["page"]).is_file()


def test_run_lists_its_settings(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out, told = printed(capsys, "run", "quickstart", "--list", "--set", "training.steps=7")
    assert told == ""
    assert json.loads(out)["training"]["steps"] == 7
    assert list(tmp_path.iterdir()) == []


# --- corpus


def test_corpus_stats(text: Path, capsys: Capture) -> None:
    words = ("corpus", "stats", text, "--documents", "paragraph")
    out, told = printed(capsys, *words, "--json")
    stats = json.loads(out)
    assert stats["documents"] == 100
    assert stats["words"] == 4000
    documents = list(read_documents([text], documents="paragraph"))
    assert stats["bytes"] == sum(map(len, documents))
    assert stats["characters"] == sum(len(document.decode()) for document in documents)
    assert "100" in told
    table, _ = printed(capsys, *words)
    assert "documents" in table
    assert "4,000" in table
    assert printed(capsys, *words, "--quiet")[1] == ""


def test_corpus_stats_of_stdin(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, b"one two\n\nthree\n")
    out, _ = printed(capsys, "corpus", "stats", "-", "--documents", "paragraph", "--json")
    assert (json.loads(out)["documents"], json.loads(out)["words"]) == (2, 3)


# --- tokenizer


def test_tokenizer_train(text: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ("tokenizer", "train", text, "--vocab-size", 290, "--split", "cl100k", "-o", tmp_path / "tok")
    out, told = printed(capsys, *words, "--json")
    assert json.loads(out) == {"folder": str(tmp_path / "tok"), "vocab_size": 290}
    assert "290 tokens" in told
    tokenizer = Tokenizer.load(tmp_path / "tok")
    assert tokenizer.vocab_size == 290
    whole = text.read_text()
    assert tokenizer.decode(tokenizer.encode(whole)) == whole
    assert printed(capsys, *words, "--quiet") == ("", "")


def test_encode_and_decode_give_the_text_back(
    finished: Path, text: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished / "tokenizer"
    ids, _ = printed(capsys, "tokenizer", "encode", folder, text)
    lines = text.read_text().split("\n")
    assert [list(map(int, line.split())) for line in ids.splitlines()] == Tokenizer.load(folder).encode_batch(lines)
    (tmp_path / "ids").write_text(ids)
    assert printed(capsys, "tokenizer", "decode", folder, tmp_path / "ids")[0] == text.read_text() + "\n"
    typed(monkeypatch, "über 猫\n<|endoftext|>\n".encode())
    ids, _ = printed(capsys, "tokenizer", "encode", folder)
    typed(monkeypatch, ids.encode())
    assert printed(capsys, "tokenizer", "decode", folder, "-")[0] == "über 猫\n<|endoftext|>\n"


def test_special_tokens_only_on_request(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text").write_text("<|endoftext|>")
    words = ("tokenizer", "encode", finished / "tokenizer", tmp_path / "text")
    end = Tokenizer.load(finished / "tokenizer").end_of_text_id
    assert printed(capsys, *words, "--special")[0] == f"{end}\n"
    assert str(end) not in printed(capsys, *words)[0].split()


# --- pretrain


@pytest.mark.parametrize(
    ("options", "model_type"),
    [
        (["gpt"], "gpt2"),
        (["gpt", "--form", "gpt1", "--set", "training.optimizer=adamw"], "openai-gpt"),
        (["llama", "--kv-heads", "1"], "qwen3"),
    ],
)
def test_pretrain(
    options: list[str], model_type: str, text: Path, finished: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = [
        "pretrain", options[0], text, "--documents", "paragraph", *options[1:], "--tokenizer", finished / "tokenizer",
        "--layers", 1, "--width", 16, "--heads", 2, "--context", 32, "--batch-size", 2, "--steps", 3,
        "-o", tmp_path / "run", "--json", "--quiet",
    ]  # fmt: skip
    out, told = printed(capsys, *words)
    assert told == ""
    result = json.loads(out)
    assert result["folder"] == str(tmp_path / "run" / "model")
    assert result["steps"] == 3
    assert result["tokens"] == 3 * 2 * 32
    assert 0 < result["loss"] < 2 * math.log(300)
    assert 0 < result["held_out"]["bits_per_byte"] < 9
    facts = shown(capsys, tmp_path / "run" / "model")
    assert facts["parameters"] == result["parameters"]
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["model_type"] == model_type


def test_pretrain_trains_its_own_tokenizer(text: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ["pretrain", "gpt", text, "--vocab-size", 280, "--layers", 1, "--width", 16, "--heads", 2, "--context", 16]
    out, told = printed(capsys, *words, "--batch-size", 2, "--steps", 2, "--validation", 0.2, "-o", tmp_path)
    assert out == ""
    assert "280 tokens" in told
    assert f"the model is in {tmp_path / 'model'}" in told
    assert Tokenizer.load(tmp_path / "model").vocab_size == 280


# --- on a model folder


def shown(capsys: Capture, folder: Path) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = json.loads(printed(capsys, "show", folder, "--json")[0])
    return facts


def test_evaluate(finished: Path, text: Path, tmp_path: Path, capsys: Capture) -> None:
    short = tmp_path / "short.txt"
    short.write_text("\n\n".join(text.read_text().split("\n\n")[:10]))
    words = ("evaluate", finished / "model", short, "--documents", "paragraph")
    out, told = printed(capsys, *words, "--json")
    measured = json.loads(out)
    assert measured["bytes"] == sum(map(len, read_documents([short], documents="paragraph")))
    assert measured["tokens"] > 100
    # nats per token times tokens are bits per byte times bytes
    nats = measured["bits_per_byte"] * measured["bytes"] * math.log(2)
    assert measured["loss"] == pytest.approx(nats / measured["tokens"], rel=0.02)
    assert measured["perplexity"] == pytest.approx(math.exp(measured["loss"]), rel=0.02)
    assert "10 documents" in told
    table, told = printed(capsys, *words, "--quiet", "--batch-size", 5)
    assert f"{measured['bits_per_byte']:.3f}" in table
    assert told == ""


def test_generate_streams(finished: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(sys.stdout, "flush", lambda: flushed.append(""))
    words = ("generate", finished / "model", "the list", "--max-tokens", 12, "--seed", 3)
    out, told = printed(capsys, *words)
    assert out.startswith("the list")
    assert out.endswith("\n")
    assert told == ""
    assert len(flushed) > 4
    assert printed(capsys, *words)[0] == out
    assert printed(capsys, *words[:-1], 4)[0] != out


def test_generate_as_json_and_for_many_prompts(
    finished: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("generate", finished / "model")
    options = ("--max-tokens", 6, "--temperature", 0, "--json")
    single = [json.loads(printed(capsys, *words, prompt, *options)[0]) for prompt in ("the list", "猫")]
    typed(monkeypatch, "the list\n猫\n".encode())
    out, _ = printed(capsys, *words, "-", *options)
    assert [json.loads(line) for line in out.splitlines()] == single
    typed(monkeypatch, b"the list\n")
    assert printed(capsys, *words, "-", *options[:-1])[0] == single[0]["prompt"] + single[0]["text"] + "\n"
    typed(monkeypatch, b"")
    assert printed(capsys, *words, "-", *options)[0] == ""


def test_generate_stops(finished: Path, capsys: Capture) -> None:
    words = ("generate", finished / "model", "the list", "--max-tokens", 30, "--json")
    whole = json.loads(printed(capsys, *words)[0])["text"]
    stop = whole[3:5]
    assert json.loads(printed(capsys, *words, "--stop", "never", "--stop", stop)[0])["text"] == whole.split(stop)[0]


def test_generate_in_bf16_where_it_is_asked_for(finished: Path, capsys: Capture) -> None:
    from textmill.training.precision import has_fast_bf16

    words = ["generate", str(finished / "model"), "the", "--max-tokens", "3", "--precision", "bf16"]
    import torch

    status = main(words)
    if has_fast_bf16(torch.device("cpu")) or torch.cuda.is_available():
        assert status == 0
    else:
        assert "precision=bf16 needs hardware that multiplies it" in capsys.readouterr().err


def test_show(finished: Path, capsys: Capture) -> None:
    facts = shown(capsys, finished / "model")
    assert facts["architecture"] == "Qwen3ForCausalLM"
    assert facts["settings"]["width"] == 16
    assert facts["run"]["task"] == "pretrain"
    assert "weights" not in facts
    out, _ = printed(capsys, "show", finished / "model", "--weights")
    assert f"{facts['parameters']:,}" in out
    weights = json.loads(printed(capsys, "show", finished / "model", "--weights", "--json")[0])["weights"]
    sizes = [math.prod(map(int, shape.split(" x "))) for shape in weights.values()]
    assert sum(sizes) == facts["parameters"]
