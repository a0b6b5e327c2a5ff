"""Text <-> ids. `Tokenizer` is the one class; a file beside it holds each format and each part of the pipeline.

The names load on first use: `textmill.tokenizers.spec` must stay free of numpy and Numba for the command line's sake.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["AddedToken", "StreamDecoder", "Tokenizer", "TokenizerSpec"]

if TYPE_CHECKING:
    from textmill.tokenizers.pipeline import AddedToken
    from textmill.tokenizers.spec import TokenizerSpec
    from textmill.tokenizers.streaming import StreamDecoder
    from textmill.tokenizers.tokenizer import Tokenizer

_HOMES = {"AddedToken": "pipeline", "StreamDecoder": "streaming", "Tokenizer": "tokenizer", "TokenizerSpec": "spec"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
