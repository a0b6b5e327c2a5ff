"""Generation from models with a memory: against whole passes, in batches, past any length."""

from typing import Any

import pytest
import torch

from textmill.generation.config import GenerationConfig
from textmill.generation.decoding import Decoding
from textmill.models import Gru, GruConfig, Lstm, LstmConfig, Nnlm, NnlmConfig, Rnn, RnnConfig
from textmill.models.carrying import CarryingModel

PROMPTS = [[1, 2, 3, 4, 5], [7], [9, 8, 7, 6, 5, 4, 3, 2], [11], [12, 13]]
SIZES = {"vocab_size": 40, "width": 12}


def models() -> list[CarryingModel]:
    made: list[CarryingModel] = [
        Rnn(RnnConfig(**SIZES)),
        Lstm(LstmConfig(**SIZES, hidden_width=9, output_dropout=0.5)),
        Gru(GruConfig(**SIZES, tied=False)),
        Nnlm(NnlmConfig(**SIZES, order=4, hidden_width=9)),
    ]
    for model in made:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in model.parameters():
                # large weights: the likeliest tokens stand far apart, and vary
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.5)
        model.eval()
    return made


def tokens(model: CarryingModel, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
    options = {name: settings.pop(name) for name in ("seeds", "end_ids") if name in settings}
    decoding = Decoding(model, prompts, GenerationConfig(**settings), **options)
    new: list[list[int]] = [[] for _ in prompts]
    while step := decoding.step():
        for prompt, token in step:
            new[prompt].append(token)
    return new


@torch.no_grad()
def by_whole_passes(model: CarryingModel, prompt: list[int], count: int) -> list[int]:
    text = list(prompt)
    for _ in range(count):
        text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("max_tokens", [6, 40])
def test_greedy_equals_whole_passes(model: CarryingModel, max_tokens: int) -> None:
    """Few tokens take the model's own output, many a copy stored column by column."""
    found = tokens(model, PROMPTS, temperature=0.0, max_tokens=max_tokens)
    expected = [by_whole_passes(model, prompt, max_tokens) for prompt in PROMPTS]
    assert found == expected
    assert len({tuple(new) for new in found}) > 1


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_rows_that_end_leave_the_others_alone(model: CarryingModel) -> None:
    alone = [tokens(model, [prompt], max_tokens=20, seed=3)[0] for prompt in PROMPTS]
    assert tokens(model, PROMPTS, max_tokens=20, seed=3) == alone
    end = alone[0][4]
    expected = [new[: new.index(end)] if end in new else new for new in alone]
    assert tokens(model, PROMPTS, max_tokens=20, seed=3, end_ids=[end]) == expected


def test_no_length_is_too_long() -> None:
    model = models()[2]
    found = tokens(model, [[1] * 300], max_tokens=50, temperature=0.0, overflow="stop")
    assert found == [by_whole_passes(model, [1] * 300, 50)]
