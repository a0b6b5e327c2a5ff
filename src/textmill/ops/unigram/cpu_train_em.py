"""Kernels of expectation and maximisation over the lattices of units.

The lattice of a unit has its positions as nodes and, as edges, the pieces that begin at each (`list_edges`). Its edges
never change but for pieces that fall away, so no trie is walked.

alpha(i) is the probability of everything before position i, beta(i) that of everything from i on; the posterior of an
edge from i to j with piece x is alpha(i) p(x) beta(j) / alpha(end).

Probabilities are multiplied as they are, which costs a quarter of adding logarithms. To keep products of many in
range, the caller multiplies p(x) by a constant to the power of x's length: every path over a unit has the same length,
so posteriors stay what they are. A unit that leaves the range all the same is done again with logarithms.

Expected counts are added as whole numbers of a small unit, so that their sum does not depend on the order.
"""

import math

import numpy as np
from numba import njit

# alpha outside of these: again with logarithms. alpha(i) beta(i) <= alpha(end), so beta stays finite
_LOW, _HIGH = 1e-140, 1e140
_NEVER = -1e300


@njit(cache=True, nogil=True)
def expect(first, last, ends, weights, offsets, pieces, lengths, cells, numbers, log_probability, scale):
    """Adds the expected count of every piece in the units first to last - 1, times `scale` and rounded, to its cell.

    ends: int64, the position after each unit; the next one begins one later. offsets, pieces, lengths: the edges.
    cells: int64 [2 * pieces], for each piece the bits of its probability and its expected count, so that both share a
    cache line. numbers: the same memory as float64. log_probability: float64, of the probability without the factors.
    """
    longest, most_edges = np.int64(0), np.int64(0)
    for unit in range(first, last):
        start = ends[unit - 1] + 1 if unit > 0 else np.int64(0)
        longest = max(longest, ends[unit] - start)
        most_edges = max(most_edges, offsets[ends[unit]] - offsets[start])
    alpha, beta = np.empty(longest + 1, np.float64), np.empty(longest + 1, np.float64)
    probability = np.empty(most_edges, np.float64)
    for unit in range(first, last):
        start = ends[unit - 1] + 1 if unit > 0 else np.int64(0)
        size, weight, first_edge = ends[unit] - start, weights[unit] * scale, offsets[start]
        alpha[: size + 1] = 0.0
        alpha[0] = 1.0
        for i in range(size):
            before = alpha[i]
            if not _LOW < before < _HIGH:
                alpha[size] = 0.0
                break
            for edge in range(offsets[start + i], offsets[start + i + 1]):
                here = numbers[2 * pieces[edge]]
                probability[edge - first_edge] = here
                alpha[i + lengths[edge]] += before * here
        total = alpha[size]
        if not _LOW < total < _HIGH:
            _expect_by_logarithms(start, size, weight, offsets, pieces, lengths, log_probability, alpha, beta, cells)
            continue
        beta[size] = weight / total
        for i in range(size - 1, -1, -1):
            before, after = alpha[i], 0.0
            for edge in range(offsets[start + i], offsets[start + i + 1]):
                through = probability[edge - first_edge] * beta[i + lengths[edge]]
                after += through
                cells[2 * pieces[edge] + 1] += np.int64(before * through + 0.5)
            beta[i] = after


@njit(nogil=True)
def _expect_by_logarithms(start, size, weight, offsets, pieces, lengths, log_probability, alpha, beta, cells):
    """The same for one unit, with alpha and beta as logarithms."""
    alpha[: size + 1] = _NEVER
    alpha[0] = 0.0
    for i in range(size):
        for edge in range(offsets[start + i], offsets[start + i + 1]):
            j = i + lengths[edge]
            alpha[j] = _log_add(alpha[j], alpha[i] + log_probability[pieces[edge]])
    beta[size] = 0.0
    for i in range(size - 1, -1, -1):
        after = _NEVER
        for edge in range(offsets[start + i], offsets[start + i + 1]):
            through = log_probability[pieces[edge]] + beta[i + lengths[edge]]
            after = _log_add(after, through)
            cells[2 * pieces[edge] + 1] += np.int64(weight * math.exp(alpha[i] + through - alpha[size]) + 0.5)
        beta[i] = after


@njit(nogil=True)
def _log_add(a, b):
    """float64: log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b < a - 50.0 else a + math.log1p(math.exp(b - a))


@njit(cache=True, nogil=True)
def digamma(values, result):
    """result: the derivative of log gamma at each value > 0. By the asymptotic series, moved up to values >= 7."""
    for i in range(len(values)):
        x, total = values[i], 0.0
        while x < 7.0:
            total -= 1.0 / x
            x += 1.0
        x -= 0.5
        square = 1.0 / (x * x)
        series = square * (1 / 24 - square * (7 / 960 - square * (31 / 8064 - square * (127 / 30720))))
        result[i] = total + math.log(x) + series
