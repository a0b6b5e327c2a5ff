"""Linear layer and cross-entropy in one, chunk by chunk, with the gradient made in the forward pass.

The logits of a chunk of rows are formed, turned into the gradient in place, multiplied into the gradients of `hidden`
and `weight`, and overwritten by the next chunk's. So memory is one chunk's logits, and no product is computed twice, as
recomputing them in the backward pass would. With p = softmax(logits), onehot the target's row, and the
smoothing e and z-loss k of `reference.py`:

    d loss / d logits = p (1 + 2 k log Z) - (1 - e) onehot - e / V
    d loss / d hidden = (d loss / d logits) weight        d loss / d weight = (d loss / d logits)^T hidden

and a softcap c multiplies the first line by 1 - (logits / c)^2.

Products run in the dtype of `hidden`; softmax, losses and the sum of the weight's gradient run in float32 or better.

Legend: N rows, C rows of a chunk, R rows of a block, W width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from textmill.errors import ConfigError
from textmill.ops.cross_entropy.reference import IGNORED

CHUNK_BYTES = 4 << 20
"""Logits held at once. Smaller chunks make thin products and add to the weight's gradient more often."""
BLOCK_BYTES = 1 << 20
"""Logits turned into gradients at once: what stays in a core's second-level cache over all passes."""
LEAST_CHUNK_ROWS = 512
"""However large the vocabulary: adding to the weight's gradient costs as much as some dozens of rows' products."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the loss is, beside its inputs; see `reference.linear_cross_entropy`."""

    softcap: float | None
    label_smoothing: float
    z_loss: float


PLAIN = Settings(softcap=None, label_smoothing=0.0, z_loss=0.0)


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

    Equals `reference.linear_cross_entropy`, and has no second derivative. Ignored rows cost nothing: they are left out
    before the first product.

    >>> hidden, weight = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.eye(2)
    >>> round(linear_cross_entropy(hidden, weight, torch.tensor([0, IGNORED])).item(), 6)  # log(1 + 1/e)
    0.313262

    Raises:
        ConfigError: a target outside the vocabulary, a softcap or z-loss below 0, a smoothing outside [0, 1).
    """
    check(targets, len(weight), softcap, label_smoothing, z_loss)
    counted = targets != IGNORED
    if not counted.all():
        rows = counted.nonzero()[:, 0]
        hidden, targets = hidden.index_select(0, rows), targets.index_select(0, rows)
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
        exact = torch.promote_types(hidden.dtype, torch.float32)
        wanted = [with_gradients and needed for needed in ctx.needs_input_grad]
        grad_hidden = torch.empty_like(hidden) if wanted[0] else None
        grad_weight = torch.zeros_like(weight, dtype=exact) if wanted[1] else None
        grad_bias = torch.zeros_like(bias, dtype=exact) if bias is not None and wanted[3] else None
        loss = hidden.new_zeros((), dtype=exact)
        vocabulary = len(weight)
        chunk = _rows(CHUNK_BYTES, vocabulary * hidden.element_size(), least=LEAST_CHUNK_ROWS)
        buffer_CV = hidden.new_empty(min(chunk, len(hidden)), vocabulary)
        for hidden_CW, targets_C, grad_CW in _chunks(chunk, hidden, targets, grad_hidden):
            logits_CV = torch.mm(hidden_CW, weight.T, out=buffer_CV[: len(hidden_CW)])
            if bias is not None:
                logits_CV += bias
            loss += _losses_and_gradients(logits_CV, targets_C, settings, any(wanted))
            # from here on `logits_CV` holds the gradient of the loss with respect to the logits
            if grad_CW is not None:
                torch.mm(logits_CV, weight, out=grad_CW)
            if grad_weight is not None:
                add_product(grad_weight, logits_CV, hidden_CW)
            if grad_bias is not None:
                grad_bias += logits_CV.sum(0, dtype=exact)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.dtype = hidden.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight, grad_bias = (
            None if grad is None else (grad * grad_loss).to(ctx.dtype) for grad in ctx.saved_tensors
        )
        return grad_hidden, grad_weight, None, grad_bias, None, None


def _losses_and_gradients(logits_CV: Tensor, targets_C: Tensor, settings: Settings, with_gradients: bool) -> Tensor:
    """The sum of the chunk's losses; overwrites the logits with the gradient, where one is wanted."""
    if with_gradients and settings == PLAIN and _kernels_serve(logits_CV):
        # Numba is loaded by those who train
        from textmill.ops.cross_entropy.cpu_rows import losses_and_gradients

        return losses_and_gradients(logits_CV, targets_C).sum()
    exact = torch.promote_types(logits_CV.dtype, torch.float32)
    vocabulary = logits_CV.shape[1]
    rows = _rows(BLOCK_BYTES, vocabulary * exact.itemsize)
    scratch = (
        None if logits_CV.dtype == exact else logits_CV.new_empty(min(rows, len(logits_CV)), vocabulary, dtype=exact)
    )
    loss = logits_CV.new_zeros((), dtype=exact)
    for block_RV, targets_R in zip(logits_CV.split(rows), targets_C.split(rows), strict=True):
        values_RV = block_RV if scratch is None else scratch[: len(block_RV)].copy_(block_RV)
        loss += _block(values_RV, targets_R[:, None], settings, with_gradients)
        if scratch is not None and with_gradients:
            block_RV.copy_(values_RV)
    return loss


