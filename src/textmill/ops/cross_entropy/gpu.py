"""Linear layer and cross-entropy in one on CUDA, chunk by chunk: torch's matrix products and, between, a Triton kernel.

As in `cpu.py`, which has the formulas: the logits of a chunk of rows are formed, turned into the gradient in place,
multiplied into the gradients of `hidden` and `weight`, and overwritten by the next chunk's. Here one kernel reads a row
of logits twice and writes it once: an online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867, algorithm 3) finds
the greatest logit and the sum of exponentials in one pass, the second pass makes the gradient.

The host waits for nothing. So rows whose target is IGNORED stay where they are, with a loss and a gradient of zero, and
a target outside the vocabulary is no error but a loss of NaN, which training refuses.

Legend: N rows, C rows of a chunk, W width, V vocabulary.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from textmill.ops.cross_entropy.cpu import Settings, add_product, check
from textmill.ops.cross_entropy.reference import IGNORED

CHUNK_BYTES = 256 << 20
"""Logits held at once: large products keep a GPU busy, and the weight's gradient is added to less often."""
ALIGNMENT = 64
"""Rows of logits begin at multiples of so many numbers: a vocabulary such as GPT-2's 50257, an odd number, would have
the products read and write in units of 2 bytes."""
BLOCK = 4096
"""Logits of a row that a program holds at once: 16 for each of its 256 threads."""


@triton.jit
def _capped(x, softcap):
    """softcap * tanh(x / softcap), tanh by the logistic function, which every Triton has."""
    return softcap * (2.0 * tl.sigmoid(2.0 * x / softcap) - 1.0)


