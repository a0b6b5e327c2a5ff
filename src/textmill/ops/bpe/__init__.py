"""Byte-level BPE on pieces of text: count, train, encode, decode. Splitting text into pieces is `ops.split`."""

from textmill.ops.bpe.count import PieceCounter, PieceCounts
from textmill.ops.bpe.decode import TokenBytes
from textmill.ops.bpe.encode import OUT_SLACK, BpeEncoder, FlatIds
from textmill.ops.bpe.train import HF_BYTE_ORDER, Merges, train_merges

__all__ = [
    "HF_BYTE_ORDER",
    "OUT_SLACK",
    "BpeEncoder",
    "FlatIds",
    "Merges",
    "PieceCounter",
    "PieceCounts",
    "TokenBytes",
    "train_merges",
]
