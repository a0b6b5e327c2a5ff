"""Experts in a trunk: against the definition and the plain layer, their losses, and what must not happen."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from textmill.errors import ConfigError
from textmill.layers.attention import Pass, Sight
from textmill.layers.config import FeedForwardName, TransformerConfig
from textmill.layers.delta import IDENTITY, Delta
from textmill.layers.experts import Experts, GroupedCall, num_idle_parameters
from textmill.layers.experts_config import ExpertsConfig
from textmill.layers.feed_forward import ACTIVATIONS, FeedForward
from textmill.layers.routing import RoutingLog
from textmill.layers.segments import Segments
from textmill.layers.transformer import Transformer
from textmill.ops.experts import reference


def settings(feed_forward: FeedForwardName = "swiglu", *, bias: bool = False, **experts: Any) -> TransformerConfig:
    return TransformerConfig(
        num_layers=2, width=8, num_heads=2, num_kv_heads=2, head_dim=4, feed_forward_width=12, context_length=16,
        norm="rms", positions="rotary", feed_forward=feed_forward, bias=bias,
        experts=ExpertsConfig(**{"num_experts": 4, "top_k": 2, **experts}),
    )  # fmt: skip


def one_pass(real: Tensor | None = None, delta: Delta = IDENTITY) -> Pass:
    return Pass(delta=delta, cache=None, rotation=None, sight=Sight(None, True), real=real)


def layer_of(config: TransformerConfig) -> Experts:
    torch.manual_seed(0)
    layer = Experts(config, "blocks.0.feed_forward", 0)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.normal_(0.0, 0.5)
    return layer


def inputs(*shape: int) -> Tensor:
    return torch.randn(*(shape or (2, 7, 8)), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("capacity_factor", [None, 0.5])
@pytest.mark.parametrize("feed_forward", ["swiglu", "relu2"])
def test_layer_is_the_definition(normalise: bool, capacity_factor: float | None, feed_forward: FeedForwardName) -> None:
    layer = layer_of(settings(feed_forward, normalise=normalise, capacity_factor=capacity_factor))
    x = inputs().flatten(0, 1)
    probabilities = (x @ layer.router.weight.T).softmax(-1)
    weights, experts = probabilities.sort(descending=True)
    weights, experts = weights[:, :2], experts[:, :2]
    if normalise:
        weights = weights / weights.sum(1, keepdim=True)
    capacity = None if capacity_factor is None else reference.capacity_of(14, 2, 4, capacity_factor)
    gate = None if layer.gate is None else layer.gate.weight
    truth = reference.mixture(
        x, weights, experts, (gate, layer.up.weight, layer.down.weight), ACTIVATIONS[feed_forward][0], capacity
    )
    torch.testing.assert_close(layer(inputs(), one_pass()).flatten(0, 1), truth, rtol=1e-4, atol=1e-5)
    # measured on text, nothing is left out
    whole = layer.eval()(inputs(), one_pass()).flatten(0, 1)
    assert torch.allclose(whole, truth, rtol=1e-4, atol=1e-5) == (capacity is None)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("feed_forward", list(ACTIVATIONS))
def test_one_expert_is_the_plain_layer(feed_forward: FeedForwardName, bias: bool) -> None:
    config = settings(feed_forward, bias=bias, num_experts=1, top_k=1)
    layer, plain = layer_of(config), FeedForward(config, "blocks.0.feed_forward")
    plain.load_state_dict({name: w[0] for name, w in layer.state_dict().items() if not name.startswith("router")})
    results = []
    for one, extra in ((layer, one_pass()), (plain, IDENTITY)):
        x = inputs().requires_grad_()
        y = one(x, extra)
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, one.up.weight, one.down.weight])))
    for ours, its in zip(*results, strict=True):
        torch.testing.assert_close(ours.squeeze(), its.squeeze(), rtol=1e-4, atol=1e-4)


def test_a_shared_expert_is_added() -> None:
    layer = layer_of(settings(shared_width=5))
    assert layer.shared is not None
    without = copy.deepcopy(layer)
    without.shared = None
    expected = without(inputs(), one_pass()) + layer.shared(inputs(), IDENTITY)
    torch.testing.assert_close(layer(inputs(), one_pass()), expected)
    assert tuple(layer.shared.up.weight.shape) == (5, 8)


@pytest.mark.parametrize("bias", [False, True])
def test_a_token_s_output_depends_on_itself_alone(bias: bool) -> None:
    layer = layer_of(settings(bias=bias))
    whole = layer(inputs(), one_pass())
    for b in range(2):
        torch.testing.assert_close(layer(inputs()[b : b + 1, 3:5], one_pass()), whole[b : b + 1, 3:5])


def test_padding_is_not_routed() -> None:
    layer = layer_of(settings(capacity_factor=0.5, shared_width=3))
    x = inputs(2, 5, 8)
    real = torch.tensor([[False, False, True, True, True], [True] * 5])
    carried = one_pass(real)
    y = layer(x, carried)
    # rows of padding are zeros, and take no room from the others
    assert not y[~real].any()
    torch.testing.assert_close(y[real], layer(x[real].unsqueeze(0), one_pass())[0])
    assert carried.routed[0].logits.shape == (8, 4)
    nothing = layer(x, one_pass(torch.zeros_like(real)))
    assert not nothing.any()


@pytest.mark.parametrize("bias", [False, True])
def test_no_tokens(bias: bool) -> None:
    layer, carried = layer_of(settings(bias=bias, capacity_factor=0.5)), one_pass()
    y = layer(inputs(1, 0, 8), carried)
    assert y.shape == (1, 0, 8)
    y.sum().backward()
    assert layer.up.weight.grad is not None
    assert not layer.up.weight.grad.any()
    log = RoutingLog(carried.routed)
    assert [float(loss.detach()) for loss in log.losses().values()] == [0, 0]
    assert log.load()[0].share.tolist() == [0, 0, 0, 0]


def test_jitter_moves_the_router_alone_and_follows_the_seed() -> None:
    layer, still = layer_of(settings(jitter=0.3)), layer_of(settings())
    assert torch.equal(layer.eval()(inputs(), one_pass()), still(inputs(), one_pass()))
    layer.train()
    seen = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        carried = one_pass()
        seen.append((layer(inputs(), carried), carried.routed[0].logits))
    assert torch.equal(seen[0][0], seen[1][0])
    assert not torch.equal(seen[0][1], seen[2][1])


# --- in a trunk


def trunk_of(**experts: Any) -> Transformer:
    torch.manual_seed(2)
    return Transformer(settings(**experts))


def test_losses_are_the_papers_equations() -> None:
    trunk = trunk_of()
    trunk(inputs())
    balance = z = 0.0
    for routed in trunk.routing.layers:
        T, E = routed.logits.shape
        p = routed.logits.detach().softmax(-1)
        # Switch, eq. 5: the share of choices; eq. 6: the mean probability; eq. 4
        f = [sum(int(e == i) for e in routed.experts.flatten()) / (2 * T) for i in range(E)]
        P = [float(p[:, i].mean()) for i in range(E)]
        balance += T * E * sum(a * b for a, b in zip(f, P, strict=True))
        # ST-MoE, eq. 5
        z += sum(float(row.exp().sum().log()) ** 2 for row in routed.logits.detach())
    losses = trunk.router_losses()
    assert set(losses) == {"balance", "router_z"}
    assert float(losses["balance"].detach()) == pytest.approx(balance, rel=1e-5)
    assert float(losses["router_z"].detach()) == pytest.approx(z, rel=1e-5)


def test_balance_is_transformers_loss_over_k() -> None:
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    trunk = trunk_of()
    trunk(inputs())
    for number, routed in enumerate(trunk.routing.layers):
        theirs = load_balancing_loss_func((routed.logits,), 4, 2)
        ours = RoutingLog([trunk.routing.layers[number]]).losses()["balance"]
        torch.testing.assert_close(ours / len(routed.logits), theirs / 2)


def test_sums_of_z_add_up_over_parts() -> None:
    trunk = trunk_of()
    whole = (trunk(inputs()), trunk.router_losses())[1]
    parts = [(trunk(inputs()[b : b + 1]), trunk.router_losses())[1] for b in range(2)]
    torch.testing.assert_close(parts[0]["router_z"] + parts[1]["router_z"], whole["router_z"])
    # balance is a mean over the part times its tokens: of the same size, though not the same
    torch.testing.assert_close(parts[0]["balance"] + parts[1]["balance"], whole["balance"], rtol=0.3, atol=0)


@pytest.mark.parametrize("what", ["feed_forward", "block"])
@pytest.mark.parametrize("experts", [{}, {"capacity_factor": 0.7, "jitter": 0.2, "shared_width": 3}])
def test_recompute_changes_nothing(what: Any, experts: dict[str, Any]) -> None:
    results = []
    for recompute in ("none", what):
        trunk = trunk_of(**experts)
        trunk.recompute = recompute
        torch.manual_seed(9)
        y = trunk(inputs())
        losses = trunk.router_losses()
        assert len(trunk.routing.layers) == 2
        total = y.square().sum() + losses["balance"] + 0.1 * losses["router_z"]
        total.backward()
        assert len(trunk.routing.layers) == 2
        results.append((total, *(weight.grad for weight in trunk.parameters())))
    for ours, its in zip(*results, strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_every_weight_has_a_gradient_even_of_an_expert_without_tokens(bias: bool) -> None:
    trunk = Transformer(settings(bias=bias))
    block: Any
    with torch.no_grad():
        for block in trunk.blocks:
            # of four equal experts always the same two are taken
            block.feed_forward.router.weight.zero_()
    trunk(inputs()).sum().backward()
    assert all(load.share.min() == 0 for load in trunk.expert_load())
    for name, weight in trunk.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


def test_load_tells_dead_experts_and_what_was_dropped() -> None:
    trunk = trunk_of(capacity_factor=0.5)
    with torch.no_grad():
        trunk.blocks[1].feed_forward.router.weight.zero_()  # type: ignore[union-attr,operator]
    trunk(inputs(1, 8, 8))
    for load, routed in zip(trunk.expert_load(), trunk.routing.layers, strict=True):
        assert load.share.tolist() == [float((routed.experts == e).sum()) / 16 for e in range(4)]
        room = reference.kept(routed.experts, capacity=2)
        assert load.dropped == 1 - float(room.float().mean())
        assert not load.share.requires_grad
    # no preference: the same two experts take all
    last = trunk.expert_load()[1]
    assert (last.layer, sorted(last.share.tolist()), last.dropped) == (1, [0, 0, 0.5, 0.5], 0.75)
    trunk.eval()(inputs())
    assert [load.dropped for load in trunk.expert_load()] == [0, 0]


def test_a_trunk_without_experts_has_no_losses_and_no_load() -> None:
    trunk = Transformer(TransformerConfig(
        num_layers=1, width=8, num_heads=2, num_kv_heads=2, head_dim=4, feed_forward_width=12, context_length=16
    ))  # fmt: skip
    trunk(inputs())
    assert (trunk.router_losses(), trunk.expert_load()) == ({}, [])


def test_a_trunk_is_copied_after_a_pass() -> None:
    trunk = trunk_of()
    trunk(inputs())
    copied = copy.deepcopy(trunk)
    assert copied.router_losses() == {}
    assert torch.equal(copied(inputs()), trunk(inputs()))


def test_unpadded_rows_give_the_same() -> None:
    trunk = trunk_of().eval()
    x = inputs(1, 9, 8)
    flat = trunk(x, segments=Segments.of(torch.tensor([0, 4, 9]), x.device))
    for first, last in ((0, 4), (4, 9)):
        torch.testing.assert_close(flat[:, first:last], trunk(x[:, first:last]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    trunk = trunk_of()
    with torch.no_grad():
        expected = trunk(inputs())
    logits = trunk.routing.layers[0].logits
    y = trunk.to(dtype)(inputs().to(dtype))
    assert y.dtype == dtype
    assert trunk.routing.layers[0].logits.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(trunk.routing.layers[0].logits.detach().float(), logits, rtol=0.05, atol=0.05)
    assert float((y.detach().float() - expected).norm() / expected.norm()) < 0.1


@pytest.mark.parametrize("bias", [False, True])
def test_autocast(bias: bool) -> None:
    layer = layer_of(settings(bias=bias))
    expected = layer(inputs(), one_pass())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        carried = one_pass()
        y = layer(inputs(), carried)
    assert y.dtype == torch.bfloat16
    assert carried.routed[0].logits.dtype == torch.float32
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.1)
    y.float().sum().backward()
    assert layer.up.weight.grad is not None
    assert layer.up.weight.grad.dtype == torch.float32


class Seen(Delta):
    """A light method that notes its sites, and doubles the router's and the experts' products."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: list[str] = []

    def linear(self, site: str, layer: nn.Module, x: Tensor) -> Tensor:
        self.sites.append(site)
        if isinstance(layer, GroupedCall):
            # what a method needs to add its own small matrix to each expert
            assert layer.groups.bounds[-1][1] == len(x) == 28
            assert len(layer.stack.weight) == 4
        return 2 * layer(x)


