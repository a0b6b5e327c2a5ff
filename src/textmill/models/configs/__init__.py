"""The settings of each architecture, and how they read and write the ecosystem's `config.json`. Free of torch.

A foreign setting that would change the arithmetic and that we don't have raises `NotSupportedError` by name; one that
says how to train, store or run the model is passed over.
"""

from textmill.models.configs.bert import BertConfig
from textmill.models.configs.gpt import GPTConfig
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.llama import LlamaConfig
from textmill.models.configs.mixtral import MixtralConfig
from textmill.models.configs.modern_bert import ModernBertConfig
from textmill.models.configs.nnlm import NnlmConfig
from textmill.models.configs.recurrent import GruConfig, LstmConfig, RnnConfig
from textmill.models.configs.transformer_xl import TransformerXlConfig

ModelConfig = (
    GPTConfig
    | LlamaConfig
    | MixtralConfig
    | BertConfig
    | ModernBertConfig
    | NnlmConfig
    | RnnConfig
    | LstmConfig
    | GruConfig
    | TransformerXlConfig
)
"""The settings of any architecture that can be pre-trained."""

__all__ = [
    "BertConfig",
    "GPTConfig",
    "GruConfig",
    "Initialisation",
    "LlamaConfig",
    "LstmConfig",
    "MixtralConfig",
    "ModelConfig",
    "ModernBertConfig",
    "NnlmConfig",
    "RnnConfig",
    "TransformerXlConfig",
]
