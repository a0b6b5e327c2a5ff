"""The decoding loop against whole passes and against transformers' `generate`; batches against single prompts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from textmill.errors import ConfigError
from textmill.folder import save_folder
from textmill.generation.config import GenerationConfig
from textmill.generation.decoding import Decoding
from textmill.layers.delta import Delta
from textmill.models import GPT, GPTConfig, LanguageModel, Llama, LlamaConfig

PROMPTS = [[1, 2, 3, 4, 5], [7], [9, 8, 7, 6, 5, 4, 3, 2], [11, 12, 13]]
GREEDY = {"temperature": 0.0, "max_tokens": 12}


def models(context: int = 64) -> list[LanguageModel]:
    sizes: dict[str, Any] = {"vocab_size": 40, "context_length": context, "width": 24, "num_layers": 2}
    made = [
        GPT(GPTConfig(**sizes, num_heads=4)),
        Llama(LlamaConfig(**sizes, num_heads=4, num_kv_heads=2, qk_norm=True)),
    ]
    for model in made:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in model.parameters():
                # large weights: the likeliest tokens stand far apart, and vary
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.3)
        model.eval()
    return made


def tokens(model: LanguageModel, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
    options = {name: settings.pop(name) for name in ("seeds", "end_ids", "vocab_size") if name in settings}
    decoding = Decoding(model, prompts, GenerationConfig(**settings), **options)
    new: list[list[int]] = [[] for _ in prompts]
    while step := decoding.step():
        for prompt, token in step:
            new[prompt].append(token)
    return new


@torch.no_grad()
def by_whole_passes(model: LanguageModel, prompt: list[int], count: int, context: int = 64) -> list[int]:
    """The definition: every token from a pass over all that the model still sees."""
    text, begin = list(prompt), max(0, len(prompt) - context)
    for _ in range(count):
        if len(text) - begin > context:
            begin = len(text) - context // 2
        text.append(int(model(torch.tensor([text[begin:]]))[0, -1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("index", [0, 1])
def test_greedy_equals_whole_passes_alone_and_in_a_batch(index: int) -> None:
    model = models()[index]
    expected = [by_whole_passes(model, prompt, 12) for prompt in PROMPTS]
    assert [tokens(model, [prompt], **GREEDY)[0] for prompt in PROMPTS] == expected
    assert tokens(model, PROMPTS, **GREEDY) == expected
    # few tokens: the output matrix as it stands
    assert tokens(model, PROMPTS, temperature=0.0, max_tokens=3) == [new[:3] for new in expected]


@pytest.mark.parametrize("index", [0, 1])
def test_the_context_slides(index: int) -> None:
    model = models(context=10)[index]
    prompts = [*PROMPTS, list(range(20))]
    expected = [by_whole_passes(model, prompt, 20, context=10) for prompt in prompts]
    assert [tokens(model, [prompt], temperature=0.0, max_tokens=20)[0] for prompt in prompts] == expected
    assert tokens(model, prompts, temperature=0.0, max_tokens=20) == expected


@pytest.mark.parametrize("index", [0, 1])
def test_samples_do_not_depend_on_the_batch(index: int) -> None:
    model = models()[index]
    settings: dict[str, Any] = {
        "temperature": 1.2, "top_k": 12, "top_p": 0.95, "repetition_penalty": 1.2, "max_tokens": 15
    }  # fmt: skip
    alone = [tokens(model, [prompt], seed=3, end_ids=(5,), **settings)[0] for prompt in PROMPTS]
    assert tokens(model, PROMPTS, seed=3, end_ids=(5,), **settings) == alone
    assert tokens(model, PROMPTS, seed=4, end_ids=(5,), **settings) != alone
    seeds = [3, 4, 5, 6]
    assert tokens(model, PROMPTS, seeds=seeds, **settings) == [
        tokens(model, [prompt], seed=seed, **settings)[0] for prompt, seed in zip(PROMPTS, seeds, strict=True)
    ]


def test_equals_transformers_generate(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    for number, model in enumerate(models()):
        save_folder(tmp_path / str(number), model=model)
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / str(number)).eval()
        for penalty in (1.0, 1.5):
            prompt = torch.tensor(PROMPTS[:1])
            settings: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
            expected = theirs.generate(prompt, **settings, repetition_penalty=penalty)[0, prompt.shape[1] :]
            got = tokens(model, PROMPTS[:1], **GREEDY, repetition_penalty=penalty)[0]
            assert got == expected.tolist()


def test_end_tokens_end_a_row_and_are_not_given_out() -> None:
    model = models()[0]
    free = tokens(model, PROMPTS, **GREEDY)
    end = free[0][4]
    expected = [new[: new.index(end)] if end in new else new for new in free]
    assert tokens(model, PROMPTS, **GREEDY, end_ids=(end,)) == expected
    assert tokens(model, PROMPTS, **GREEDY, end_ids=(end,), ignore_end_of_text=True) == free


def test_only_the_tokenizers_ids_are_drawn() -> None:
    assert all(
        token < 10
        for new in tokens(models()[0], [[1], [2, 3]], vocab_size=10, temperature=2.0, max_tokens=20)
        for token in new
    )


def test_a_delta_with_prompt_vectors_and_extra_keys() -> None:
    class Both(Delta):
        def prompt(self) -> torch.Tensor:
            return torch.ones(3, 24)

        def kv(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.ones(4, 2, 6), torch.full((4, 2, 6), 2.0 + layer)

    model = models()[0]
    model.delta = Both()
    expected = [by_whole_passes(model, prompt, 12) for prompt in PROMPTS]
    assert tokens(model, PROMPTS, **GREEDY) == expected
    assert expected != [by_whole_passes(models()[0], prompt, 12) for prompt in PROMPTS]


def test_clear_errors() -> None:
    model = models(context=16)[0]
    with pytest.raises(ConfigError, match=r"5 prompt tokens and 13 new ones don't fit .* Fix: use max_tokens <= 12"):
        tokens(model, PROMPTS[:1], temperature=0.0, max_tokens=13, overflow="stop")
    assert len(tokens(model, PROMPTS[:1], temperature=0.0, max_tokens=12, overflow="stop")[0]) == 12
    with pytest.raises(ConfigError, match="a prompt has no tokens"):
        tokens(model, [[]])
    with pytest.raises(ConfigError, match="the prompt has token 40, the model's vocabulary has 40"):
        tokens(model, [[1, 40]])
    assert tokens(model, [[1]], max_tokens=0) == [[]]
