"""Tokenizers on disk: which format a path holds, and the folder that the ecosystem opens."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from textmill.errors import FormatError, NotSupportedError
from textmill.files import read_json, replacing_folder, write_json
from textmill.tokenizers.pipeline import Pipeline
from textmill.tokenizers.tiktoken_format import read_tiktoken
from textmill.tokenizers.tokenizer_json import read_tokenizer_json, to_schema
from textmill.tokenizers.vocab_merges import read_vocab_merges

__all__ = ["load", "save", "to_schema"]

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
_PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def save(pipeline: Pipeline, path: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json into a folder, or a .json path alone."""
    if path.suffix == ".json":
        write_json(path, to_schema(pipeline))
        return
    if path.suffix == ".tiktoken":
        raise NotSupportedError("writing .tiktoken files", fix="save a folder or a .json file")
    # both files or none, where nothing else stands that must be kept
    ours = {TOKENIZER_FILE, CONFIG_FILE}
    alone = not path.exists() or (path.is_dir() and {entry.name for entry in path.iterdir()} <= ours)
    with replacing_folder(path) if alone else contextlib.nullcontext(path) as folder:
        write_json(folder / TOKENIZER_FILE, to_schema(pipeline))
        write_json(folder / CONFIG_FILE, _transformers_config(pipeline))


def load(path: Path, split: str | None = None) -> Pipeline:
    """The tokenizer that a path holds.

    Raises:
        FormatError: nothing there, malformed, or of an unknown kind.
        NotSupportedError: see the formats.
    """
    if path.is_dir():
        return _load_folder(path, split)
    if not path.exists():
        raise FormatError(f"{path} does not exist", fix="check the path")
    if path.suffix == ".json":
        return read_tokenizer_json(path)
    if path.suffix == ".tiktoken":
        return read_tiktoken(path, split=split)
    raise NotSupportedError(
        f"{path.name} is not a tokenizer file that is known here", fix="give a folder, tokenizer.json or .tiktoken"
    )


def _load_folder(folder: Path, split: str | None) -> Pipeline:
    if (folder / TOKENIZER_FILE).exists():
        pipeline = read_tokenizer_json(folder / TOKENIZER_FILE)
        name = _end_of_text_name(folder / CONFIG_FILE)
        if name in pipeline.special_tokens:
            return dataclasses.replace(pipeline, end_of_text=name)
        return pipeline
    for vocab, merges in _PAIRS:
        if (folder / vocab).exists() and (folder / merges).exists():
            return read_vocab_merges(folder / vocab, folder / merges, split=split)
    raise FormatError(
        f"the folder {folder} holds no tokenizer", fix=f"it needs {TOKENIZER_FILE}, or vocab.json and merges.txt"
    )


def _end_of_text_name(path: Path) -> str | None:
    """`eos_token` of a tokenizer_config.json, where it is a string or an object with `content`."""
    config = read_json(path) if path.exists() else None
    token = config.get("eos_token") if isinstance(config, dict) else None
    name = token.get("content") if isinstance(token, dict) else token
    return name if isinstance(name, str) else None


def _transformers_config(pipeline: Pipeline) -> dict[str, Any]:
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
    }
    if pipeline.end_of_text is not None:
        config |= {"bos_token": pipeline.end_of_text, "eos_token": pipeline.end_of_text}
    others = [name for name in pipeline.special_tokens if name != pipeline.end_of_text]
    if others:
        config["additional_special_tokens"] = others
    return config
