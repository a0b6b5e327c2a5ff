"""The routers' losses beside an objective: keys, counts and sums; parts of a batch; who may ask."""

import numpy as np
import pytest
import torch

from textmill.data.batches import Batch
from textmill.errors import ConfigError
from textmill.layers.experts_config import ExpertsConfig
from textmill.models import GPT, GPTConfig, Mixtral, MixtralConfig
from textmill.objectives import NextToken, Weighted
from textmill.objectives.router import WithRouterLosses, with_router_losses
from textmill.training.evaluation import HeldOut


@pytest.fixture
def model() -> Mixtral:
    experts = ExpertsConfig(num_experts=3, balance=0.02, router_z=0.0)
    return Mixtral(MixtralConfig(vocab_size=11, width=8, num_layers=2, num_heads=2, context_length=6, experts=experts))


@pytest.fixture
def batch() -> Batch:
    tokens = np.random.default_rng(0).integers(0, 11, (3, 6))
    targets = np.roll(tokens, -1, 1)
    targets[:, -1] = -100
    return Batch(tokens=tokens, targets=targets)


def test_keys_counts_and_weights_agree(model: Mixtral, batch: Batch) -> None:
    objective = WithRouterLosses(NextToken(), balance=0.5, router_z=0.25)
    losses = objective(model, batch)
    assert objective.weights == {"loss": 1.0, "balance": 0.5, "router_z": 0.25}
    # 15 targets, but 18 tokens that were routed
    assert objective.counts(batch) == {"loss": 15, "balance": 18, "router_z": 18}
    assert set(losses) == set(objective.weights)
    assert torch.equal(losses["loss"], NextToken()(model, batch)["loss"])
    assert torch.equal(losses["balance"], model.trunk.router_losses()["balance"])
    # two layers of an untrained router: little preference yet
    assert float(losses["balance"].detach()) / 18 == pytest.approx(2.0, rel=0.1)


def test_a_weight_of_zero_leaves_its_key_out(model: Mixtral, batch: Batch) -> None:
    objective = with_router_losses(NextToken(), model)
    assert isinstance(objective, WithRouterLosses)
    assert objective.weights == {"loss": 1.0, "balance": 0.02}
    assert set(objective(model, batch)) == set(objective.counts(batch)) == {"loss", "balance"}


def test_router_z_of_parts_adds_up(model: Mixtral, batch: Batch) -> None:
    objective = WithRouterLosses(NextToken())
    parts = [Batch(tokens=batch.tokens[rows], targets=batch.targets[rows]) for rows in (slice(0, 1), slice(1, 3))]
    whole = objective(model, batch)
    sums = [objective(model, part) for part in parts]
    for key in ("loss", "router_z"):
        torch.testing.assert_close(sum(one[key] for one in sums), whole[key], rtol=1e-5, atol=1e-5)


def test_the_routers_learn_from_the_losses(model: Mixtral, batch: Batch) -> None:
    losses = WithRouterLosses(NextToken())(model, batch)
    for key in ("balance", "router_z"):
        grads = torch.autograd.grad(
            losses[key], [block.feed_forward.router.weight for block in model.trunk.blocks], retain_graph=True
        )
        assert all(grad.any() for grad in grads)


def test_held_out_figures_of_the_text_are_the_objective_s_own(model: Mixtral, batch: Batch) -> None:
    plain = HeldOut(objective=NextToken(), batches=lambda: [batch], num_bytes=40)(model)
    both = HeldOut(objective=WithRouterLosses(NextToken()), batches=lambda: [batch], num_bytes=40)(model)
    for key in ("tokens", "bits_per_byte", "perplexity"):
        assert both[key] == plain[key]
    assert both["balance"] > 0


def test_beside_a_weighted_sum(model: Mixtral, batch: Batch) -> None:
    parts = Weighted({"a": (NextToken(), 1.0), "b": (NextToken(label_smoothing=0.1), 0.5)})
    losses = WithRouterLosses(parts)(model, batch)
    assert set(losses) == {"a", "b", "balance", "router_z"}


def test_a_model_without_experts(batch: Batch) -> None:
    gpt = GPT(GPTConfig(vocab_size=11, width=8, num_layers=1, num_heads=2, context_length=6))
    plain = NextToken()
    assert with_router_losses(plain, gpt) is plain
    with pytest.raises(ConfigError, match="the model has no experts"):
        WithRouterLosses(plain)(gpt, batch)


def test_a_negative_weight() -> None:
    with pytest.raises(ConfigError, match=r"weight of 'balance' must be >= 0, got -0\.1"):
        WithRouterLosses(NextToken(), balance=-0.1)
