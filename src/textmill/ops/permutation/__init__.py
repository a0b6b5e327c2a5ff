"""A keyed permutation of range(size) that is computed index by index and stored nowhere.

`permute(indices, size, key)` gives where each index goes. A shuffled order of any length thus costs no memory, starts
at any position at once, and is the same on every machine.
"""

from textmill.ops.permutation.cpu import permute
from textmill.ops.permutation.reference import mixed

__all__ = ["mixed", "permute"]
