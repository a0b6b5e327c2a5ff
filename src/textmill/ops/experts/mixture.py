"""The mixture in one function, with a gradient that keeps little.

With s the weight of a row (token t, expert e), x its token, g = G x, u = U x, h = f(g) * u (or f(u)) and y = D h, token
t gets the sum of s y over its rows. With d the gradient at t:

    d h = D^T d          d s = h . (d h)          d D = sum of (s d) h^T          d g, d u through f from s (d h)

So neither y nor h nor the sorted copy of x is needed: g and u are kept, h and the copy are made again, one expert at a
time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from textmill.ops import training_kernels
from textmill.ops.experts.groups import Groups
from textmill.ops.experts.products import joined, pieces
from textmill.ops.gated import swiglu

Activation = Callable[[Tensor], Tensor]


def combine(y: Float[Tensor, "N W"], weights: Float[Tensor, "T k"] | None, groups: Groups) -> Float[Tensor, "T W"]:
    """Each token's rows, weighted and summed; a choice without a row counts nothing. No weights: plain sums."""
    if groups.num_dropped:
        y = torch.cat((y, y.new_zeros(1, y.shape[-1])))
    rows = y[groups.rows.reshape(-1)].view(*groups.rows.shape, y.shape[-1])
    if weights is None:
        return rows.sum(1)
    return torch.bmm(weights.to(y.dtype).unsqueeze(1), rows).squeeze(1)


def bent(gate: Tensor | None, up: Tensor, activation: Activation) -> Tensor:
    """f(gate) * up, or f(up)."""
    if gate is None:
        return activation(up)
    return swiglu(gate, up) if activation is F.silu else activation(gate) * up


def mixture(
    x: Float[Tensor, "T W"],
    weights: Float[Tensor, "T k"],
    groups: Groups,
    matrices: tuple[Tensor | None, Tensor, Tensor],
    activation: Activation,
) -> Float[Tensor, "T W"]:
    """Row t: the sum over its choices c of weights[t, c] times that expert's feed-forward of x[t].

    Args:
        weights: fp32, or of x's type.
        matrices: gate (None: not gated) and up [E, F, W], down [E, W, F], all of x's type.
    """
    # inside an autograd function the mode is always off
    plan = _Plan(groups, activation, torch.is_grad_enabled())
    y: Tensor = Mixture.apply(x, weights, *matrices, plan)
    return y


@dataclass(frozen=True)
class _Plan:
    groups: Groups
    activation: Activation
    training: bool


class Mixture(torch.autograd.Function):
    """`mixture`, keeping x, the weights and the two wide products."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weights: Tensor, gate: Tensor | None, up: Tensor, down: Tensor, plan: _Plan
    ) -> Tensor:
        groups = plan.groups
        wide, outputs = [], []
        for piece in pieces(groups, gate, up, down):
            rows = x[groups.tokens[piece.rows]]
            g = None if gate is None else piece.times(rows, gate.mT)
            u = piece.times(rows, up.mT)
            with torch.set_grad_enabled(plan.training):
                # makes no graph, since neither asks for a gradient; the mode picks the kernels
                h = bent(g, u, plan.activation)
            wide += [g, u]
            outputs.append(piece.times(h, down.mT))
        ctx.save_for_backward(x, weights, gate, up, down, *wide)
        ctx.plan = plan
        return combine(joined(outputs), weights, groups)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, gate, up, down, *wide = ctx.saved_tensors
        groups: Groups = ctx.plan.groups
        of_x, of_weights, *of_matrices = ctx.needs_input_grad[:5]
        grad_gate, grad_up, grad_down = (
            torch.zeros_like(matrix) if needed and matrix is not None else None
            for needed, matrix in zip(of_matrices, (gate, up, down), strict=True)
        )
        grad_weights, inputs = weights.new_zeros(weights.shape), []
        for number, piece in enumerate(pieces(groups, gate, up, down)):
            tokens, choices = groups.tokens[piece.rows], groups.choices[piece.rows]
            scale = weights.reshape(-1)[choices].unsqueeze(1)
            grad_rows = grad[tokens]
            grad_h = piece.times(grad_rows, down)
            g, u = wide[2 * number : 2 * number + 2]
            h, grad_g, grad_u, grad_scale = _through_activation(g, u, grad_h, scale, ctx.plan.activation)
            grad_weights.view(-1)[choices] = grad_scale.to(weights.dtype)
            if grad_down is not None:
                piece.outer(grad_rows.mul_(scale.to(grad.dtype)), h, into=grad_down)
            rows = x[tokens]
            if grad_up is not None:
                piece.outer(grad_u, rows, into=grad_up)
            if grad_gate is not None and grad_g is not None:
                piece.outer(grad_g, rows, into=grad_gate)
            if of_x:
                into = piece.times(grad_u, up)
                inputs.append(into if grad_g is None else into.add_(piece.times(grad_g, gate)))
        grad_x = combine(joined(inputs), None, groups) if of_x else None
        return grad_x, grad_weights if of_weights else None, grad_gate, grad_up, grad_down, None


def _through_activation(
    g: Tensor | None, u: Tensor, grad_h: Tensor, scale: Tensor, activation: Activation
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """h, the gradients of g and u under scale * grad_h, and h . grad_h of each row. `grad_h` is written over."""
    with torch.enable_grad():
        if g is not None and activation is F.silu and training_kernels.serve(g, u):
            from textmill.ops.experts.cpu import swiglu_backward

            return swiglu_backward(g, u, grad_h, scale)
        inputs = [part.detach().requires_grad_() for part in (g, u) if part is not None]
        h = bent(inputs[0] if g is not None else None, inputs[-1], activation)
        grad_scale = torch.einsum("nf,nf->n", h.detach(), grad_h)
        grads = torch.autograd.grad(h, inputs, grad_h.mul_(scale.to(grad_h.dtype)))
    return h.detach(), grads[0] if g is not None else None, grads[-1], grad_scale
