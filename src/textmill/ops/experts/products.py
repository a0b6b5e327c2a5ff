"""Matrix products by group: each expert's rows with that expert's matrix.

On a CPU one product an expert: torch's grouped product is no faster there, and what lies between two products is then
small. On CUDA in bf16 the grouped product, which needs no word from the device on how many rows each expert has.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from textmill.ops.experts.groups import Groups

_grouped_mm = getattr(F, "grouped_mm", None)


def has_grouped_mm(*tensors: Tensor) -> bool:
    """Whether torch's grouped product takes these: bf16 on CUDA, with rows of whole 16 bytes."""
    return _grouped_mm is not None and all(
        tensor.is_cuda and tensor.dtype == torch.bfloat16 and tensor.shape[-1] % 8 == 0 and tensor.shape[-2] % 8 == 0
        for tensor in tensors
    )


@dataclass(frozen=True)
class Piece:
    """Rows that are multiplied at once: those of one expert, or all of them where there is a grouped product."""

    rows: slice
    expert: int | None
    """None: of all."""
    ends: Tensor

    def times(self, x: Float[Tensor, "n inputs"], weight: Float[Tensor, "E inputs outputs"]) -> Tensor:
        """Each of the piece's rows times the matrix of its expert."""
        if self.expert is not None:
            return x @ weight[self.expert]
        y: Tensor = _grouped_mm(x, weight, offs=self.ends)  # type: ignore[misc]
        return y

    def outer(
        self, left: Float[Tensor, "n rows"], right: Float[Tensor, "n columns"], into: Float[Tensor, "E rows columns"]
    ) -> None:
        """Writes matrix e: the sum over the expert's rows n of left[n] right[n]^T."""
        if self.expert is not None:
            torch.mm(left.t(), right, out=into[self.expert])
        else:
            into.copy_(_grouped_mm(left.t(), right, offs=self.ends))  # type: ignore[misc]


def pieces(groups: Groups, *weights: Tensor | None) -> list[Piece]:
    """The pieces in which rows are multiplied with such matrices; experts without rows have none."""
    if has_grouped_mm(*(weight for weight in weights if weight is not None)):
        return [Piece(slice(None), None, groups.ends)]
    experts = [Piece(slice(*bounds), e, groups.ends) for e, bounds in enumerate(groups.bounds) if bounds[0] < bounds[1]]
    # one without rows, so that there always is a piece
    return experts or [Piece(slice(0, 0), 0, groups.ends)]


def joined(parts: list[Tensor]) -> Tensor:
    """The pieces' rows as one tensor."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class GroupedProduct(torch.autograd.Function):
    """x [N, inputs], weight [E, outputs, inputs] -> [N, outputs]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: Groups) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return joined([piece.times(x[piece.rows], weight.mT) for piece in pieces(groups, weight)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        parts = []
        for piece in pieces(ctx.groups, weight):
            grad_rows = grad[piece.rows].contiguous()
            if grad_weight is not None:
                piece.outer(grad_rows, x[piece.rows], into=grad_weight)
            if ctx.needs_input_grad[0]:
                parts.append(piece.times(grad_rows, weight))
        return joined(parts) if parts else None, grad_weight, None


def grouped_linear(
    x: Float[Tensor, "N inputs"],
    weight: Float[Tensor, "E outputs inputs"],
    bias: Float[Tensor, "E outputs"] | None,
    groups: Groups,
) -> Float[Tensor, "N outputs"]:
    """Row n: weight[e] @ x[n] + bias[e], with e the expert of row n.

    >>> groups = Groups(*(torch.tensor([0, 1, 2]) for _ in range(2)), torch.arange(3)[:, None], torch.tensor([1, 3]))
    >>> grouped_linear(torch.ones(3, 1), torch.tensor([[[5.0]], [[7.0]]]), None, groups).tolist()
    [[5.0], [7.0], [7.0]]
    """
    y: Tensor = GroupedProduct.apply(x, weight, groups)
    return y if bias is None else y + bias[groups.experts]
