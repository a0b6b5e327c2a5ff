"""The settings of each architecture, and how they read and write the ecosystem's `config.json`. Free of torch.

A foreign setting that would change the arithmetic and that we don't have raises `NotSupportedError` by name; one that
says how to train, store or run the model is passed over.
"""

from textmill.models.configs.gpt import GPTConfig
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.llama import LlamaConfig

__all__ = ["GPTConfig", "Initialisation", "LlamaConfig"]
