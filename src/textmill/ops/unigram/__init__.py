"""Unigram language models over pieces of text: encode, sample, the n best, train. Text comes normalised, blanks as ▁.

The names below load on first use: training and encoding are compiled apart.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["OUT_SLACK", "Kind", "UnigramEncoder", "UnigramLattice", "UnigramTables", "UnigramVocabulary"]

if TYPE_CHECKING:
    from textmill.ops.unigram.encode import OUT_SLACK, UnigramEncoder
    from textmill.ops.unigram.lattice import UnigramLattice
    from textmill.ops.unigram.tables import UnigramTables
    from textmill.ops.unigram.vocabulary import Kind, UnigramVocabulary

_HOMES = {
    "OUT_SLACK": "textmill.ops.unigram.encode",
    "Kind": "textmill.ops.unigram.vocabulary",
    "UnigramEncoder": "textmill.ops.unigram.encode",
    "UnigramLattice": "textmill.ops.unigram.lattice",
    "UnigramTables": "textmill.ops.unigram.tables",
    "UnigramVocabulary": "textmill.ops.unigram.vocabulary",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'textmill.ops.unigram' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
