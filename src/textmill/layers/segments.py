"""What a trunk needs to know of an unpadded pass: many sequences, one after the other, in one row.

Matrix products and norms see N real tokens and no padding. Only attention must know where a sequence ends: it gathers
the tokens into buckets of sequences of nearly one length, and back.

Legend: N tokens, R sequences, P places in the buckets (P >= N), L tokens of the longest sequence of a bucket.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from textmill.errors import DataError

QUANTUM = 32
"""Lengths that round up to the same multiple share a bucket. Smaller ones pad less, and make more buckets."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Sequences of nearly one length, padded to the longest: a batch of R rows of L places."""

    rows: Int[Tensor, " R"]
    """Which sequences."""
    begin: int
    """The first of the bucket's R * L places."""
    length: int
    """L."""
    real: Bool[Tensor, "R L"] | None
    """False where a row is padded. None: nowhere."""

    @property
    def end(self) -> int:
        return self.begin + len(self.rows) * self.length


@dataclass(frozen=True, slots=True)
class Segments:
    """Where each sequence begins, and the buckets that attention gathers them into."""

    starts: Int[Tensor, " R1"]
    """Where each sequence begins in the stream, and N."""
    lengths: Int[Tensor, " R"]
    positions: Int[Tensor, " N"]
    """0, 1, ... within each sequence."""
    longest: int
    buckets: tuple[Bucket, ...]
    num_places: int
    places: Int[Tensor, " N"] | None
    """The place of each token. None: token n stands at place n, and nothing need be moved."""
    sources: Int[Tensor, " P"] | None
    """The token at each place; 0 at the places of no token."""
    empty: Int[Tensor, " E"] | None
    """The places of no token."""

    @classmethod
    def of(cls, starts: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Self:
        """The segments of a stream whose sequence r is [starts[r], starts[r + 1]).

        Sequences of 2, 3 and 2 tokens share one bucket of three rows of 3 places:

        >>> segments = Segments.of(np.array([0, 2, 5, 7]))
        >>> segments.positions.tolist()
        [0, 1, 0, 1, 2, 0, 1]
        >>> segments.num_places, segments.places.tolist()
        (9, [0, 1, 3, 4, 5, 6, 7])

        Raises:
            DataError: `starts` doesn't begin at 0 or goes back.
        """
        host = np.asarray(starts.cpu() if isinstance(starts, Tensor) else starts).astype(np.int64)
        lengths = np.diff(host)
        if host.ndim != 1 or len(host) == 0 or host[0] != 0 or (lengths < 0).any():
            raise DataError(
                f"the starts of sequences must begin at 0 and never go back, got {host.tolist()[:8]}",
                fix="give where each sequence begins, and the number of tokens at the end",
            )
        total = int(host[-1])
        positions = np.arange(total) - np.repeat(host[:-1], lengths)
        places = np.empty(total, np.int64)
        buckets, used = [], 0
        for key in np.unique(-(-lengths[lengths > 0] // QUANTUM)):
            rows = np.flatnonzero(-(-lengths // QUANTUM) == key)
            longest = int(lengths[rows].max())
            real = np.arange(longest) < lengths[rows, None]
            # the tokens of the bucket's rows, in order, and the places of their rows
            tokens = (host[rows, None] + np.arange(longest))[real]
            places[tokens] = used + np.flatnonzero(real)
            buckets.append(
                Bucket(
                    rows=torch.from_numpy(rows).to(device),
                    begin=used,
                    length=longest,
                    real=None if real.all() else torch.from_numpy(real).to(device),
                )
            )
            used += real.size
        in_place = used == total and bool((places == np.arange(total)).all())
        sources = np.full(used, -1)
        sources[places] = np.arange(total)
        empty = np.flatnonzero(sources < 0)
        sources[empty] = 0

        def moved(array: np.ndarray) -> Tensor | None:
            return None if in_place else torch.from_numpy(array).to(device)

        return cls(
            starts=torch.from_numpy(host).to(device),
            lengths=torch.from_numpy(lengths).to(device),
            positions=torch.from_numpy(positions).to(device),
            longest=int(lengths.max(initial=0)),
            buckets=tuple(buckets),
            num_places=used,
            places=moved(places),
            sources=moved(sources),
            empty=moved(empty),
        )

    def gather(self, tokens: Float[Tensor, "N W"]) -> Float[Tensor, "P W"]:
        """Each token's row at its place; zeros at the places of no token."""
        if self.places is None:
            return tokens
        gathered: Tensor = _Move.apply(tokens, self.sources, self.empty, self.places, None)  # type: ignore[no-untyped-call]
        return gathered

    def scatter(self, rows: Float[Tensor, "P W"]) -> Float[Tensor, "N W"]:
        """The rows of the tokens, in the order of the stream; the reverse of `gather`."""
        if self.places is None:
            return rows
        scattered: Tensor = _Move.apply(rows, self.places, None, self.sources, self.empty)  # type: ignore[no-untyped-call]
        return scattered


class _Move(torch.autograd.Function):
    """Rows picked by index, some made zero. The reverse is a pick too, and gives the gradient: nothing is summed."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, index: Tensor, zeros: Tensor | None, back: Tensor, back_zeros: Tensor | None
    ) -> Tensor:
        ctx.back, ctx.back_zeros = back, back_zeros
        return _picked(rows, index, zeros)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        return _picked(grad, ctx.back, ctx.back_zeros), None, None, None, None


def _picked(rows: Tensor, index: Tensor, zeros: Tensor | None) -> Tensor:
    picked = rows.index_select(0, index)
    return picked if zeros is None else picked.index_fill_(0, zeros, 0)
