"""The kernel in its chunked loss against the definition in float64."""

from typing import Any

import pytest
import torch

from textmill.errors import ConfigError
from textmill.ops.cross_entropy import IGNORED, linear_cross_entropy, reference

OPTIONS: list[dict[str, float]] = [
    {},
    {"softcap": 3.0},
    {"label_smoothing": 0.1},
    {"z_loss": 0.01},
    {"softcap": 2.0, "label_smoothing": 0.2, "z_loss": 0.02},
]
# the interpreter cuts numbers off at bf16 where a GPU rounds them
TOLERANCE = {torch.float32: 3e-6, torch.bfloat16: 2e-2}


@pytest.fixture
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks of rows, and rows of several blocks, the last ones partial."""
    from textmill.ops.cross_entropy import gpu

    monkeypatch.setattr(gpu, "CHUNK_BYTES", 600)
    monkeypatch.setattr(gpu, "BLOCK", 8)


def problem(rows: int, vocabulary: int, width: int, device: torch.device) -> list[torch.Tensor]:
    """hidden, weight, targets and bias."""
    generator = torch.Generator().manual_seed(rows * 100 + vocabulary)
    shapes = (rows, width), (vocabulary, width), (vocabulary,)
    hidden, weight, bias = (torch.randn(s, generator=generator).to(device).requires_grad_() for s in shapes)
    return [hidden, weight, torch.randint(vocabulary, (rows,), generator=generator).to(device), bias]


def compare(inputs: list[torch.Tensor], dtype: torch.dtype = torch.float32, **options: Any) -> None:
    """Loss and gradients against the definition, with a gradient other than 1 from above."""
    hidden, weight, targets, bias = inputs
    ours = [part.detach().to(dtype).requires_grad_() for part in (hidden, weight, bias)]
    exact = [part.detach().double().requires_grad_() for part in ours]
    loss = linear_cross_entropy(ours[0], ours[1], targets, ours[2], **options)
    truth = reference.linear_cross_entropy(exact[0], exact[1], targets, exact[2], **options)
    assert loss.dtype == torch.float32
    mine = [loss, *torch.autograd.grad(0.5 * loss, ours)]
    its = [truth, *torch.autograd.grad(0.5 * truth, exact)]
    for a, b in zip(mine, its, strict=True):
        assert float((a.detach().double() - b.detach()).norm() / b.detach().norm()) < TOLERANCE[dtype]
    assert all(grad.dtype == dtype for grad in mine[1:])


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_the_definition(options: dict[str, Any], device: torch.device) -> None:
    inputs = problem(5, 17, 5, device)
    inputs[2][2::4] = IGNORED
    compare(inputs, **options)


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("shape", [(1, 2, 1), (1, 7, 3), (4, 32, 4)])
def test_one_row_and_odd_sizes(shape: tuple[int, int, int], device: torch.device) -> None:
    compare(problem(*shape, device), **OPTIONS[-1])


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[-1]])
def test_bfloat16_is_near(options: dict[str, Any], device: torch.device) -> None:
    compare(problem(5, 21, 16, device), torch.bfloat16, **options)


def test_a_large_vocabulary_in_its_own_blocks(device: torch.device) -> None:
    compare(problem(3, 9001, 2, device), **OPTIONS[-1])


@pytest.mark.usefixtures("_small_pieces")
def test_large_logits_that_rise_and_fall(device: torch.device) -> None:
    """The greatest logit changes from block to block, by more than fp32's exponentials reach."""
    weight = torch.tensor([[300.0 * ((7 * i) % 31 - 15)] for i in range(31)], device=device)
    hidden, targets = torch.tensor([[1.0], [-1.0]], device=device), torch.tensor([30, 4], device=device)
    loss = linear_cross_entropy(hidden, weight, targets)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum"))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_to_predict(rows: int, device: torch.device) -> None:
    hidden, weight, targets, bias = problem(rows, 7, 3, device)
    loss = linear_cross_entropy(hidden, weight, targets.fill_(IGNORED), bias)
    grads = torch.autograd.grad(loss, (hidden, weight, bias))
    assert loss.item() == 0
    assert [grad.shape for grad in grads] == [hidden.shape, weight.shape, bias.shape]
    assert not any(grad.any() for grad in grads)


@pytest.mark.usefixtures("poisoned", "_small_pieces")
def test_memory_is_written_before_it_is_read(device: torch.device) -> None:
    hidden, weight, targets, _ = problem(5, 13, 3, device)
    loss = linear_cross_entropy(hidden, weight, targets)
    assert all(part.isfinite().all() for part in (loss, *torch.autograd.grad(loss, (hidden, weight))))


def test_no_gradient_is_the_same_loss_and_keeps_no_graph(device: torch.device) -> None:
    hidden, weight, targets, bias = problem(4, 9, 4, device)
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, targets, bias)
    assert not loss.requires_grad
    assert torch.equal(loss, linear_cross_entropy(hidden, weight, targets, bias).detach())


def test_only_the_gradients_that_are_wanted(device: torch.device) -> None:
    hidden, weight, targets, _ = problem(4, 9, 4, device)
    linear_cross_entropy(hidden, weight.detach(), targets).backward()
    assert hidden.grad is not None
    linear_cross_entropy(hidden.detach(), weight, targets).backward()
    assert weight.grad is not None


@pytest.mark.parametrize("bad", [9, -1, 1 << 40])
def test_a_target_outside_the_vocabulary_is_no_number(bad: int, device: torch.device) -> None:
    """A CPU says so at once; here nobody waits, and training refuses the loss."""
    from textmill.ops.cross_entropy import gpu
    from textmill.ops.cross_entropy.cpu import Settings

    logits, losses = torch.zeros(2, 9, device=device), torch.zeros(2, device=device)
    settings = Settings(softcap=None, label_smoothing=0.0, z_loss=0.0)
    gpu.losses_and_gradients(logits, torch.tensor([1, bad], device=device), losses, settings, with_gradients=True)
    assert losses.isnan().tolist() == [False, True]


def test_bad_options(device: torch.device) -> None:
    hidden, weight, targets, _ = problem(3, 4, 2, device)
    with pytest.raises(ConfigError, match=r"softcap must be > 0, got 0\.0"):
        linear_cross_entropy(hidden, weight, targets, softcap=0.0)
