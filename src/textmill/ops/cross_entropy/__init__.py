"""Cross-entropy of a linear layer's logits, without ever holding all the logits.

`linear_cross_entropy` is the one to call; `reference.py` is its definition, `cpu.py` the chunked one.
"""

from textmill.ops.cross_entropy.cpu import linear_cross_entropy
from textmill.ops.cross_entropy.reference import IGNORED

__all__ = ["IGNORED", "linear_cross_entropy"]
