"""The chunked cross-entropy against its definition, loops, and finite differences."""

import math
from typing import Any

import pytest
import torch

from textmill.errors import ConfigError
from textmill.ops.cross_entropy import IGNORED, cpu, linear_cross_entropy, reference

OPTIONS: list[dict[str, float]] = [
    {},
    {"softcap": 3.0},
    {"label_smoothing": 0.1},
    {"z_loss": 0.01},
    {"softcap": 2.0, "label_smoothing": 0.2, "z_loss": 0.02},
]


@pytest.fixture
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks of several blocks each, the last ones partial."""
    monkeypatch.setattr(cpu, "CHUNK_BYTES", 600)
    monkeypatch.setattr(cpu, "BLOCK_BYTES", 200)
    monkeypatch.setattr(cpu, "LEAST_CHUNK_ROWS", 3)


def problem(rows: int, vocabulary: int, width: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(rows * 100 + vocabulary)
    hidden = torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(vocabulary, width, generator=generator, dtype=torch.float64).to(dtype)
    bias = torch.randn(vocabulary, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randint(vocabulary, (rows,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), targets, bias.requires_grad_()


def value_and_gradients(function: Any, inputs: tuple[torch.Tensor, ...], **options: Any) -> list[torch.Tensor]:
    leaves = [inputs[0], inputs[1], inputs[3]]
    for leaf in leaves:
        leaf.grad = None
    loss = function(*inputs, **options)
    # an upstream gradient other than 1
    (loss * 0.5).backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def test_definition_by_loops() -> None:
    hidden, weight, targets, bias = (t.detach() for t in problem(4, 5, 3, torch.float64))
    targets[1] = IGNORED
    total = 0.0
    for row in range(4):
        if int(targets[row]) == IGNORED:
            continue
        logits = [sum(float(hidden[row, k] * weight[v, k]) for k in range(3)) + float(bias[v]) for v in range(5)]
        logits = [2.0 * math.tanh(logit / 2.0) for logit in logits]
        log_z = math.log(sum(math.exp(logit) for logit in logits))
        for v in range(5):
            probability = 0.9 * (v == int(targets[row])) + 0.1 / 5
            total -= probability * (logits[v] - log_z)
        total += 0.3 * log_z**2
    options: dict[str, Any] = {"softcap": 2.0, "label_smoothing": 0.1, "z_loss": 0.3}
    for function in (reference.linear_cross_entropy, linear_cross_entropy):
        assert float(function(hidden, weight, targets, bias, **options)) == pytest.approx(total, rel=1e-12)


@pytest.mark.usefixtures("_small_chunks")
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 3), (13, 17, 5), (37, 11, 4)])
def test_equals_reference(shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    inputs = problem(*shape)
    inputs[2][2::4] = IGNORED
    ours = value_and_gradients(linear_cross_entropy, inputs, **options)
    theirs = value_and_gradients(reference.linear_cross_entropy, inputs, **options)
    for mine, definition in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, definition, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("_small_chunks")
@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_by_finite_differences(options: dict[str, Any]) -> None:
    hidden, weight, targets, bias = problem(9, 11, 3, torch.float64)
    targets[3] = IGNORED
    assert torch.autograd.gradcheck(
        lambda h, w, b: linear_cross_entropy(h, w, targets, b, **options), (hidden, weight, bias)
    )


def test_equals_torch_with_large_logits() -> None:
    hidden, weight, targets, _ = problem(50, 33, 8)
    loss = linear_cross_entropy(hidden * 100, weight, targets)
    theirs = torch.nn.functional.cross_entropy(hidden * 100 @ weight.T, targets, reduction="sum")
    torch.testing.assert_close(loss, theirs)


@pytest.mark.parametrize("rows", [0, 5])
def test_nothing_to_predict(rows: int) -> None:
    hidden, weight, targets, bias = problem(rows, 7, 3)
    targets.fill_(IGNORED)
    loss, *gradients = value_and_gradients(linear_cross_entropy, (hidden, weight, targets, bias))
    assert float(loss) == 0
    assert [grad.shape for grad in gradients] == [hidden.shape, weight.shape, bias.shape]
    assert all(float(grad.abs().sum()) == 0 for grad in gradients)


@pytest.mark.parametrize("dtypes", [(torch.bfloat16, torch.bfloat16), (torch.bfloat16, torch.float32)])
@pytest.mark.usefixtures("_small_chunks")
def test_bfloat16_is_near_float32(dtypes: tuple[torch.dtype, torch.dtype]) -> None:
    hidden, weight, targets, bias = problem(64, 40, 16)
    low = [
        t.detach().to(dtype).requires_grad_()
        for t, dtype in ((hidden, dtypes[0]), (weight, dtypes[1]), (bias, dtypes[1]))
    ]
    exact = [t.detach().float().requires_grad_() for t in low]
    ours = value_and_gradients(linear_cross_entropy, (low[0], low[1], targets, low[2]))
    theirs = value_and_gradients(reference.linear_cross_entropy, (exact[0], exact[1], targets, exact[2]))
    assert ours[0].dtype == torch.float32
    assert [grad.dtype for grad in ours[1:]] == [dtypes[0], dtypes[1], dtypes[1]]
    for mine, definition in zip(ours, theirs, strict=True):
        assert float((mine.float() - definition).norm() / definition.norm()) < 0.01


def test_no_gradient_is_the_same_loss_and_keeps_no_graph() -> None:
    hidden, weight, targets, bias = problem(20, 9, 4)
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, targets, bias)
    assert not loss.requires_grad
    assert torch.equal(loss, linear_cross_entropy(hidden, weight, targets, bias).detach())


def test_only_the_gradients_that_are_wanted() -> None:
    hidden, weight, targets, _ = problem(20, 9, 4)
    linear_cross_entropy(hidden, weight.detach(), targets).backward()
    assert hidden.grad is not None
    linear_cross_entropy(hidden.detach(), weight, targets).backward()
    assert weight.grad is not None


def test_autocast_follows_hidden() -> None:
    hidden, weight, targets, _ = problem(20, 9, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, targets)
    assert torch.equal(loss, linear_cross_entropy(hidden, weight, targets))


def test_never_holds_all_logits() -> None:
    rows, vocabulary = 20_000, 4_096
    hidden, weight = torch.randn(rows, 4, requires_grad=True), torch.randn(vocabulary, 4, requires_grad=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        linear_cross_entropy(hidden, weight, torch.zeros(rows, dtype=torch.int64)).backward()
    allocations = [event.cpu_memory_usage for event in profile.events() if event.name == "aten::empty"]
    assert allocations
    assert max(allocations) <= max(cpu.CHUNK_BYTES, cpu.LEAST_CHUNK_ROWS * vocabulary * 4) < rows * vocabulary * 4 / 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"softcap": 0.0}, r"softcap must be > 0, got 0\.0.*Fix: use 15 to 50"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1\.0"),
        ({"z_loss": -1.0}, r"z_loss must be >= 0, got -1\.0"),
    ],
)
def test_bad_options(change: dict[str, Any], message: str) -> None:
    hidden, weight, targets, _ = problem(3, 4, 2)
    with pytest.raises(ConfigError, match=message):
        linear_cross_entropy(hidden, weight, targets, **change)


@pytest.mark.parametrize("bad", [4, -1])
def test_target_outside_the_vocabulary(bad: int) -> None:
    hidden, weight, targets, _ = problem(3, 4, 2)
    targets[1] = bad
    with pytest.raises(ConfigError, match=r"targets must be in \[0, 4\) or -100.*vocabulary size of the tokenizer"):
        linear_cross_entropy(hidden, weight, targets)
