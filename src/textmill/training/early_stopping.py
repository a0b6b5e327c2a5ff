"""Early stopping: a run ends when its held-out loss has been no better for a while.

Source: Prechelt 1998, "Early stopping - but when?", the UP criterion with one measurement a strip, against the best.
"""

import math
from dataclasses import dataclass


@dataclass
class Patience:
    """Counts measurements in a row that are no better, and forgets them at one that is.

    >>> patience = Patience(patience=2, min_delta=0.1)
    >>> for loss in (3.0, 2.5, 2.45, 2.41):
    ...     patience.tell(loss)
    >>> patience.bad_evaluations, patience.is_over
    (2, True)
    """

    patience: int | None
    """How many end the run; None: none ever do."""
    min_delta: float = 0.0
    """Better is lower by more than this than the last loss that was better."""
    reference_loss: float | None = None
    """The last loss that was better."""
    bad_evaluations: int = 0
    """Measurements since then. With `reference_loss`, all that a run that goes on must know."""

    def tell(self, loss: float) -> None:
        """Takes note of a measurement. One that is not a number is no better."""
        better = self.reference_loss is None or loss < self.reference_loss - self.min_delta
        if better and math.isfinite(loss):
            self.reference_loss, self.bad_evaluations = loss, 0
        else:
            self.bad_evaluations += 1

    @property
    def is_over(self) -> bool:
        return self.patience is not None and self.bad_evaluations >= self.patience
