"""What a model learns: losses as sums in nats, and how many things each sum runs over."""

from textmill.objectives.base import Objective, OverStates, Weighted
from textmill.objectives.carried import CarriedNextToken
from textmill.objectives.masked_token import MaskedToken
from textmill.objectives.next_token import NextToken
from textmill.objectives.replaced_token import ReplacedToken
from textmill.objectives.router import WithRouterLosses, with_router_losses
from textmill.objectives.sentence_pair import SentencePair

__all__ = [
    "CarriedNextToken",
    "MaskedToken",
    "NextToken",
    "Objective",
    "OverStates",
    "ReplacedToken",
    "SentencePair",
    "Weighted",
    "WithRouterLosses",
    "with_router_losses",
]
