"""The page of all architectures: its tables and its picture are those of the kept figures."""

import doctest
from pathlib import Path
from typing import Any

import pytest
from docs import architectures
from matplotlib.figure import Figure

from textmill.files import read_json
from textmill.recipes.architectures import ARCHITECTURES

COMMON: dict[str, Any] = {
    "tokens": 1000, "steps": 10, "threads": 2, "precision": "bf16", "optimizer": "muon", "python": "3.11.1",
    "text_bytes": 2_000_000, "held_out_bytes": 100_000,
}  # fmt: skip
LSTM = {"parameters": 3_430_000, "cpu_seconds": 90.0, "bits_per_byte": 1.875, "perplexity": 99.5}
LLAMA = {"parameters": 3_340_000, "cpu_seconds": 60.0, "bits_per_byte": 1.75, "perplexity": 80.0}
BERT = {"parameters": 3_500_000, "cpu_seconds": 60.0, "masked_loss": 5.5, "masked_accuracy": 0.25}
FIGURES: dict[str, Any] = {
    "lstm": {**COMMON, **LSTM, "curve": [[500, 2.5], [1000, 2.0]]},
    "llama": {**COMMON, **LLAMA, "curve": [[500, 2.25], [1000, 1.8]], "baselines": {"gzip": 2.75}},
    "bert": {**COMMON, **BERT, "pair_accuracy": 0.75, "curve": [[450, 0.125], [900, 0.25]]},
}


def test_every_recipe_is_shown() -> None:
    assert architectures.SHOWN.keys() == ARCHITECTURES.keys()
    for shown in architectures.SHOWN.values():
        assert (architectures.METHODS / f"{shown.page}.md").is_file()


def test_tables_hold_the_figures_best_first() -> None:
    page = "a <!-- recipes: language-models --> old <!-- /recipes --> b"
    rows = architectures.filled(page, FIGURES).splitlines()
    [llama, lstm] = [row for row in rows if row.startswith("| [")]
    assert llama.startswith("| [Llama")
    assert llama.endswith("| 3.34 M | muon | 1.0 | 1.750 | 80.0 |")
    assert "1.5 | 1.875" in lstm
    assert not any("old" in row or "BERT" in row for row in rows)
    encoders = architectures.filled("<!-- recipes: encoders --> <!-- /recipes -->", FIGURES)
    assert "5.500 | 25.0% | 75.0% |" in encoders
    assert "| gzip | 2.750 |" in architectures.filled("<!-- recipes: baselines --><!-- /recipes -->", FIGURES)
    assert "2.00 MB to learn from, 100 KB held out" in architectures.budget(FIGURES)


def test_writing_again_changes_nothing() -> None:
    page = architectures.filled("<!-- recipes: lstm bert -->x<!-- /recipes -->", FIGURES)
    assert "1.875 bits per byte" in page
    assert "25.0% of the masked tokens right, 75.0% of the pairs" in page
    assert architectures.filled(page, FIGURES) == page
    assert doctest.testmod(architectures).failed == 0


def test_the_page_is_fresh() -> None:
    figures = read_json(architectures.FIGURES)
    assert figures.keys() == ARCHITECTURES.keys()
    for page in architectures.METHODS.glob("*.md"):
        kept = page.read_text(encoding="utf-8")
        assert architectures.filled(kept, figures) == kept, f"{page.name} is stale: run python -m docs.architectures"


def test_recipes_say_what_they_reach() -> None:
    source = architectures.RECIPES_SOURCE.read_text(encoding="utf-8")
    assert architectures.with_expectations(source, read_json(architectures.FIGURES)) == source
    changed = architectures.with_expectations(source, {**FIGURES})
    assert "Expected: 1.88 bits per byte." in changed
    assert "Expected: 25 % of the masked tokens right, masked loss 5.5 nats." in changed


def test_the_picture_labels_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = architectures.draw(FIGURES)
    assert isinstance(figure, Figure)
    words = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    for label in ("LSTM 2.00", "Llama 1.80", "BERT 25 %"):
        assert label in words
    drawn: list[Path] = []
    source = tmp_path / "recipes.py"
    source.write_text(architectures.RECIPES_SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(architectures, "METHODS", tmp_path)
    monkeypatch.setattr(architectures, "RECIPES_SOURCE", source)
    monkeypatch.setattr(architectures, "write_png", lambda _, path: drawn.append(path))
    architectures.write(FIGURES)
    assert drawn == [architectures.IMAGE]
