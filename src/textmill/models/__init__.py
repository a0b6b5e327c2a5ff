"""One architecture a file; `configs` holds their settings and needs no torch.

The names below load on first use.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["GPT", "GPTConfig", "Initialisation", "LanguageModel", "Llama", "LlamaConfig"]

if TYPE_CHECKING:
    from textmill.models.base import LanguageModel
    from textmill.models.configs import GPTConfig, Initialisation, LlamaConfig
    from textmill.models.gpt import GPT
    from textmill.models.llama import Llama

_HOMES = {
    "GPT": "textmill.models.gpt",
    "GPTConfig": "textmill.models.configs",
    "Initialisation": "textmill.models.configs",
    "LanguageModel": "textmill.models.base",
    "Llama": "textmill.models.llama",
    "LlamaConfig": "textmill.models.configs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'textmill.models' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
