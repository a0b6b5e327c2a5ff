"""From a prompt to text: sampling, the decoding loop, streaming.

The names below load on first use.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["GenerationConfig", "generate", "generate_batch"]

if TYPE_CHECKING:
    from textmill.generation.config import GenerationConfig
    from textmill.generation.text import generate, generate_batch

_HOMES = {
    "GenerationConfig": "textmill.generation.config",
    "generate": "textmill.generation.text",
    "generate_batch": "textmill.generation.text",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'textmill.generation' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
