"""Byte-level BPE on pieces of text: count, train, encode, decode. Splitting text into pieces is `ops.split`.

The names below load on first use: who encodes does not wait for the kernels that train.
"""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from textmill.ops.bpe.count import PieceCounter, PieceCounts
    from textmill.ops.bpe.decode import TokenBytes
    from textmill.ops.bpe.encode import OUT_SLACK, BpeEncoder, FlatIds
    from textmill.ops.bpe.train import HF_BYTE_ORDER, Merges, train_merges

_HOMES = {
    "HF_BYTE_ORDER": "textmill.ops.bpe.train",
    "OUT_SLACK": "textmill.ops.bpe.encode",
    "BpeEncoder": "textmill.ops.bpe.encode",
    "FlatIds": "textmill.ops.bpe.encode",
    "Merges": "textmill.ops.bpe.train",
    "PieceCounter": "textmill.ops.bpe.count",
    "PieceCounts": "textmill.ops.bpe.count",
    "TokenBytes": "textmill.ops.bpe.decode",
    "train_merges": "textmill.ops.bpe.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'textmill.ops.bpe' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
