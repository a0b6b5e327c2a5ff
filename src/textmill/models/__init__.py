"""One architecture a file; `configs` holds their settings and needs no torch.

The names below load on first use.
"""

from typing import TYPE_CHECKING, Any

__all__ = [
    "GPT",
    "Bert",
    "BertConfig",
    "GPTConfig",
    "Gru",
    "GruConfig",
    "Initialisation",
    "LanguageModel",
    "Llama",
    "LlamaConfig",
    "Lstm",
    "LstmConfig",
    "Mixtral",
    "MixtralConfig",
    "ModernBert",
    "ModernBertConfig",
    "Nnlm",
    "NnlmConfig",
    "Rnn",
    "RnnConfig",
    "TransformerXl",
    "TransformerXlConfig",
]

if TYPE_CHECKING:
    from textmill.models.base import LanguageModel
    from textmill.models.bert import Bert
    from textmill.models.configs import (
        BertConfig,
        GPTConfig,
        GruConfig,
        Initialisation,
        LlamaConfig,
        LstmConfig,
        MixtralConfig,
        ModernBertConfig,
        NnlmConfig,
        RnnConfig,
        TransformerXlConfig,
    )
    from textmill.models.gpt import GPT
    from textmill.models.gru import Gru
    from textmill.models.llama import Llama
    from textmill.models.lstm import Lstm
    from textmill.models.mixtral import Mixtral
    from textmill.models.modern_bert import ModernBert
    from textmill.models.nnlm import Nnlm
    from textmill.models.rnn import Rnn
    from textmill.models.transformer_xl import TransformerXl

_HOMES = {
    "Bert": "textmill.models.bert",
    "BertConfig": "textmill.models.configs",
    "GPT": "textmill.models.gpt",
    "GPTConfig": "textmill.models.configs",
    "Gru": "textmill.models.gru",
    "GruConfig": "textmill.models.configs",
    "Initialisation": "textmill.models.configs",
    "LanguageModel": "textmill.models.base",
    "Llama": "textmill.models.llama",
    "LlamaConfig": "textmill.models.configs",
    "Lstm": "textmill.models.lstm",
    "LstmConfig": "textmill.models.configs",
    "Mixtral": "textmill.models.mixtral",
    "MixtralConfig": "textmill.models.configs",
    "ModernBert": "textmill.models.modern_bert",
    "ModernBertConfig": "textmill.models.configs",
    "Nnlm": "textmill.models.nnlm",
    "NnlmConfig": "textmill.models.configs",
    "Rnn": "textmill.models.rnn",
    "RnnConfig": "textmill.models.configs",
    "TransformerXl": "textmill.models.transformer_xl",
    "TransformerXlConfig": "textmill.models.configs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'textmill.models' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
