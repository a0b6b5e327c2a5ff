"""SentencePair against its definition, and BERT's two objectives in one pass."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from tests.objectives.ragged import ragged_batch, small_bert, states_one_by_one

from textmill.errors import DataError, NotSupportedError
from textmill.models import GPT, GPTConfig
from textmill.objectives import MaskedToken, SentencePair, Weighted


def test_loss_equals_the_definition() -> None:
    model, batch = small_bert(), ragged_batch()
    first = states_one_by_one(model, batch)[[0, 7, 8]]
    logits = model.pair_head(torch.tanh(model.pooler(first)))
    expected = F.cross_entropy(logits, torch.tensor([1, 0, 1]), reduction="sum")
    losses, right = SentencePair().measure(model, batch)
    torch.testing.assert_close(losses["loss"], expected)
    torch.testing.assert_close(SentencePair()(model, batch)["loss"], expected)
    assert SentencePair().counts(batch) == {"loss": 3}
    assert right == {"loss": int((logits.argmax(-1) == torch.tensor([1, 0, 1])).sum())}


def test_right_answers_are_counted() -> None:
    model = small_bert()
    with torch.no_grad():
        model.pair_head.weight.zero_()
        model.pair_head.bias.copy_(torch.tensor([0.0, 1.0]))
    assert SentencePair().measure(model, ragged_batch())[1] == {"loss": 2}


def test_both_objectives_share_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = small_bert(), ragged_batch()
    both = Weighted({"mlm": (MaskedToken(), 1.0), "pair": (SentencePair(), 0.5)})
    expected = {"mlm": MaskedToken()(model, batch)["loss"], "pair": SentencePair()(model, batch)["loss"]}
    passes = []
    hidden = model.hidden
    monkeypatch.setattr(model, "hidden", lambda *args, **named: passes.append(1) or hidden(*args, **named))
    losses = both(model, batch)
    assert len(passes) == 1
    assert losses.keys() == both.weights.keys() == both.counts(batch).keys() == expected.keys()
    for key, loss in losses.items():
        torch.testing.assert_close(loss, expected[key])
    measured, right = both.measure(model, batch)
    assert len(passes) == 2
    assert right.keys() == expected.keys()
    torch.testing.assert_close(measured["pair"], expected["pair"])
    assert both.token_keys == ("mlm",)


def test_mistakes() -> None:
    model, batch = small_bert(), dataclasses.replace(ragged_batch(), labels=None)
    for refused in (lambda: SentencePair().counts(batch), lambda: SentencePair()(model, batch)):
        with pytest.raises(DataError, match=r"needs pairs with labels, got a batch of single texts\. Fix: build"):
            refused()
    gpt = GPT(GPTConfig(vocab_size=31, context_length=16, width=8, num_layers=1, num_heads=2))
    with pytest.raises(NotSupportedError, match="GPT has no head for sentence pairs"):
        SentencePair()(gpt, ragged_batch())
