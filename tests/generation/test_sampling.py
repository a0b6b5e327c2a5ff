"""The filters equal transformers' processors; the draw follows the probabilities."""

import pytest
import torch
from transformers import generation as theirs

from textmill.generation.config import GenerationConfig
from textmill.generation.sampling import draw, filtered, min_p, repetition_penalty, top_k, top_p


def logits() -> torch.Tensor:
    return torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 3


NO_IDS = torch.zeros(5, 0, dtype=torch.long)


@pytest.mark.parametrize("k", [1, 7, 40, 100])
def test_top_k(k: int) -> None:
    assert torch.equal(top_k(logits(), k), theirs.TopKLogitsWarper(k)(NO_IDS, logits()))


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.999])
def test_top_p(p: float) -> None:
    assert torch.equal(top_p(logits(), p), theirs.TopPLogitsWarper(p)(NO_IDS, logits()))


@pytest.mark.parametrize("p", [0.01, 0.3, 1.0])
def test_min_p(p: float) -> None:
    assert torch.equal(min_p(logits(), p), theirs.MinPLogitsWarper(p)(NO_IDS, logits()))


@pytest.mark.parametrize("penalty", [0.5, 1.3])
def test_repetition_penalty(penalty: float) -> None:
    ids = torch.randint(0, 40, (5, 9), generator=torch.Generator().manual_seed(1))
    seen = torch.zeros(5, 40, dtype=torch.bool).scatter_(1, ids, True)
    expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits())
    torch.testing.assert_close(repetition_penalty(logits(), seen, penalty), expected)


def test_all_in_their_order() -> None:
    config = GenerationConfig(temperature=0.7, top_k=20, top_p=0.9, min_p=0.05)
    expected = logits()
    for warper in (
        theirs.TemperatureLogitsWarper(0.7),
        theirs.TopKLogitsWarper(20),
        theirs.TopPLogitsWarper(0.9),
        theirs.MinPLogitsWarper(0.05),
    ):
        expected = warper(NO_IDS, expected)
    torch.testing.assert_close(filtered(logits(), config), expected)


def test_draws_have_the_probabilities() -> None:
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3])
    # evenly spread numbers instead of random ones: each token gets its share exactly
    uniforms = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    tokens = draw(probabilities.log().expand(1000, -1), uniforms)
    assert tokens.bincount(minlength=4).tolist() == [100, 0, 600, 300]


def test_an_excluded_token_is_never_drawn() -> None:
    edges = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    chosen = draw(torch.tensor([[-torch.inf, 1.0, 1.0, -torch.inf]]).expand(2, -1), edges)
    assert chosen.tolist() == [1, 2]
