"""textmill: raw text in, a language model its owner can run, tune, measure and serve out.

The names below load on first use, so that `import textmill` and `textmill --help` stay quick.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["ModelFolder", "Tokenizer", "__version__", "generate", "load", "run"]

if TYPE_CHECKING:
    from textmill.folder import ModelFolder, load
    from textmill.generation import generate
    from textmill.recipes import run
    from textmill.tokenizers import Tokenizer

_HOMES = {
    "ModelFolder": "textmill.folder",
    "load": "textmill.folder",
    "generate": "textmill.generation",
    "run": "textmill.recipes",
    "Tokenizer": "textmill.tokenizers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'textmill' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
