"""The mixture as it is defined, token by token. Sources: Shazeer et al. 2017, arXiv:1701.06538, eq. 1; Fedus et al.
2021, arXiv:2101.03961, eq. 2 and 3."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def capacity_of(num_tokens: int, top_k: int, num_experts: int, factor: float) -> int:
    """Rows that one expert takes at most: ceil(factor * tokens * k / experts).

    >>> capacity_of(10, 2, 4, 1.0), capacity_of(10, 2, 4, 1.25)
    (5, 7)
    """
    return math.ceil(factor * num_tokens * top_k / num_experts)


def kept(experts: Tensor, capacity: int | None) -> Tensor:
    """Entry (t, c) of [T, k]: whether token t's c-th choice finds room. First choices come first, then by position."""
    T, k = experts.shape
    room = torch.zeros(T, k, dtype=torch.bool)
    taken: dict[int, int] = {}
    for c in range(k):
        for t in range(T):
            expert = int(experts[t, c])
            if capacity is None or taken.get(expert, 0) < capacity:
                taken[expert] = taken.get(expert, 0) + 1
                room[t, c] = True
    return room


def mixture(
    x: Tensor,
    weights: Tensor,
    experts: Tensor,
    matrices: tuple[Tensor | None, Tensor, Tensor],
    activation: Callable[[Tensor], Tensor],
    capacity: int | None = None,
) -> Tensor:
    """Row t: the sum over its choices c with room of weights[t, c] times feed-forward number experts[t, c] of x[t].

    Args:
        matrices: gate (or None), up [E, F, W] and down [E, W, F].
    """
    gate, up, down = matrices
    room = kept(experts, capacity)
    rows = []
    for t in range(len(x)):
        row = torch.zeros_like(x[t])
        for c in range(experts.shape[1]):
            e = int(experts[t, c])
            if room[t, c]:
                wide = activation(up[e] @ x[t]) if gate is None else activation(gate[e] @ x[t]) * (up[e] @ x[t])
                row = row + weights[t, c] * (down[e] @ wide)
        rows.append(row)
    return torch.stack(rows) if rows else torch.zeros_like(x)
