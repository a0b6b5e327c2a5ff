"""ReplacedToken against its definition."""

import pytest
import torch
from tests.objectives.ragged import ragged_batch, small_bert, states_one_by_one

from textmill.errors import NotSupportedError
from textmill.models import ModernBert, ModernBertConfig
from textmill.objectives import ReplacedToken


def test_loss_is_the_sum_of_negative_log_probabilities() -> None:
    model, batch = small_bert(heads="replaced_token"), ragged_batch()
    # one replacement that is the text's own token
    batch.targets[2] = batch.tokens[batch.places[2]]
    logits = model.replaced_logits(states_one_by_one(model, batch))
    text = dict(zip(batch.places.tolist(), batch.targets.tolist(), strict=True))
    expected, right = torch.zeros(()), 0
    for place, (token, logit) in enumerate(zip(batch.tokens.tolist(), logits, strict=True)):
        replaced = text.get(place, token) != token
        probability = torch.sigmoid(logit)
        expected = expected - torch.log(probability if replaced else 1 - probability)
        right += int((probability > 0.5) == replaced)
    losses, counted = ReplacedToken().measure(model, batch)
    torch.testing.assert_close(losses["loss"], expected)
    torch.testing.assert_close(ReplacedToken()(model, batch)["loss"], expected)
    assert counted == {"loss": right}
    assert ReplacedToken().counts(batch) == {"loss": 20}


def test_gradients_reach_every_weight() -> None:
    model = small_bert(heads="replaced_token")
    ReplacedToken()(model, ragged_batch())["loss"].backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_models_without_the_detector() -> None:
    with pytest.raises(NotSupportedError, match="no detector of replaced tokens"):
        ReplacedToken()(small_bert(), ragged_batch())
    other = ModernBert(ModernBertConfig(vocab_size=31, context_length=16, width=8, num_layers=1, num_heads=2))
    with pytest.raises(NotSupportedError, match="ModernBert has no detector"):
        ReplacedToken()(other, ragged_batch())
