"""The README's commands work, one after the other, on a machine that holds two small text files.

`textmill ...` lines run in this process with tiny training settings added; Python blocks run after them in the same
folder, as a reader would run them. `make run` as written takes minutes and is marked slow.
"""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from textmill.cli import main
from textmill.corpus.builtin import builtin_documents

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXT_BYTES = {"my.txt": 200_000, "other.txt": 20_000}
TINY = (
    *("training.steps=3", "training.batch_size=8", "training.context_length=64", "training.warmup_steps=1"),
    *("model.width=32", "model.num_layers=1"),
)
"""What makes a run that trains take seconds; the README's own settings are those of a real run."""
TINY_TRANSFORMER = ("model.num_heads=2", "model.context_length=64")
TINY_QUICKSTART = ("sample_tokens=8",)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """The words of each command line of the program, in order; comments are gone."""
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    return [words for words in lines if words and words[0] == program]


def inline(start: str) -> list[list[str]]:
    """The words of each command given within a sentence, in order."""
    found = re.findall(rf"(?<!`)`({start} [^`\n]+)`", README)
    return [shlex.split(command) for command in found]


def tiny(words: list[str]) -> list[str]:
    if words[1] not in ("run", "pretrain"):
        return words
    recurrent = words[1:3] == ["pretrain", "lstm"]
    settings = TINY + (() if recurrent else TINY_TRANSFORMER) + (TINY_QUICKSTART if words[1] == "run" else ())
    return [*words, *(word for setting in settings for word in ("--set", setting))]


def write_texts(folder: Path) -> None:
    documents = builtin_documents()
    for name, size in TEXT_BYTES.items():
        parts: list[bytes] = []
        while sum(map(len, parts)) < size:
            parts.append(next(documents) + b"\n\n")
        (folder / name).write_bytes(b"".join(parts))


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A reader's folder, made the current one, after all shell blocks; what each command printed."""
    folder = tmp_path_factory.mktemp("reader")
    write_texts(folder)
    printed = {}
    with contextlib.chdir(folder):
        for words in commands("textmill") + inline("textmill run"):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                assert main(tiny(words)[1:]) == 0, shlex.join(words)
            printed[shlex.join(words)] = out.getvalue()
        yield printed


def test_every_block_is_run() -> None:
    assert set(re.findall(r"^```(\S*)", README, re.MULTILINE)) == {"", "sh", "python"}
    programs = {words[0] for block in blocks("sh") for line in block.splitlines() if (words := shlex.split(line, True))}
    assert programs == {"make", "textmill"}
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts["textmill"] == "textmill.cli:main"


def test_make_targets_exist() -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    for words in commands("make") + inline("make"):
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_shell_blocks(followed: dict[str, str]) -> None:
    for line, out in followed.items():
        silent = ("train", "convert", "extend")
        assert out.strip() or any(word in line for word in silent) or line.startswith("textmill run"), (
            f"{line} says nothing"
        )
    assert Path("runs/mine/report/report.html").stat().st_size > 10_000
    assert "bits_per_byte" in followed["textmill evaluate runs/llama/model other.txt"]
    assert followed["textmill generate runs/llama/model 'Once upon a time'"].startswith("Once upon a time")


def test_a_run_made_again_from_its_record_is_the_same(followed: dict[str, str]) -> None:
    first, again = (json.loads(Path(f"runs/{name}/run.json").read_text()) for name in ("mine", "again"))
    assert again["settings"] == first["settings"]
    assert Path("runs/again/model/model.safetensors").read_bytes() == (
        Path("runs/mine/model/model.safetensors").read_bytes()
    )


def test_python_blocks(followed: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"README.md, Python block {number + 1}", "exec"), names)
        if number == 0:
            assert names["tok"].decode(names["ids"]) == "Hello, world"  # type: ignore[attr-defined]
            assert capsys.readouterr().out
    assert type(names["model"]).__name__ == "Qwen3ForCausalLM"
    assert names["tokenizer"]("Hello, world")["input_ids"] == names["ids"]  # type: ignore[operator]


@pytest.mark.slow
def test_make_run_as_written(tmp_path: Path) -> None:
    """On the machine's own text and in its own time; the folder is not the checkout's."""
    out = tmp_path / "quickstart"
    environment = f"BIN={Path(sys.executable).parent}"
    words = ["make", "-o", ".venv/installed", "run", environment, f"ARGS=-o {out}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "report" / "report.html").exists()
    assert (out / "model" / "model.safetensors").exists()
