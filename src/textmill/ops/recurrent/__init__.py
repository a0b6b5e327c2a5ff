"""One step of each recurrent cell as its paper's equations. `layers/recurrent.py` runs torch's own kernels, which
`reference.py` defines.
"""

from textmill.ops.recurrent.reference import elman_step, gru_step, lstm_step

__all__ = ["elman_step", "gru_step", "lstm_step"]
