"""A text, and a whole run on it, that the tests of the commands share."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from textmill.cli import main

WORDS = """
the a list of items returns value when function module object string number file path error raises if not found and or
key index naïve 猫 über
"""

TINY = (
    "tokenizer.vocab_size=300",
    "model.width=16",
    "model.num_layers=1",
    "model.num_heads=2",
    "model.context_length=32",
    "training.context_length=32",
    "training.batch_size=2",
    "training.steps=6",
    "sample_tokens=8",
)


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 paragraphs of 40 words, 22 KB."""
    random.seed(1)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(" ".join(random.choices(WORDS.split(), k=40)) for _ in range(100)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny(text: Path) -> list[str]:
    """The options that make a quickstart of seconds."""
    settings = (f"corpus={text}", "documents=paragraph", *TINY)
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="session")
def finished(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run's folder; tests that change something change a copy."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(["run", "quickstart", "-o", str(folder), "--quiet", *tiny]) == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
    yield folder
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