@pytest.mark.parametrize("feed_forward", ["swiglu", "gelu"])
def test_a_delta_is_asked_at_every_product(feed_forward: FeedForwardName) -> None:
    layer, delta = layer_of(settings(feed_forward)), Seen()
    y = layer(inputs(), one_pass(delta=delta))
    doubled = copy.deepcopy(layer)
    with torch.no_grad():
        for weight in doubled.parameters():
            weight.mul_(2)
    torch.testing.assert_close(y, doubled(inputs(), one_pass()), rtol=1e-4, atol=1e-4)
    names = ["router", "up", "gate", "down"] if layer.gate else ["router", "up", "down"]
    assert delta.sites == [f"blocks.0.feed_forward.{name}" for name in names]
    # and the identity by the same way
    plain = type("Plain", (Delta,), {"linear": lambda self, site, layer, x: layer(x)})()
    torch.testing.assert_close(layer(inputs(), one_pass(delta=plain)), layer(inputs(), one_pass()))


def test_idle_parameters() -> None:
    trunk = trunk_of(shared_width=5)
    # two of four experts, three matrices of 8 x 12, two layers
    assert num_idle_parameters(trunk) == 2 * 3 * 8 * 12 * 2
    assert num_idle_parameters(trunk_of(top_k=4)) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_experts": 0}, "num_experts must be at least 1, got 0"),
        ({"num_experts": 4, "top_k": 5}, "top_k must be from 1 to the number of experts, got 5 of 4"),
        ({"top_k": 0}, "got 0 of 8"),
        ({"capacity_factor": 0.0}, "capacity_factor must be > 0, got 0.0"),
        ({"capacity_factor": float("nan")}, "capacity_factor must be > 0, got nan"),
        ({"jitter": 1.0}, r"jitter must be in \[0, 1\), got 1.0"),
        ({"shared_width": 0}, "shared_width must be at least 1, got 0"),
        ({"balance": -0.1}, "balance must be >= 0, got -0.1"),
        ({"router_z": -1.0}, "router_z must be >= 0"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExpertsConfig(**wrong)


def test_a_router_that_could_not_learn_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="every weight is 1, so the router learns nothing"):
        ExpertsConfig(top_k=1)
