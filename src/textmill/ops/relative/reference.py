"""Attention with relative positions as it is defined: a score for each query and key, as four terms.

    score_ij = q_i . k_j  +  q_i . r_(i-j)  +  u . k_j  +  v . r_(i-j)          (a) (b) (c) (d)
    out_i = sum over j <= i of p_ij v_j,    p_i = softmax over j <= i of score_ij / sqrt(D)

i and j count from the first key: with S keys the T queries are those of the last T places. r_d is what the position
matrix makes of the sinusoids of distance d; u and v, written `content_bias` and `position_bias`, stand in the query's
place.

Legend: H heads, B batch, T queries, S keys, D head width.
Source: Transformer-XL, Dai et al. 2019, arXiv:1901.02860, section 3.3.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def relative_scores(
    q: Float[Tensor, "T D"],
    k: Float[Tensor, "S D"],
    r: Float[Tensor, "S D"],
    content_bias: Float[Tensor, " D"],
    position_bias: Float[Tensor, " D"],
) -> Float[Tensor, "T S"]:
    """Entry (t, j): the four terms of one head for query S - T + t and key j; -inf where the key comes later.

    Args:
        r: row c is that of distance S - 1 - c, the farthest first.

    >>> one = torch.ones(2, 1)
    >>> relative_scores(one, 10 * one, torch.tensor([[7.0], [3.0]]), torch.tensor([0.5]), torch.tensor([0.0])).tolist()
    [[18.0, -inf], [22.0, 18.0]]
    """
    num_queries, num_keys = len(q), len(k)
    scores = q.new_full((num_queries, num_keys), float("-inf"))
    for t in range(num_queries):
        i = num_keys - num_queries + t
        for j in range(i + 1):
            # row c = S - 1 - (i - j)
            r_ij = r[num_keys - 1 - (i - j)]
            scores[t, j] = q[t] @ k[j] + q[t] @ r_ij + content_bias @ k[j] + position_bias @ r_ij
    return scores


def relative_attention(
    q: Float[Tensor, "H B T D"],
    k: Float[Tensor, "H B S D"],
    v: Float[Tensor, "H B S D"],
    r: Float[Tensor, "H S D"],
    content_bias: Float[Tensor, "H D"],
    position_bias: Float[Tensor, "H D"],
) -> Float[Tensor, "H B T D"]:
    """The attended values."""
    heads = []
    for h in range(q.shape[0]):
        rows = []
        for b in range(q.shape[1]):
            scores = relative_scores(q[h, b], k[h, b], r[h], content_bias[h], position_bias[h])
            rows.append((scores / q.shape[-1] ** 0.5).softmax(-1) @ v[h, b])
        heads.append(torch.stack(rows))
    return torch.stack(heads)
