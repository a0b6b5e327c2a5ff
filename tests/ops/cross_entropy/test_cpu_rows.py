"""The kernel over rows of logits against torch's own cross-entropy."""

import pytest
import torch
import torch.nn.functional as F

from textmill.ops.cross_entropy import cpu, linear_cross_entropy
from textmill.ops.cross_entropy.cpu_rows import LANES, ROWS, losses_and_gradients

SIZES = [(1, 1), (3, LANES - 1), (2, LANES), (ROWS + 1, LANES + 1), (2 * ROWS + 3, 5 * LANES + 7)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "vocabulary"), SIZES)
def test_equals_torch(rows: int, vocabulary: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rows)
    logits = (10 * torch.randn(rows, vocabulary, generator=generator)).to(dtype)
    targets = torch.randint(vocabulary, (rows,), generator=generator)
    exact = logits.double().requires_grad_()
    expected = F.cross_entropy(exact, targets, reduction="none")
    expected.sum().backward()
    losses = losses_and_gradients(logits, targets)
    torch.testing.assert_close(losses, expected.detach().float(), rtol=1e-5, atol=1e-5)
    precision = 1e-5 if dtype == torch.float32 else 5e-3
    torch.testing.assert_close(logits.double(), exact.grad, rtol=precision, atol=precision * 0.1)


def test_large_logits_neither_overflow_nor_lose_the_loss() -> None:
    logits = torch.tensor([[300.0, -300.0, 0.0]])
    assert losses_and_gradients(logits, torch.tensor([1])).tolist() == [600.0]
    torch.testing.assert_close(logits, torch.tensor([[1.0, -1.0, 0.0]]))


def test_a_number_that_is_none_stays_visible() -> None:
    logits = torch.tensor([[1.0, float("nan"), 0.0], [1.0, 2.0, 3.0]])
    losses = losses_and_gradients(logits, torch.tensor([0, 0]))
    assert losses.isnan().tolist() == [True, False]
    assert bool(logits[0].isnan().any())


def test_a_target_outside_is_refused_before_the_kernel() -> None:
    with pytest.raises(AssertionError, match="a target outside the vocabulary"):
        losses_and_gradients(torch.zeros(1, 4), torch.tensor([4]))


def test_the_kernel_is_used_where_gradients_are_wanted_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(
        "textmill.ops.cross_entropy.cpu_rows.losses_and_gradients",
        lambda logits, targets: seen.append(len(targets)) or torch.zeros(len(logits)),
    )
    weight, targets = torch.ones(5, 2), torch.tensor([0, 4, 1])
    hidden = torch.ones(3, 2, requires_grad=True)
    linear_cross_entropy(hidden, weight, targets)
    assert seen == [3]
    linear_cross_entropy(hidden.detach(), weight, targets)
    linear_cross_entropy(hidden, weight, targets, label_smoothing=0.1)
    linear_cross_entropy(hidden.double(), weight.double(), targets)
    assert seen == [3]
    assert not cpu._kernels_serve(torch.zeros(1, 1, dtype=torch.float64))
