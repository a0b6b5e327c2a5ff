"""Pairs of sentences for next-sentence prediction (BERT) and sentence order (ALBERT), made as they are read."""

from textmill.ops.sentence_pairs.cpu import (
    Documents,
    PairIndex,
    TokenFiles,
    documents_of,
    fill_pairs,
    index_pairs,
    make_pairs,
)
from textmill.ops.sentence_pairs.reference import ELSEWHERE, FOLLOWS, PairRules

__all__ = [
    "ELSEWHERE",
    "FOLLOWS",
    "Documents",
    "PairIndex",
    "PairRules",
    "TokenFiles",
    "documents_of",
    "fill_pairs",
    "index_pairs",
    "make_pairs",
]
