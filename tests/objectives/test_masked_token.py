"""MaskedToken against its definition: full logits of each sequence read alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.objectives.ragged import ragged_batch, small_bert, states_one_by_one

from textmill.data.batches import Batch
from textmill.data.ragged import RaggedBatch
from textmill.errors import NotSupportedError
from textmill.models import GPT, Bert, BertConfig, GPTConfig, Initialisation
from textmill.objectives import MaskedToken, NextToken, masked_token


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_and_gradients_equal_the_definition(smoothing: float) -> None:
    model, batch = small_bert(), ragged_batch()
    objective = MaskedToken(label_smoothing=smoothing)
    loss = objective(model, batch)["loss"]
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    logits = model.logits(states_one_by_one(model, batch))[batch.places]
    targets = torch.from_numpy(batch.targets)
    expected = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)
    assert objective.counts(batch) == {"loss": 5}
    wanted = torch.autograd.grad(expected, list(model.parameters()), allow_unused=True)
    for (name, _), mine, theirs in zip(model.named_parameters(), gradients, wanted, strict=True):
        if theirs is None:
            assert mine is None, name
        else:
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4, msg=name)


def test_parts_of_a_batch_add_up() -> None:
    model, batch, objective = small_bert(), ragged_batch(), MaskedToken()
    parts = [batch.cut(0, 2), batch.cut(2, 3)]
    total = sum(objective(model, part)["loss"] for part in parts)
    torch.testing.assert_close(total, objective(model, batch)["loss"])
    assert sum(objective.counts(part)["loss"] for part in parts) == 5


def test_measure_counts_first_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = small_bert(), ragged_batch()
    guesses = model.logits(states_one_by_one(model, batch))[batch.places].argmax(-1).numpy()
    batch.targets[:3] = guesses[:3]
    batch.targets[3:] = (guesses[3:] + 1) % 31
    # two rows of 31 logits at a time
    monkeypatch.setattr(masked_token, "CHUNK_BYTES", 2 * 31 * 4)
    losses, right = MaskedToken(label_smoothing=0.3).measure(model, batch)
    assert right == {"loss": 3}
    torch.testing.assert_close(losses["loss"], MaskedToken()(model, batch)["loss"])


def test_nothing_masked() -> None:
    nothing = np.empty(0, np.int64)
    batch = RaggedBatch(tokens=np.arange(4), starts=np.array([0, 4]), places=nothing, targets=nothing)
    model = small_bert()
    loss = MaskedToken()(model, batch)["loss"]
    loss.backward()
    assert loss.item() == 0
    losses, right = MaskedToken().measure(model, batch)
    assert (losses["loss"].item(), right) == (0, {"loss": 0})


def test_a_model_without_the_head() -> None:
    with pytest.raises(NotSupportedError, match="no head for masked tokens"):
        MaskedToken()(small_bert(heads="pooler"), ragged_batch())


def test_a_model_without_types_passes_over_them() -> None:
    config = GPTConfig(vocab_size=31, context_length=16, width=8, num_layers=1, num_heads=2)
    model, batch = GPT(config), ragged_batch()
    plain = RaggedBatch(tokens=batch.tokens, starts=batch.starts, places=batch.places, targets=batch.targets)
    assert torch.equal(MaskedToken()(model, batch)["loss"], MaskedToken()(model, plain)["loss"])


def test_an_encoder_is_not_trained_on_the_next_token() -> None:
    tokens = np.zeros((1, 4), np.int64)
    with pytest.raises(NotSupportedError, match="Bert is an encoder: each token sees the next one"):
        NextToken()(small_bert(), Batch(tokens=tokens, targets=tokens))


def test_learns_what_stands_between() -> None:
    """In texts that count upwards, a masked number follows from its neighbours, on whichever side they are.

    Without them one guess in ten is right.
    """
    settings = BertConfig(vocab_size=20, context_length=8, width=32, num_layers=1, num_heads=4, heads="masked_token")
    model = Bert(settings, seed=1, init=Initialisation(matrices="fan_in")).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator, objective = np.random.default_rng(0), MaskedToken()

    def counting() -> RaggedBatch:
        lengths = generator.integers(2, 8, 24)
        starts = np.concatenate(([0], lengths.cumsum()))
        text = np.concatenate([generator.integers(1, 12) + np.arange(length) for length in lengths])
        places = starts[:-1] + generator.integers(0, lengths)
        masked = text.copy()
        masked[places] = 0
        return RaggedBatch(tokens=masked, starts=starts, places=places, targets=text[places])

    for _ in range(100):
        batch = counting()
        (objective(model, batch)["loss"] / batch.num_targets()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert objective.measure(model, counting())[1]["loss"] >= 14


def test_bf16_stays_near() -> None:
    model, batch = small_bert(), ragged_batch()
    exact = MaskedToken()(model, batch)["loss"]
    rounded = MaskedToken().measure(model.bfloat16(), batch)[0]["loss"]
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.05)
