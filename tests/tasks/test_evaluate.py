"""Scores of a model folder and of the baselines, against their definitions."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from textmill.data.build import build_shards
from textmill.data.shards import TokenShards
from textmill.data.spec import ShardSpec
from textmill.errors import DataError
from textmill.folder import ModelFolder, save_folder
from textmill.models import GPT, Bert, BertConfig, GPTConfig, Lstm, LstmConfig
from textmill.tasks.evaluate import STRIDE_PARTS, baselines, beginnings, documents, evaluate_shards, evaluate_text
from textmill.tokenizers import Tokenizer

TEXTS = [f"paragraph {number}: the list of items that number {number} returns".encode() for number in range(30)]
CONTEXT = 16


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=290)


@pytest.fixture(scope="module")
def shards(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "shards"
    build_shards(TEXTS, tokenizer, folder, ShardSpec(validation_fraction=0.2))
    return folder


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    config = GPTConfig(vocab_size=290, context_length=CONTEXT, width=16, num_layers=1, num_heads=2)
    return save_folder(tmp_path_factory.mktemp("model") / "model", model=GPT(config), tokenizer=tokenizer)


def nats(model: GPT, tokens: list[int]) -> float:
    """The definition: each token from the window that evaluation gives it, one by one."""
    stride, total = CONTEXT // STRIDE_PARTS, 0.0
    with torch.no_grad():
        for at in range(1, len(tokens)):
            # the windows begin at multiples of the stride; the first one that reaches this token predicts it
            begin = max(0, math.ceil((at - CONTEXT) / stride) * stride)
            seen = torch.tensor([tokens[begin:at]])
            logits = model.logits(model.hidden(model.embed(seen)))[0, -1]
            total -= float(logits.double().log_softmax(-1)[tokens[at]])
    return total


def test_a_score_is_its_definition(folder: ModelFolder, shards: Path) -> None:
    opened = TokenShards.open(shards, "validation")
    tokens = opened.window(0, opened.num_tokens).tolist()
    measured = evaluate_shards(folder, shards, batch_size=3, device="cpu", precision="fp32")
    assert measured["bytes"] == opened.text_bytes
    # the first token too: the mark that ends a text stands before it
    end = folder.tokenizer.end_of_text_id
    assert end is not None
    assert measured["tokens"] == len(tokens)
    expected = nats(folder.model, [end, *tokens])  # type: ignore[arg-type]
    assert measured["loss"] * measured["tokens"] == pytest.approx(expected, rel=1e-5)
    assert measured["perplexity"] == pytest.approx(math.exp(measured["loss"]), rel=1e-6)
    bits = measured["loss"] * measured["tokens"] / math.log(2)
    assert measured["bits_per_byte"] == pytest.approx(bits / opened.text_bytes, rel=1e-6)


def test_the_size_of_a_batch_changes_nothing(folder: ModelFolder, shards: Path) -> None:
    scores = [evaluate_shards(folder, shards, batch_size=size, precision="fp32")["loss"] for size in (1, 7, 64)]
    assert scores == pytest.approx([scores[0]] * 3, rel=1e-6)


def test_the_size_of_a_batch_changes_nothing_for_a_model_with_a_memory(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = LstmConfig(vocab_size=290, width=16, num_layers=1)
    folder = save_folder(tmp_path / "model", model=Lstm(config), tokenizer=tokenizer)
    # long enough for several streams
    scores = [evaluate_text(folder, TEXTS * 40, batch_size=size, precision="fp32")["loss"] for size in (1, 7)]
    assert scores[0] == scores[1]


def test_text_scores_as_its_shards(folder: ModelFolder, tokenizer: Tokenizer, shards: Path) -> None:
    held_out = list(documents(shards, "validation", tokenizer))
    assert held_out
    by_text = evaluate_text(folder, held_out, precision="fp32")
    assert by_text == pytest.approx(evaluate_shards(folder, shards, precision="fp32"))
    with pytest.raises(DataError, match="the corpus holds no document"):
        evaluate_text(folder, [])


@pytest.mark.parametrize("heads", ["masked_token", "replaced_token"])
def test_an_encoder_is_measured_by_what_it_was_trained_for(heads: Any, tmp_path: Path) -> None:
    pieces = Tokenizer.train(TEXTS, algorithm="wordpiece", vocab_size=120, allow_fewer=True)
    config = BertConfig(
        vocab_size=pieces.vocab_size, context_length=CONTEXT, width=16, num_layers=1, num_heads=2, heads=heads
    )
    encoder = save_folder(tmp_path / "model", model=Bert(config), tokenizer=pieces)
    measured = evaluate_text(encoder, TEXTS, batch_size=4, device="cpu", precision="fp32")
    assert 0 <= measured["accuracy"] <= 1
    assert ("perplexity" in measured) == (heads == "masked_token")
    assert measured == pytest.approx(evaluate_text(encoder, TEXTS, batch_size=7, device="cpu", precision="fp32"))
    # a text of one token still has room for the marks around it
    assert evaluate_text(encoder, [b"a"], device="cpu", precision="fp32")["tokens"] <= 3


def test_shards_of_another_tokenizer_are_refused(folder: ModelFolder, tmp_path: Path) -> None:
    other = Tokenizer.train(["other words"], vocab_size=260)
    build_shards(TEXTS, other, tmp_path / "shards", ShardSpec())
    with pytest.raises(DataError, match="made with another tokenizer"):
        evaluate_shards(folder, tmp_path / "shards")


def test_documents_come_back_from_their_tokens(shards: Path, tokenizer: Tokenizer) -> None:
    found = [*documents(shards, "train", tokenizer), *documents(shards, "validation", tokenizer)]
    assert sorted(found) == sorted(TEXTS)


def test_baselines(shards: Path, tokenizer: Tokenizer) -> None:
    scores = baselines(shards, tokenizer, most_bytes=1 << 20)
    assert "cut" not in scores
    assert len(scores) == 4
    assert all(0 < score < 20 for score in scores.values())
    # what has seen the training text knows more
    assert scores["xz, after the training text"] < scores["xz"]
    assert "cut" in baselines(shards, tokenizer, most_bytes=1000)


def test_no_held_out_text_for_the_baselines(tokenizer: Tokenizer, tmp_path: Path) -> None:
    build_shards(TEXTS, tokenizer, tmp_path / "shards", ShardSpec(validation_fraction=0.0))
    with pytest.raises(DataError, match=r"no text was held out.*shards\.validation_fraction"):
        baselines(tmp_path / "shards", tokenizer, most_bytes=1 << 20)


def test_beginnings_are_held_out_and_end_with_a_word(shards: Path, tokenizer: Tokenizer) -> None:
    held_out = [text.decode() for text in documents(shards, "validation", tokenizer)]
    heads = beginnings(shards, tokenizer, 3, most_characters=20)
    assert len(heads) == min(3, len(held_out))
    for head, whole in zip(heads, held_out, strict=False):
        assert len(head) <= 20
        assert whole.startswith(head + " ")
