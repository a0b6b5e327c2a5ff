"""Which rows go to which expert: the choices of all tokens, sorted by expert."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Groups:
    """Rows (token, choice) sorted by expert: each expert's rows stand together."""

    tokens: Int[Tensor, " N"]
    """The token of each row."""
    choices: Int[Tensor, " N"]
    """Where the row stands among all T * k choices, token by token: token * k + choice."""
    rows: Int[Tensor, "T k"]
    """The row of each choice; N, one past the end, where the expert had no room."""
    ends: Int[Tensor, " E"]
    """int32: where each expert's rows end, and the next one's begin."""

    @cached_property
    def bounds(self) -> list[tuple[int, int]]:
        """First and last + 1 row of each expert. On a GPU this waits for the device."""
        ends = self.ends.tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))

    @cached_property
    def experts(self) -> Int[Tensor, " N"]:
        """The expert of each row."""
        return torch.searchsorted(self.ends, torch.arange(len(self.tokens), device=self.ends.device), right=True)

    @property
    def num_dropped(self) -> int:
        """Choices that found no room."""
        return self.rows.numel() - len(self.tokens)


def group_tokens(experts: Int[Tensor, "T k"], num_experts: int, capacity: int | None = None) -> Groups:
    """The choices of T tokens sorted by expert; first choices before second ones, then by position.

    Args:
        capacity: rows that an expert takes at most; those who come later are left out. None: it takes all.

    >>> groups = group_tokens(torch.tensor([[1, 0], [1, 2], [1, 0]]), num_experts=3, capacity=2)
    >>> groups.bounds, groups.tokens.tolist()  # expert 1 is full after two tokens
    ([(0, 2), (2, 4), (4, 5)], [0, 2, 0, 1, 1])
    >>> groups.rows.tolist()
    [[2, 0], [3, 4], [5, 1]]
    """
    T, k = experts.shape
    # choice by choice, so that a stable sort keeps first choices first
    by_expert, order = experts.t().reshape(-1).sort(stable=True)
    first = torch.searchsorted(by_expert, torch.arange(num_experts + 1, device=experts.device))
    sizes = first.diff()
    if capacity is not None:
        rank = torch.arange(T * k, device=experts.device) - first[by_expert]
        order, sizes = order[rank < capacity], sizes.clamp(max=capacity)
    N = len(order)
    rows = torch.full((k * T,), N, dtype=torch.int64, device=experts.device)
    rows[order] = torch.arange(N, device=experts.device)
    tokens = order % max(T, 1)
    choices = tokens * k + order // max(T, 1)
    return Groups(tokens, choices, rows.view(k, T).t(), sizes.cumsum(0).int())
