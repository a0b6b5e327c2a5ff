"""Text in, text out, with a tokenizer of bytes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import textmill
from textmill.errors import ConfigError
from textmill.folder import load, save_folder
from textmill.generation import generate, generate_batch
from textmill.generation.text import StopTexts
from textmill.models import GPT, GPTConfig
from textmill.tokenizers import Tokenizer

PROMPTS = ["once", "", "upon a time", "é"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer.train(["the cat sat on the mat, the hat"] * 3, algorithm="bpe", vocab_size=262)
    config = GPTConfig(vocab_size=tokenizer.vocab_size, context_length=32, width=16, num_layers=1, num_heads=2)
    model = GPT(config)
    with torch.no_grad():
        model.embedding.weight.mul_(20)
    path = tmp_path_factory.mktemp("generation") / "model"
    save_folder(path, model=model, tokenizer=tokenizer)
    return path


def test_pieces_join_to_the_text_and_are_whole_characters(folder: Path) -> None:
    opened = load(folder)
    for seed in range(3):
        settings: dict[str, Any] = {"max_tokens": 24, "temperature": 3.0, "top_p": 1.0, "seed": seed}
        pieces = list(generate(opened, "once", **settings))
        assert len(pieces) > 1
        assert all(pieces)
        assert "".join(pieces) == generate_batch(folder, ["once"], **settings)[0]
        assert "".join(textmill.generate(folder, "once", **settings)) == "".join(pieces)
        assert "".join(generate((opened.model, opened.tokenizer), "once", **settings)) == "".join(pieces)


def test_a_batch_gives_what_each_prompt_gives(folder: Path) -> None:
    alone = ["".join(generate(folder, prompt, max_tokens=20, seed=2)) for prompt in PROMPTS]
    assert generate_batch(folder, PROMPTS, max_tokens=20, seed=2) == alone
    assert generate_batch(folder, []) == []


def test_stop_texts_cut_exactly(folder: Path) -> None:
    settings: dict[str, Any] = {"max_tokens": 24, "temperature": 3.0, "top_p": 1.0}
    whole = generate_batch(folder, PROMPTS, **settings)
    stop = whole[0][7:10]
    expected = [text[: text.index(stop)] if stop in text else text for text in whole]
    assert generate_batch(folder, PROMPTS, **settings, stop=stop) == expected
    assert "".join(generate(folder, PROMPTS[0], **settings, stop=[stop, "never there"])) == expected[0]


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_stop_texts_over_any_pieces(text: str, stops: list[str], data: st.DataObject) -> None:
    stream, shown, position = StopTexts(stops), "", 0
    while position < len(text) and not stream.found:
        length = data.draw(st.integers(1, 5))
        shown += stream.push(text[position : position + length])
        position += length
    shown += stream.finish()
    # (end, begin) of every stop text in the text: the first to be complete counts
    places = [(text.index(stop) + len(stop), text.index(stop)) for stop in stops if stop in text]
    assert stream.found == bool(places)
    assert shown == (text[: min(places)[1]] if places else text)


def test_clear_errors(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no setting 'temprature'"):
        generate(folder, "a", temprature=1.0)
    with pytest.raises(ConfigError, match="max_tokens must be a whole number, got 'many'"):
        generate(folder, "a", max_tokens="many")
    with pytest.raises(ConfigError, match="one seed a prompt, got 1 seeds for 2 prompts"):
        generate_batch(folder, ["a", "b"], seeds=[1])
