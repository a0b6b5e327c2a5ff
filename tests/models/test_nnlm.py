"""Bengio's model against its equation, token by token."""

import math

import pytest
import torch

from textmill.errors import ConfigError
from textmill.models import Initialisation, Nnlm, NnlmConfig

CONFIG = NnlmConfig(vocab_size=11, order=4, width=3, hidden_width=5)


def test_equals_the_equation() -> None:
    """y = b + W x + U tanh(d + H x), x the vectors of the n - 1 tokens before, newest first."""
    model = Nnlm(CONFIG, seed=1, init=Initialisation(std=1.0)).double()
    with torch.no_grad():
        for vector in (model.head.bias, model.trunk.padding, model.trunk.hidden.bias):
            vector.normal_(generator=torch.Generator().manual_seed(2))
    C, H, d, b = model.embedding.weight, model.trunk.hidden.weight, model.trunk.hidden.bias, model.head.bias
    U, W = model.head.weight.split([5, 9], 1)
    tokens = torch.tensor([[4, 7, 7, 0, 10, 2], [1, 2, 3, 4, 5, 6]])
    logits = model(tokens)
    for row in range(2):
        for t in range(6):
            before = [C[tokens[row, t - age]] if t >= age else model.trunk.padding for age in range(3)]
            x = torch.cat(before)
            torch.testing.assert_close(logits[row, t], b + W @ x + U @ torch.tanh(d + H @ x))


def test_without_direct_connections() -> None:
    config = NnlmConfig(vocab_size=11, order=4, width=3, hidden_width=5, direct=False)
    model, full = Nnlm(config), Nnlm(CONFIG)
    assert model.output_weight.shape == (11, 5)
    with torch.no_grad():
        model.load_state_dict({**full.state_dict(), "head.weight": full.head.weight[:, :5].clone()})
        full.head.weight[:, 5:] = 0
    tokens = torch.arange(8).view(2, 4)
    torch.testing.assert_close(model(tokens), full(tokens))


def test_the_paper_count_of_parameters() -> None:
    """|V| (1 + n m + h) + h (1 + (n - 1) m), with n - 1 vectors in the window (section 2), and the padding."""
    config = NnlmConfig(vocab_size=17_964, order=5, width=60, hidden_width=50)
    free = 17_964 * (1 + 5 * 60 + 50) + 50 * (1 + 4 * 60)
    assert Nnlm(config).num_parameters() == free + 60
    assert Nnlm(config).num_parameters(embeddings=False) == 50 * (1 + 4 * 60) + 60


@pytest.mark.parametrize("order", [2, 3, 6])
def test_pieces_equal_the_whole(order: int) -> None:
    model = Nnlm(NnlmConfig(vocab_size=11, order=order, width=3, hidden_width=5), seed=1)
    tokens = torch.randint(0, 11, (3, 10), generator=torch.Generator().manual_seed(0))
    memory, parts = model.new_memory(3), []
    assert memory.shape == (3, order - 2, 3)
    for part in tokens.split([1, 2, 4, 3], 1):
        hidden, memory = model.hidden_with_memory(model.embed(part), memory)
        parts.append(model.logits(hidden))
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens))


def test_only_the_last_tokens_count() -> None:
    model = Nnlm(CONFIG, seed=1)
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6], [9, 9, 9, 4, 5, 6]])
    logits = model(tokens)
    torch.testing.assert_close(logits[0, 5], logits[1, 5])
    assert not torch.allclose(logits[0, 4], logits[1, 4])


def test_first_guess_is_near_uniform() -> None:
    logits = Nnlm(NnlmConfig(), seed=1)(torch.randint(0, 10_000, (4, 16)))
    log_probabilities = logits.log_softmax(-1)
    assert (log_probabilities + math.log(10_000)).abs().max() < 0.3
    assert log_probabilities.std() > 0


def test_dropout_acts_while_training_only() -> None:
    model = Nnlm(NnlmConfig(vocab_size=11, width=3, hidden_width=5, dropout=0.5), seed=1)
    tokens = torch.arange(10).view(2, 5)
    states = model.train().hidden(model.embed(tokens))
    assert (states == 0).any()
    assert not (model.eval().hidden(model.embed(tokens)) == 0).all(-1).any()
    torch.testing.assert_close(model(tokens), Nnlm(NnlmConfig(vocab_size=11, width=3, hidden_width=5), seed=1)(tokens))


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="order must be from 2 to 1024, got 1"):
        NnlmConfig(order=1)
    with pytest.raises(ConfigError, match="dropout must be in"):
        NnlmConfig(dropout=1.0)
