"""What a model learns: losses as sums in nats, and how many things each sum runs over."""

from textmill.objectives.base import Objective, Weighted
from textmill.objectives.next_token import NextToken

__all__ = ["NextToken", "Objective", "Weighted"]
