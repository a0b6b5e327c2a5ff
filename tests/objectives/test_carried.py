"""The carried memory against one long pass, by rows, through its stored form; what is added to the loss."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from textmill.data.streams import StreamBatch
from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.models import Gru, GruConfig, Lstm, LstmConfig, Nnlm, NnlmConfig, Rnn, RnnConfig
from textmill.models.carrying import CarryingModel
from textmill.objectives import CarriedNextToken, NextToken, Weighted
from textmill.training.placement import split_rows
from textmill.training.tensor_file import write_tensors

SIZES = {"vocab_size": 13, "width": 6}
MODELS = {
    "rnn": lambda: Rnn(RnnConfig(**SIZES), seed=1),
    "lstm": lambda: Lstm(LstmConfig(**SIZES, hidden_width=5), seed=1),
    "gru": lambda: Gru(GruConfig(**SIZES, num_layers=1), seed=1),
    "nnlm": lambda: Nnlm(NnlmConfig(**SIZES, order=4, hidden_width=5), seed=1),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> CarryingModel:
    return MODELS[request.param]().train()


def streams(num_batches: int, rows: int = 4, time: int = 3) -> list[StreamBatch]:
    ids = np.random.default_rng(0).integers(0, 13, (rows, num_batches * time + 1))
    return [
        StreamBatch(
            tokens=ids[:, start : start + time], targets=ids[:, start + 1 : start + time + 1], continues=start > 0
        )
        for start in range(0, num_batches * time, time)
    ]


def losses(objective: CarriedNextToken, model: CarryingModel, batches: list[StreamBatch]) -> list[float]:
    return [objective(model, batch)["loss"].item() for batch in batches]


def test_equals_one_long_pass(model: CarryingModel) -> None:
    """The losses of the pieces are those of a text read at once."""
    batches = streams(4)
    tokens, targets = (
        torch.from_numpy(np.concatenate([getattr(batch, name) for batch in batches], 1))
        for name in ("tokens", "targets")
    )
    expected = (
        F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), reduction="none").view(4, 4, 3).sum((0, 2))
    )
    assert losses(CarriedNextToken(), model, batches) == pytest.approx(expected.tolist(), rel=1e-5)


def test_gradients_stop_at_the_border(model: CarryingModel) -> None:
    """Those of the second piece are those with a given memory."""
    batches = streams(2)
    objective = CarriedNextToken()
    objective(model, batches[0])["loss"].backward()
    model.zero_grad()
    objective(model, batches[1])["loss"].backward()
    found = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    with torch.no_grad():
        _, memory = model.hidden_with_memory(model.embed(torch.from_numpy(batches[0].tokens)), model.new_memory(4))
    hidden, _ = model.hidden_with_memory(model.embed(torch.from_numpy(batches[1].tokens)), memory)
    targets = torch.from_numpy(batches[1].targets).flatten()
    F.cross_entropy(model.logits(hidden).flatten(0, 1), targets, reduction="sum").backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert found[name] is None
        else:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_parts_find_their_own_rows(model: CarryingModel, rows: int) -> None:
    whole = losses(CarriedNextToken(), model, streams(3))
    objective = CarriedNextToken()
    parts = [sum(losses(objective, model, split_rows(batch, rows))) for batch in streams(3)]
    assert parts == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(("before", "after"), [(4, 4), (2, 2), (2, 3), (3, 4)])
def test_the_stored_memory_goes_on(model: CarryingModel, before: int, after: int, tmp_path: Path) -> None:
    first, second = streams(4)[:2], streams(4)[2:]
    objective = CarriedNextToken()
    assert objective.state() == {}
    for batch in first:
        losses(objective, model, split_rows(batch, before))
    stored = {name: tensor.clone() for name, tensor in objective.state().items()}
    write_tensors(tmp_path / "memory", stored)
    other = CarriedNextToken()
    other.load_state(stored)
    # a memory that was loaded and not yet used is still there to be stored
    assert other.state().keys() == stored.keys()
    for batch in second:
        assert losses(objective, model, split_rows(batch, after)) == losses(other, model, split_rows(batch, after))


def test_a_loaded_memory_is_forgotten_where_a_batch_begins_anew(model: CarryingModel) -> None:
    objective = CarriedNextToken()
    expected = losses(objective, model, streams(2))
    losses(objective, model, streams(3))
    objective.load_state(objective.state())
    assert losses(objective, model, streams(2)) == expected


def test_measuring_leaves_the_training_memory_alone(model: CarryingModel) -> None:
    plain, disturbed = CarriedNextToken(), CarriedNextToken()
    batches = streams(3)
    expected = losses(plain, model, batches)
    found = losses(disturbed, model, batches[:2])
    model.eval()
    losses(disturbed, model, streams(5, rows=7))
    assert disturbed.state()["memory" if model.config.model_type == "textmill-nnlm" else "memory.0.0"].shape[0] == 4
    model.train()
    assert found + losses(disturbed, model, batches[2:]) == expected


def test_a_batch_that_continues_nothing(model: CarryingModel) -> None:
    with pytest.raises(DataError, match="continues another, of which nothing is remembered"):
        CarriedNextToken()(model, streams(2)[1])


def test_what_is_added_while_training() -> None:
    model = Lstm(LstmConfig(**SIZES), seed=1).train()
    objective, batch = CarriedNextToken(activation=2.0, temporal_activation=1.0), streams(1)[0]
    assert objective.weights == {"loss": 1.0, "activation": 2.0, "temporal_activation": 1.0}
    assert objective.counts(batch) == {"loss": 12, "activation": 12, "temporal_activation": 8}
    found = objective(model, batch)
    hidden = model.hidden(model.embed(torch.from_numpy(batch.tokens)))
    means = {
        "activation": hidden.square().mean(),
        "temporal_activation": (hidden[:, 1:] - hidden[:, :-1]).square().mean(),
    }
    for name, mean in means.items():
        torch.testing.assert_close(found[name] / objective.counts(batch)[name], mean)
    sum(found.values()).backward()
    # nothing of the graph stays with the model
    copy.deepcopy(model)
    model.eval()
    found = objective(model, batch)
    assert (found["activation"], found["temporal_activation"]) == (0, 0)
    assert found.keys() == objective.weights.keys()


def test_measuring_leaves_smoothing_out() -> None:
    model, batches = MODELS["gru"]().eval(), streams(3)
    objective = CarriedNextToken(label_smoothing=0.3, z_loss=0.1)
    found = [objective.measure(model, batch)[0]["loss"].item() for batch in batches]
    assert found == losses(CarriedNextToken(), model, batches)
    assert found != losses(objective, model, batches)


def test_a_weighted_sum_keeps_its_parts_memories() -> None:
    def weighted() -> Weighted:
        return Weighted({"a": (CarriedNextToken(), 1.0), "plain": (NextToken(), 1.0), "b": (CarriedNextToken(), 0.5)})

    model, batches = MODELS["gru"]().train(), streams(3)
    whole, rest = weighted(), weighted()
    for batch in batches[:2]:
        whole(model, batch)
    rest.load_state(whole.state())
    assert rest(model, batches[2]) == whole(model, batches[2])
    assert Weighted({"plain": (NextToken(), 1.0)}).state() == {}


def test_dropped_outputs_are_held_small_and_plain_ones_steady() -> None:
    """The first penalty sees what dropout left, the second what was there before."""
    model = Lstm(LstmConfig(**SIZES, output_dropout=0.5), seed=1).train()
    batch = streams(1)[0]
    torch.manual_seed(0)
    found = CarriedNextToken(activation=1.0, temporal_activation=1.0)(model, batch)
    torch.manual_seed(0)
    dropped = model.hidden(model.embed(torch.from_numpy(batch.tokens)))
    plain = model.eval().hidden(model.embed(torch.from_numpy(batch.tokens)))
    torch.testing.assert_close(found["activation"], dropped.square().mean(-1).sum())
    torch.testing.assert_close(found["temporal_activation"], (plain[:, 1:] - plain[:, :-1]).square().mean(-1).sum())


def test_refusals_and_its_text() -> None:
    with pytest.raises(ConfigError, match="activation must be >= 0, got -1"):
        CarriedNextToken(activation=-1)
    with pytest.raises(NotSupportedError, match="Nnlm has no recurrent layers"):
        CarriedNextToken(activation=1.0)(MODELS["nnlm"]().train(), streams(1)[0])
    assert repr(CarriedNextToken(z_loss=0.5)) == (
        "CarriedNextToken(label_smoothing=0.0, z_loss=0.5, activation=0.0, temporal_activation=0.0)"
    )