def _kernels_serve(logits: Tensor) -> bool:
    """Whether `cpu_rows` takes these logits. See `training_kernels.serve`, which is for code that autograd follows."""
    plain = type(logits) is Tensor and logits.is_cpu and logits.dtype in (torch.float32, torch.bfloat16)
    return plain and not torch.compiler.is_compiling()


def _block(values_RV: Tensor, targets_R1: Tensor, settings: Settings, with_gradients: bool) -> Tensor:
    """As `_losses_and_gradients`, in float32 or better, every pass in place."""
    vocabulary = values_RV.shape[1]
    smoothing, z_loss, softcap = settings.label_smoothing, settings.z_loss, settings.softcap
    capped_RV = None
    if softcap is not None:
        values_RV.div_(softcap).tanh_()
        capped_RV = values_RV.clone() if with_gradients else None
        values_RV.mul_(softcap)
    losses_R1 = values_RV.gather(1, targets_R1).mul_(smoothing - 1)
    if smoothing:
        losses_R1 -= smoothing * values_RV.mean(1, keepdim=True)
    greatest_R1 = values_RV.amax(1, keepdim=True)
    sums_R1 = values_RV.sub_(greatest_R1).exp_().sum(1, keepdim=True)
    log_normaliser_R1 = sums_R1.log().add_(greatest_R1)
    losses_R1 += log_normaliser_R1
    if z_loss:
        losses_R1 += z_loss * log_normaliser_R1**2
    if with_gradients:
        scale_R1 = (1 + 2 * z_loss * log_normaliser_R1) / sums_R1
        values_RV.mul_(scale_R1)
        values_RV.scatter_add_(1, targets_R1, torch.full_like(losses_R1, smoothing - 1))
        if smoothing:
            values_RV.sub_(smoothing / vocabulary)
        if capped_RV is not None:
            # d (c tanh(x / c)) / dx = 1 - tanh(x / c)^2
            values_RV.mul_(capped_RV.square_().neg_().add_(1))
    return losses_R1.sum()


def add_product(total: Tensor, left_CV: Tensor, right_CW: Tensor) -> None:
    """total += left^T right, summed in the dtype of `total`."""
    if left_CV.dtype == total.dtype:
        total.addmm_(left_CV.T, right_CW)
    else:
        total += left_CV.T @ right_CW


def _chunks(rows: int, hidden: Tensor, targets: Tensor, grad_hidden: Tensor | None) -> Any:
    """Consecutive rows of each; None in place of a gradient that isn't wanted."""
    for start in range(0, len(hidden), rows):
        here = slice(start, start + rows)
        yield hidden[here], targets[here], None if grad_hidden is None else grad_hidden[here]


def _rows(most_bytes: int, row_bytes: int, *, least: int = 1) -> int:
    return max(least, most_bytes // row_bytes)


def check(targets: Tensor, vocabulary: int, softcap: float | None, label_smoothing: float, z_loss: float) -> None:
    """Refuses what no loss is defined for; targets on a CPU alone, since a GPU would have to be waited for.

    Raises:
        ConfigError: see `linear_cross_entropy`.
    """
    if softcap is not None and softcap <= 0:
        raise ConfigError(f"softcap must be > 0, got {softcap}", fix="use 15 to 50, or None for no cap")
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"label_smoothing must be in [0, 1), got {label_smoothing}", fix="0.1 is usual")
    if z_loss < 0:
        raise ConfigError(f"z_loss must be >= 0, got {z_loss}", fix="PaLM uses 1e-4")
    if len(targets) and targets.is_cpu:
        greatest = int(targets.max())
        if greatest >= vocabulary or bool(((targets < 0) & (targets != IGNORED)).any()):
            raise ConfigError(
                f"targets must be in [0, {vocabulary}) or {IGNORED}, got {int(targets.min())} to {greatest}",
                fix="train the model with the vocabulary size of the tokenizer that made the data",
            )
