"""Rows of logits into losses and gradients in one kernel, for the plain cross-entropy of training on a CPU.

For a row x with target t, with m its greatest logit and s the sum of e^(x - m):

    loss = log(s) + m - x[t]          gradient = e^(x - m) / s, less 1 at t

The row is read once for m, and once more for its exponentials, which stay in the cache until s is known.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from textmill.ops.floats import FAST, as_array, exp, in_parts, narrow, widen

ROWS = 16
"""Rows that a thread takes at a time."""
LANES = 32


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _rows(logits_CV, targets_C, losses_C, start, stop):
    width = logits_CV.shape[1]
    powers, highest = np.empty(width, np.float32), np.empty(LANES, np.float32)
    for c in range(start, stop):
        row, target = logits_CV[c], targets_C[c]
        # the greatest of every LANES-th number: side by side, since the compiler may not turn maxima into vectors
        highest[:] = np.float32(-np.inf)
        for v in range(0, width - LANES + 1, LANES):
            for lane in range(LANES):
                value = widen(row[v + lane])
                highest[lane] = value if value > highest[lane] else highest[lane]
        greatest = highest.max()
        for v in range(width - width % LANES, width):
            greatest = max(greatest, widen(row[v]))
        total = np.float32(0.0)
        for v in range(width):
            power = exp(widen(row[v]) - greatest)
            powers[v] = power
            total += power
        losses_C[c] = np.log(total) + greatest - widen(row[target])
        scale = np.float32(1.0) / total
        for v in range(width):
            row[v] = narrow(powers[v] * scale, row[v])
        row[target] = narrow(powers[target] * scale - np.float32(1.0), row[target])


def losses_and_gradients(logits_CV: Tensor, targets_C: Tensor) -> Tensor:
    """float32 [C], the losses; overwrites the logits, contiguous fp32 or bf16, with the gradient of their sum.

    Args:
        targets_C: in the vocabulary, all of them.
    """
    losses_C = logits_CV.new_empty(len(logits_CV), dtype=torch.float32)
    assert logits_CV.is_contiguous()
    assert targets_C.dtype == torch.int64
    assert len(targets_C) == len(logits_CV)
    rows, targets = as_array(logits_CV).reshape(logits_CV.shape), targets_C.contiguous().numpy()
    assert len(targets) == 0 or (targets.min() >= 0 and targets.max() < rows.shape[1]), (
        "a target outside the vocabulary"
    )
    in_parts(_rows, len(rows), ROWS, rows, targets, losses_C.numpy())
    return losses_C
