"""One recipe an architecture: equal budgets, nearly equal sizes, and each runs from text to a measured model."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from textmill.cli import main
from textmill.folder import load
from textmill.recipes import RECIPES
from textmill.recipes.architectures import ARCHITECTURES, EVALUATION, STEPS, TOKENS_PER_STEP, VOCABULARY, LanguageModel

WORDS = "the a list of items returns value when function module object string number file path error raises"
FEWER_WEIGHTS = {"nnlm": ["model.width=8", "model.hidden_width=8"], "mixtral": ["model.feed_forward_width=8"]}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(3)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    made = [[" ".join(chance.choices(WORDS.split(), k=8)).capitalize() + "." for _ in range(6)] for _ in range(80)]
    path.write_text("\n\n".join(" ".join(paragraph) for paragraph in made))
    return path


def tiny(name: str, text: Path) -> list[str]:
    """The options that make the recipe one of seconds."""
    settings = [
        *(f"corpus={text}", "documents=paragraph", "tokenizer.vocab_size=290", "training.context_length=16"),
        *("training.batch_size=4", "training.steps=4", "training.evaluate_every=2"),
        *FEWER_WEIGHTS.get(name, ["model.width=16"]),
    ]
    if hasattr(ARCHITECTURES[name]().model, "num_heads"):
        settings += ["model.width=16", "model.num_heads=2"]
    return [word for setting in dict.fromkeys(settings) for word in ("--set", setting)]


def new_model(name: str) -> Any:
    """The recipe's model, without memory for its weights."""
    import dataclasses

    import torch

    from textmill.tasks.pretrain import new_model

    settings: Any = ARCHITECTURES[name]()
    with torch.device("meta"):
        return new_model(dataclasses.replace(settings.model, vocab_size=VOCABULARY), 0, settings.initialisation)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_recipe_runs(name: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", name, *tiny(name, text), "--quiet", "-o", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    model = load(tmp_path / "run" / "model")
    curve = [
        line
        for line in map(json.loads, (tmp_path / "run" / "training" / "metrics.jsonl").read_text().splitlines())
        if line["kind"] == "evaluation"
    ]
    assert [line["step"] for line in curve] == [2, 4]
    if issubclass(ARCHITECTURES[name], LanguageModel):
        measured = json.loads((tmp_path / "run" / EVALUATION).read_text())["model"]
        assert f"{measured['bits_per_byte']:.3f} bits per byte" in shown
        assert not model.model.is_encoder
    else:
        assert "accuracy" in shown
        assert model.model.is_encoder


@pytest.mark.parametrize("name", ["gru", "transformer-xl", "sparse-llama", "bert"])
def test_the_same_weights_twice(name: str, text: Path, tmp_path: Path) -> None:
    for number in range(2):
        assert main(["run", name, *tiny(name, text), "--quiet", "-o", str(tmp_path / str(number))]) == 0
    first, second = ((tmp_path / str(number) / "model" / "model.safetensors").read_bytes() for number in range(2))
    assert first == second


def test_budgets_are_equal_and_sizes_nearly() -> None:
    settings: dict[str, Any] = {name: made() for name, made in ARCHITECTURES.items()}
    whole = {name: each.training.steps * each.training.tokens_per_step for name, each in settings.items()}
    # BERT's pairs don't fill their rows
    assert {tokens for name, tokens in whole.items() if name != "bert"} == {STEPS * TOKENS_PER_STEP}
    assert {each.tokenizer.vocab_size for each in settings.values()} == {VOCABULARY}
    sizes = {name: new_model(name).num_parameters() for name in ARCHITECTURES if name != "mixtral"}
    assert max(sizes.values()) < 1.15 * min(sizes.values()), sizes


def test_each_recipe_is_listed_and_tells_its_paper() -> None:
    assert ARCHITECTURES.keys() < RECIPES.keys()
    for made in ARCHITECTURES.values():
        assert re.search(r"Paper: .*\d{4}", made.__doc__ or "")
        assert re.search(r"Expected: \d", made.__doc__ or "")


def test_language_models_need_held_out_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "lstm", "--set", "shards.validation_fraction=0"]) == 2
    assert "the recipe measures on held-out text" in capsys.readouterr().err


def test_a_sparse_folder_is_our_own(text: Path, tmp_path: Path) -> None:
    assert main(["run", "sparse-llama", *tiny("sparse-llama", text), "--quiet", "-o", str(tmp_path)]) == 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["model_type"] == "textmill-llama"
    assert config["attention"]["kind"] == "fixed"
    assert load(tmp_path / "model").config.attention.stride == 32
