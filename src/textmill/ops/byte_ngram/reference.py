"""The definition of the byte n-gram model, on dictionaries.

Symbols are the 256 bytes; a document is preceded by order - 1 start marks, which are context only and never predicted.
An n-gram of the full order counts its occurrences. A shorter one counts the different symbols that come before it: how
many contexts it completes, not how often it stands there. With h a context, h' the same without its oldest symbol:

    P(x | h) = (a(hx) - D(a(hx)) + M(h) P(x | h')) / A(h)       A(h) = sum_x a(hx),  M(h) = sum_x D(a(hx))

and P(x | h) = P(x | h') where h was never seen; below the empty context stands the uniform 1/256. D(1), D(2) and
D(3 and more) are estimated for each length from how many n-grams have counts 1 to 4.

Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling", section 3
(modified Kneser-Ney, interpolated).
"""

import itertools
import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt8

START = 256
"""The mark before a document, a symbol of its own."""
NUM_BYTES = 256

Gram = tuple[int, ...]


class NgramTable(NamedTuple):
    order: int
    counts: dict[Gram, int]
    """a(hx) of every n-gram seen, of every length from 1 to order"""
    discounts: list[list[float]]
    """row k holds D(0), D(1), D(2), D(3 and more) of n-grams of length k"""


def count_ngrams(text: UInt8[np.ndarray, "bytes"], starts: Int64[np.ndarray, "documents+1"], order: int) -> NgramTable:
    """The model of the documents text[starts[i]:starts[i+1]]."""
    occurrences: dict[Gram, int] = defaultdict(int)
    for first, last in itertools.pairwise(starts):
        symbols = [START] * (order - 1) + text[first:last].tolist()
        for end in range(order - 1, len(symbols)):
            occurrences[tuple(symbols[end - order + 1 : end + 1])] += 1
    counts: dict[Gram, int] = dict(occurrences)
    longer = set(occurrences)
    for _ in range(order - 1):
        shorter: dict[Gram, int] = defaultdict(int)
        for gram in longer:
            shorter[gram[1:]] += 1
        counts.update(shorter)
        longer = set(shorter)
    discounts = [[0.0] * 4]
    for length in range(1, order + 1):
        values = [count for gram, count in counts.items() if len(gram) == length]
        discounts.append(discounts_of([values.count(n) for n in (1, 2, 3, 4)]))
    return NgramTable(order, counts, discounts)


def discounts_of(seen: list[int]) -> list[float]:
    """D(0), D(1), D(2), D(3 and more) when seen[n - 1] n-grams have the count n (eq. 17 of the paper).

    Where one of the four is zero the estimate does not exist, and half, one and one and a half stand in for it.

    >>> discounts_of([10, 5, 3, 2])
    [0.0, 0.5, 1.1, 1.6666666666666667]
    """
    if min(seen) == 0:
        return [0.0, 0.5, 1.0, 1.5]
    y = seen[0] / (seen[0] + 2 * seen[1])
    # a discount above its count would make a probability negative, one of zero would leave nothing to the unseen
    return [0.0] + [min(max(n - (n + 1) * y * seen[n] / seen[n - 1], 0.05), n) for n in (1, 2, 3)]


def next_byte(table: NgramTable, context: bytes, *, at_start: bool = True) -> Float64[np.ndarray, "256"]:
    """P(x | context) for the 256 bytes x; with `at_start`, the context begins its document."""
    symbols = ([START] * (table.order - 1) if at_start else []) + list(context)
    probabilities = np.full(NUM_BYTES, 1 / NUM_BYTES)
    for length in range(min(table.order, len(symbols) + 1)):
        h = tuple(symbols[len(symbols) - length :])
        counts = np.array([table.counts.get((*h, x), 0) for x in range(NUM_BYTES)])
        if counts.sum() == 0:
            break
        discounts = np.array(table.discounts[length + 1])[np.minimum(counts, 3)]
        probabilities = (counts - discounts + discounts.sum() * probabilities) / counts.sum()
    return probabilities


def document_bits(
    table: NgramTable, text: UInt8[np.ndarray, "bytes"], starts: Int64[np.ndarray, "documents+1"]
) -> Float64[np.ndarray, "documents"]:
    """-log2 of the probability of each document, in bits."""
    bits = np.zeros(len(starts) - 1)
    for document, (first, last) in enumerate(itertools.pairwise(starts)):
        for i in range(first, last):
            bits[document] -= math.log2(next_byte(table, text[first:i].tobytes())[text[i]])
    return bits