@triton.jit
def _row(
    logits_CV, targets_C, losses_C, stride, V, softcap, smoothing, z_loss,
    IGNORED: tl.constexpr, CAPPED: tl.constexpr, WITH_GRADIENTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row of logits: its loss is written, and the logits become the loss's gradient."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(targets_C + row)
    logits = logits_CV + row * stride
    columns = tl.arange(0, BLOCK)
    if target == IGNORED:
        tl.store(losses_C + row, 0.0)
        if WITH_GRADIENTS:
            for first in range(0, V, BLOCK):
                tl.store(logits + first + columns, tl.zeros([BLOCK], tl.float32), mask=first + columns < V)
        return
    greatest, total, all_logits, target_logit = float("-inf"), 0.0, 0.0, 0.0
    for first in range(0, V, BLOCK):
        inside = first + columns < V
        x = tl.load(logits + first + columns, mask=inside, other=0.0).to(tl.float32)
        if CAPPED:
            x = _capped(x, softcap)
        all_logits += tl.sum(tl.where(inside, x, 0.0), 0)
        # found by comparison: a target outside the vocabulary is never an address
        target_logit += tl.sum(tl.where(inside & (first + columns == target), x, 0.0), 0)
        x = tl.where(inside, x, float("-inf"))
        greater = tl.maximum(greatest, tl.max(x, 0))
        # the sum so far, as exponentials of differences to the new greatest logit
        total = total * tl.exp(greatest - greater) + tl.sum(tl.exp(x - greater), 0)
        greatest = greater
    log_normaliser = greatest + tl.log(total)
    loss = log_normaliser - (1.0 - smoothing) * target_logit - smoothing * all_logits / V
    loss += z_loss * log_normaliser * log_normaliser
    tl.store(losses_C + row, tl.where((target >= 0) & (target < V), loss, float("nan")))
    if WITH_GRADIENTS:
        scale = (1.0 + 2.0 * z_loss * log_normaliser) / total
        for first in range(0, V, BLOCK):
            inside = first + columns < V
            x = tl.load(logits + first + columns, mask=inside, other=0.0).to(tl.float32)
            slope = 1.0
            if CAPPED:
                x = _capped(x, softcap)
                # d (c tanh(x / c)) / dx = 1 - tanh(x / c)^2
                slope = 1.0 - (x / softcap) * (x / softcap)
            grad = tl.exp(x - greatest) * scale - smoothing / V
            grad -= tl.where(first + columns == target, 1.0 - smoothing, 0.0)
            tl.store(logits + first + columns, grad * slope, mask=inside)


def linear_cross_entropy(
    hidden: Float[Tensor, "N W"],
    weight: Float[Tensor, "V W"],
    targets: Int[Tensor, " N"],
    bias: Float[Tensor, " V"] | None = None,
    *,
    softcap: float | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Float[Tensor, ""]:
    """Sum over the rows whose target isn't IGNORED of -log softmax(hidden @ weight.T + bias)[target], in nats.

    Equals `reference.linear_cross_entropy`, and has no second derivative. NaN if a target is outside the vocabulary.

    Raises:
        ConfigError: a softcap or z-loss below 0, a smoothing outside [0, 1).
    """
    check(targets, len(weight), softcap, label_smoothing, z_loss)
    assert targets.shape == hidden.shape[:1], "a target for each row"
    assert targets.dtype == torch.int64
    assert targets.device == hidden.device == weight.device
    settings = Settings(softcap=softcap, label_smoothing=label_smoothing, z_loss=z_loss)
    # autocast would cast the products inside; here they follow the dtype of `hidden`
    with torch.autocast(hidden.device.type, enabled=False):
        weight = weight.to(hidden.dtype)
        bias = None if bias is None else bias.to(hidden.dtype)
        loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, bias, settings, torch.is_grad_enabled())
        return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        bias: Tensor | None,
        settings: Settings,
        with_gradients: bool,
    ) -> Tensor:
        wanted = [with_gradients and needed for needed in ctx.needs_input_grad]
        grad_hidden = torch.empty_like(hidden) if wanted[0] else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted[1] else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and wanted[3] else None
        losses = hidden.new_empty(len(hidden), dtype=torch.float32)
        stride = -(-len(weight) // ALIGNMENT) * ALIGNMENT
        rows = min(len(hidden), max(1, CHUNK_BYTES // (stride * hidden.element_size())))
        buffer_CV = hidden.new_empty(rows, stride)[:, : len(weight)]
        for first in range(0, len(hidden), max(1, rows)):
            here = slice(first, first + rows)
            hidden_CW = hidden[here]
            logits_CV = torch.mm(hidden_CW, weight.T, out=buffer_CV[: len(hidden_CW)])
            if bias is not None:
                logits_CV += bias
            losses_and_gradients(logits_CV, targets[here], losses[here], settings, with_gradients=any(wanted))
            # from here on `logits_CV` holds the gradient of the loss with respect to the logits
            if grad_hidden is not None:
                torch.mm(logits_CV, weight, out=grad_hidden[here])
            if grad_weight is not None:
                add_product(grad_weight, logits_CV, hidden_CW)
            if grad_bias is not None:
                grad_bias += logits_CV.sum(0, dtype=torch.float32)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.dtype = hidden.dtype
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight, grad_bias = (
            None if grad is None else (grad * grad_loss).to(ctx.dtype) for grad in ctx.saved_tensors
        )
        return grad_hidden, grad_weight, None, grad_bias, None, None


def losses_and_gradients(
    logits_CV: Tensor, targets_C: Tensor, losses_C: Tensor, settings: Settings, *, with_gradients: bool
) -> None:
    """Writes each row's loss; overwrites the logits with the gradient of the losses' sum, where one is wanted."""
    assert logits_CV.stride(1) == 1 or logits_CV.shape[1] == 1
    assert losses_C.is_contiguous()
    assert len(losses_C) == len(targets_C) == len(logits_CV)
    vocabulary = logits_CV.shape[1]
    with torch.cuda.device_of(logits_CV):
        _row[(len(logits_CV),)](
            logits_CV,
            targets_C.contiguous(),
            losses_C,
            logits_CV.stride(0),
            vocabulary,
            settings.softcap or 1.0,
            settings.label_smoothing,
            settings.z_loss,
            IGNORED=IGNORED,
            CAPPED=settings.softcap is not None,
            WITH_GRADIENTS=with_gradients,
            BLOCK=min(BLOCK, triton.next_power_of_2(vocabulary)),
            num_warps=8,
        )
