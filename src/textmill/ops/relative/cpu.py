"""Relative attention on a CPU: plain batched products, the shift as a view, probabilities kept for the backward pass.

q_i . r_(i-j) is asked for at every (i, j), but depends on the distance alone. So one product gives the queries' scores
with all distances, and the relative shift puts them under their keys. With 2 queries and 4 keys, distances written:

    raw    3 2 1 0      row t of the scores is row t of raw, moved left by T - 1 - t:     2 1 0 .
           3 2 1 0                                                                        3 2 1 0

In memory that is the same numbers read from place T - 1 on with rows of S - 1: a view, which the product of queries and
keys is then added to. What comes under a later key (.) is of no meaning, and hidden. As in `ops/attention/cpu.py` a
block of queries meets only the keys up to its end.

Legend: H heads, B batch, N heads times batch, T queries, S keys, D head width, Q queries of a block, L keys it meets.
Source: the shift, Dai et al. 2019, arXiv:1901.02860, appendix B.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 128
"""Queries of a block. Smaller ones waste less of the square, larger ones give larger products."""


def shifted(raw: Float[Tensor, "N Q L"]) -> Float[Tensor, "N Q L"]:
    """Row t moved left by Q - 1 - t, as a view: entry (t, j) is raw's (t, j + Q - 1 - t).

    >>> shifted(torch.tensor([[[3, 2, 1, 0], [3, 2, 1, 0]]])).tolist()  # the second row's 3 stands under a later key
    [[[2, 1, 0, 3], [3, 2, 1, 0]]]
    """
    N, Q, L = raw.shape
    assert raw.is_contiguous()
    assert Q <= L
    return raw.as_strided((N, Q, L), (Q * L, L - 1, 1), raw.storage_offset() + Q - 1)


def unshifted(grad: Float[Tensor, "N Q L"]) -> Float[Tensor, "N Q L"]:
    """The gradient of `raw` from that of `shifted(raw)`, which is 0 under later keys."""
    N, Q, L = grad.shape
    raw = grad.new_empty(N, Q * L)
    raw[:, : Q - 1] = 0
    # a row's last entry is under a later key, except in the last row
    raw[:, Q - 1 : -1].view(N, Q, L - 1).copy_(grad[:, :, :-1])
    raw[:, -1] = grad[:, -1, -1]
    return raw.view(N, Q, L)


class RelativeAttention(torch.autograd.Function):
    """Queries with u and with v in them, [H B T D] each and both divided by sqrt(D); keys, values; positions -> out."""

    @staticmethod
    def forward(
        ctx: Any, q_content: Tensor, q_position: Tensor, k: Tensor, v: Tensor, r: Tensor, added: Tensor | None
    ) -> Tensor:
        """`added`: [B S], what is added to the scores of a row's keys."""
        H, B, T, D = q_content.shape
        S = k.shape[2]
        qc, kk, vv = (part.reshape(H * B, -1, D) for part in (q_content, k, v))
        out, kept = torch.empty_like(qc), []
        for begin, end in _blocks(T):
            L, Q = S - T + end, end - begin
            raw = torch.bmm(_flat(q_position[:, :, begin:end]), r[:, S - L :].mT)
            # [N Q L]: row i, column j holds the score of query begin + i and key j
            scores = torch.baddbmm(shifted(raw.view(H * B, Q, L)), qc[:, begin:end], kk[:, :L].mT)
            scores[:, :, L - Q :] += _later(Q, scores)
            if added is not None:
                scores.view(H, B, Q, L).add_(added[:, None, :L])
            p_NQL = scores.softmax(-1)
            out[:, begin:end] = torch.bmm(p_NQL, vv[:, :L])
            kept.append(p_NQL)
        ctx.save_for_backward(q_content, q_position, k, v, r, *kept)
        return out.view(H, B, T, D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """As in `ops.attention.cpu.CausalAttention.backward`; dS goes to the content as it is, to r shifted back."""
        q_content, q_position, k, v, r, *kept = ctx.saved_tensors
        H, B, T, D = q_content.shape
        S = k.shape[2]
        qc, kk, vv, g_all = (part.reshape(H * B, -1, D) for part in (q_content, k, v, grad_out))
        grad_qc, grad_qp = torch.empty_like(qc), torch.empty_like(q_position)
        grad_k, grad_v, grad_r = torch.zeros_like(kk), torch.zeros_like(vv), torch.zeros_like(r)
        for (begin, end), p_NQL in zip(_blocks(T), kept, strict=True):
            L, Q = S - T + end, end - begin
            g, qp = g_all[:, begin:end], _flat(q_position[:, :, begin:end])
            grad_p = torch.bmm(g, vv[:, :L].mT)
            grad_s = torch._softmax_backward_data(grad_p, p_NQL, -1, p_NQL.dtype)
            grad_v[:, :L] += torch.bmm(p_NQL.mT, g)
            grad_qc[:, begin:end] = torch.bmm(grad_s, kk[:, :L])
            grad_k[:, :L] += torch.bmm(grad_s.mT, qc[:, begin:end])
            grad_raw = unshifted(grad_s).view(H, B * Q, L)
            grad_qp[:, :, begin:end] = torch.bmm(grad_raw, r[:, S - L :]).view(H, B, Q, D)
            grad_r[:, S - L :] += torch.bmm(grad_raw.mT, qp)
        keys = (grad_k.view(k.shape), grad_v.view(v.shape))
        return grad_qc.view(q_content.shape), grad_qp, *keys, grad_r, None


def _blocks(time: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + BLOCK, time)) for begin in range(0, time, BLOCK)]


def _flat(q: Float[Tensor, "H B Q D"]) -> Float[Tensor, "H BQ D"]:
    return q.reshape(q.shape[0], -1, q.shape[-1])


def _later(size: int, like: Tensor) -> Float[Tensor, "Q Q"]:
    """-inf above the diagonal, 0 elsewhere."""
    return torch.full((size, size), float("-inf"), dtype=like.dtype, device=like.device).triu_(1)
