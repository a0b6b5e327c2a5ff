"""`textmill pretrain ARCH` for every architecture, on a small text: training, showing, writing; and what is refused."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from textmill.cli import COMMANDS, main
from textmill.recipes.architectures import ARCHITECTURES
from textmill.tokenizers import Tokenizer, TokenizerSpec

Capture = pytest.CaptureFixture[str]

WORDS = "the a list of items returns value when function module object string number file path error raises"
SMALL = ("--documents", "paragraph", "--width", 16, "--context", 16, "--batch-size", 4, "--steps", 3)
TRANSFORMER = ("--layers", 1, "--heads", 2)

LANGUAGE_MODELS: dict[str, tuple[object, ...]] = {
    "nnlm": ("--hidden", 16, "--order", 3),
    "rnn": ("--layers", 1),
    "lstm": ("--layers", 2, "--hidden", 8, "--dropout", 0.1),
    "gru": ("--layers", 1),
    "transformer-xl": TRANSFORMER,
    "gpt": TRANSFORMER,
    "llama": TRANSFORMER,
    "mixtral": (*TRANSFORMER, "--experts", 3, "--active", 2),
}
ENCODERS: dict[str, tuple[object, ...]] = {
    "bert": TRANSFORMER,
    "modern-bert": (*TRANSFORMER, "--window", 4, "--masked", 0.4),
}
MODEL_TYPES = {"gpt": "gpt2", "llama": "qwen3", "mixtral": "mixtral", "bert": "bert", "modern-bert": "modernbert"}
"""config.json's; the others are `textmill-ARCH`."""


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 paragraphs of 6 sentences of 8 words."""
    chance = random.Random(1)
    path = tmp_path_factory.mktemp("text") / "sentences.txt"
    made = [[" ".join(chance.choices(WORDS.split(), k=8)).capitalize() + "." for _ in range(6)] for _ in range(60)]
    path.write_text("\n\n".join(" ".join(paragraph) for paragraph in made))
    return path


@pytest.fixture(scope="module")
def tokenizers(sentences: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a tokenizer of each kind."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for algorithm in ("bpe", "wordpiece"):
        spec = TokenizerSpec(algorithm=algorithm, vocab_size=280, allow_fewer=True)
        Tokenizer.train([sentences.read_text()], spec).save(folder / algorithm)
    return {"bpe": folder / "bpe", "wordpiece": folder / "wordpiece"}


def printed(capsys: Capture, *words: object) -> str:
    """The standard output of a command that must succeed."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return shown.out


