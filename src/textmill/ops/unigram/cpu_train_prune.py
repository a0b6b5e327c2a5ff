"""Kernels of pruning: best segmentations, what the removal of a piece costs, and edges without the fallen pieces.

Edges are those of `cpu_train_em`; the score of a piece is its log probability.
"""

import math

import numpy as np
from numba import njit

NEVER_CHOSEN = -np.inf
"""In `losses`: a segmentation into other pieces has a better score, or no unit's best segmentation holds the piece."""

_NEVER = -1e300


@njit(nogil=True)
def _best_path(start, size, banned, offsets, pieces, lengths, scores, best, chosen):
    """Writes, for each i <= size, the best score of segmenting the first i characters from position `start` on, and
    the edge that ends there; the piece `banned` may not be used. Of equal scores the longest last piece wins."""
    best[: size + 1] = _NEVER
    best[0] = 0.0
    for i in range(size):
        before = best[i]
        if before == _NEVER:
            continue
        for edge in range(offsets[start + i], offsets[start + i + 1]):
            j = i + lengths[edge]
            if j > size:
                break
            score = before + scores[pieces[edge]]
            if score > best[j] and pieces[edge] != banned:
                best[j] = score
                chosen[j] = edge


@njit(cache=True, nogil=True)
def count_best(first, last, ends, weights, offsets, pieces, lengths, scores, counts):
    """Adds to `counts`, int64, how often each piece stands in the best segmentations of units first to last - 1."""
    longest = np.int64(0)
    for unit in range(first, last):
        longest = max(longest, ends[unit] - (ends[unit - 1] + 1 if unit > 0 else 0))
    best, chosen = np.empty(longest + 1, np.float64), np.empty(longest + 1, np.int64)
    for unit in range(first, last):
        start = ends[unit - 1] + 1 if unit > 0 else np.int64(0)
        size = ends[unit] - start
        _best_path(start, size, -1, offsets, pieces, lengths, scores, best, chosen)
        while size > 0:
            edge = chosen[size]
            counts[pieces[edge]] += weights[unit]
            size -= lengths[edge]


@njit(cache=True, nogil=True)
def losses(first, last, places, sizes, offsets, pieces, lengths, scores, counts, total, result):
    """result: for pieces first to last - 1, by how much the log likelihood falls when the piece's occurrences are
    replaced by its best segmentation into others; infinite without such a segmentation, or NEVER_CHOSEN.

    places: any position where each piece begins; sizes: its characters; counts: `count_best`, of sum `total`.
    """
    longest = np.int64(0)
    for piece in range(first, last):
        longest = max(longest, np.int64(sizes[piece]))
    best, chosen = np.empty(longest + 1, np.float64), np.empty(longest + 1, np.int64)
    for piece in range(first, last):
        start, size = np.int64(places[piece]), np.int64(sizes[piece])
        if counts[piece] == 0:
            result[piece] = NEVER_CHOSEN
            continue
        _best_path(start, size, piece, offsets, pieces, lengths, scores, best, chosen)
        if best[size] == _NEVER:
            result[piece] = np.inf
            continue
        if best[size] > scores[piece]:
            result[piece] = NEVER_CHOSEN
            continue
        # each occurrence becomes an occurrence of every piece of the alternative
        count, end, num_parts, alternative = np.float64(counts[piece]), size, 0, 0.0
        while end > 0:
            edge = chosen[end]
            alternative += math.log(counts[pieces[edge]] + count)
            num_parts += 1
            end -= lengths[edge]
        alternative -= num_parts * math.log(total + count * (num_parts - 1))
        result[piece] = count * (math.log(count) - math.log(total) - alternative)


@njit(cache=True, nogil=True)
def drop_edges(offsets, pieces, lengths, renumbered):
    """int64: how many edges are left, in front, when pieces get the numbers in `renumbered`, and -1 falls away."""
    kept, edge = np.int64(0), np.int64(0)
    for position in range(len(offsets) - 1):
        while edge < offsets[position + 1]:
            piece = renumbered[pieces[edge]]
            if piece >= 0:
                pieces[kept], lengths[kept] = piece, lengths[edge]
                kept += 1
            edge += 1
        offsets[position + 1] = kept
    return kept
