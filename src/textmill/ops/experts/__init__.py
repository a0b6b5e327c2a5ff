"""Tokens to their experts and back: who goes where, products by group, and the whole mixture.

Legend: T tokens, W width, E experts, k choices a token, N rows (token, choice) that found room, F feed-forward width.
`reference.py` has the definition in loops.
"""

from textmill.ops.experts.groups import Groups, group_tokens
from textmill.ops.experts.mixture import combine, mixture
from textmill.ops.experts.products import grouped_linear

__all__ = ["Groups", "combine", "group_tokens", "grouped_linear", "mixture"]