def refused(capsys: Capture, *words: object) -> str:
    """The one line that a command which must fail prints."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    shown = capsys.readouterr()
    [line] = [line for line in shown.err.splitlines() if line.startswith("textmill: error: ")]
    assert status == 2
    assert ". Fix: " in line
    return line


def trained(capsys: Capture, architecture: str, text: Path, tokenizer: Path, out: Path, *options: object) -> Any:
    words = ("pretrain", architecture, text, *SMALL, "--tokenizer", tokenizer, *options, "-o", out)
    result = json.loads(printed(capsys, *words, "--json", "--quiet"))
    assert result["folder"] == str(out / "model")
    assert result["steps"] == 3
    assert 0 < result["loss"] < 3 * math.log(300)
    return result


def test_every_architecture_is_tested() -> None:
    commands = {name.removeprefix("pretrain ") for name in COMMANDS if name.startswith("pretrain ")}
    assert commands == LANGUAGE_MODELS.keys() | ENCODERS.keys()
    assert commands <= ARCHITECTURES.keys()


@pytest.mark.parametrize("architecture", LANGUAGE_MODELS)
def test_language_models(
    architecture: str, sentences: Path, tokenizers: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    options = LANGUAGE_MODELS[architecture]
    result = trained(capsys, architecture, sentences, tokenizers["bpe"], tmp_path, *options)
    assert result["tokens"] == 3 * 4 * 16
    assert 0 < result["held_out"]["bits_per_byte"] < 9

    facts = json.loads(printed(capsys, "show", tmp_path / "model", "--json"))
    assert facts["parameters"] == result["parameters"]
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["model_type"] == MODEL_TYPES.get(architecture, f"textmill-{architecture}")

    written = printed(capsys, "generate", tmp_path / "model", "the list", "--max-tokens", 4, "--temperature", 0)
    assert written.startswith("the list")
    measured = json.loads(printed(capsys, "evaluate", tmp_path / "model", sentences, "--json", "--quiet"))
    assert 0 < measured["bits_per_byte"] < 9


@pytest.mark.parametrize("architecture", ENCODERS)
def test_encoders(
    architecture: str, sentences: Path, tokenizers: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    options = ENCODERS[architecture]
    result = trained(capsys, architecture, sentences, tokenizers["wordpiece"], tmp_path, *options)
    accuracies = {name for name in result["held_out"] if name.endswith("accuracy")}
    assert accuracies == ({"masked_accuracy", "pair_accuracy"} if architecture == "bert" else {"accuracy"})
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["model_type"] == MODEL_TYPES[architecture]
    assert json.loads(printed(capsys, "show", tmp_path / "model", "--json"))["parameters"] == result["parameters"]
    assert "is an encoder" in refused(capsys, "generate", tmp_path / "model", "the list")


@pytest.mark.parametrize("architecture", [*LANGUAGE_MODELS, *ENCODERS])
def test_the_help_teaches(architecture: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["pretrain", architecture, "--help"])
    shown = capsys.readouterr().out
    assert f"textmill pretrain {architecture} my.txt" in shown
    assert "Train " in shown
    for option in ("--tokenizer", "--steps", "--minutes", "--learning-rate", "--set"):
        assert option in shown


# --- what is refused


@pytest.mark.parametrize("architecture", ["gpt", "bert", "modern-bert"])
def test_sequences_longer_than_the_positions(
    architecture: str, sentences: Path, tmp_path: Path, capsys: Capture
) -> None:
    changed = ("--context", 64, "--set", "model.context_length=32")
    message = refused(capsys, "pretrain", architecture, sentences, *changed, "-o", tmp_path / "out")
    assert "training.context_length is 64, the model's context only 32 tokens" in message
    assert not (tmp_path / "out" / "tokenizer").exists()


def test_a_vocabulary_that_is_not_the_tokenizer_s(
    sentences: Path, tokenizers: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    words = ("pretrain", "gpt", sentences, *SMALL, *TRANSFORMER, "--tokenizer", tokenizers["bpe"], "-o", tmp_path)
    size = Tokenizer.load(tokenizers["bpe"]).vocab_size
    message = refused(capsys, *words, "--set", "model.vocab_size=100")
    assert f"model.vocab_size is 100, the tokenizer has {size} tokens" in message
    printed(capsys, *words, "--quiet")

    # another tokenizer in the run's folder, as a careless copy leaves it
    other = Tokenizer.train([sentences.read_text()], TokenizerSpec(vocab_size=270))
    other.save(tmp_path / "tokenizer")
    message = refused(capsys, *words, "--learning-rate", 0.001)
    assert "tokenizer" in message


@pytest.mark.parametrize("architecture", ENCODERS)
def test_an_encoder_needs_a_tokenizer_with_a_mask(
    architecture: str, sentences: Path, tokenizers: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    words = ("pretrain", architecture, sentences, *SMALL, *TRANSFORMER, "--tokenizer", tokenizers["bpe"])
    message = refused(capsys, *words, "-o", tmp_path / "out")
    assert "the tokenizer has no [CLS]" in message or "the tokenizer has no mask token" in message


def test_documents_of_one_sentence(tokenizers: dict[str, Path], tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "single.txt"
    chance = random.Random(2)
    path.write_text("\n\n".join(" ".join(chance.choices(WORDS.split(), k=20)).capitalize() + "." for _ in range(80)))
    words = ("pretrain", "bert", path, *SMALL, *TRANSFORMER, "--tokenizer", tokenizers["wordpiece"])
    message = refused(capsys, *words, "-o", tmp_path / "out")
    assert "next-sentence pairs need documents of several sentences" in message
    assert "or learn by masked-token" in message
    # ALBERT's pairs are cut inside such a sentence, and masked tokens need no pairs
    for way in (("--pairs", "sentence_order"), ("--objective", "masked-token")):
        printed(capsys, *words, *way, "--quiet", "-o", tmp_path / way[1])
