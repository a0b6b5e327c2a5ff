"""Tokenizers on disk: which format a path holds, and the folder that the ecosystem opens.

The formats load on first use: who reads one of them does not wait for the others.
"""

import contextlib
import dataclasses
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textmill.errors import FormatError, NotSupportedError
from textmill.files import read_json, replacing_folder, write_json
from textmill.tokenizers.pipeline import Pipeline

__all__ = ["FORMATS", "load", "save"]

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
FORMATS = "a folder, tokenizer.json, tekken.json, vocab.json, .tiktoken, .model, .vocab, vocab.txt or .gguf"
_NAMED_TOKENS = {
    "cls_token": ("[CLS]",),
    "sep_token": ("[SEP]",),
    "mask_token": ("[MASK]", "<mask>"),
    "pad_token": ("[PAD]", "<pad>", "<|pad|>"),
}
"""What transformers calls a token, and the customary names of it."""
_PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_MODELS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model")


def save(pipeline: Pipeline, path: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json into a folder, or one file in the format that its name says.

    The names: tekken.json; vocab.json, with merges.txt beside it; any other .json for tokenizer.json; .tiktoken;
    .model, with .vocab beside it; .txt for BERT's vocab.txt.

    Raises:
        NotSupportedError: the format cannot hold this tokenizer, or it is only read.
        OutputError: the path can't be written.
    """
    if path.name.endswith("tekken.json"):
        from textmill.tokenizers.tekken import write_tekken

        write_tekken(pipeline, path)
    elif path.name.endswith("vocab.json"):
        from textmill.tokenizers.vocab_merges import write_vocab_merges

        write_vocab_merges(pipeline, path, path.with_name(path.name.removesuffix("vocab.json") + "merges.txt"))
    elif path.suffix == ".json":
        from textmill.tokenizers.tokenizer_json import to_schema

        write_json(path, to_schema(pipeline))
    elif path.suffix == ".tiktoken":
        from textmill.tokenizers.tiktoken_format import write_tiktoken

        write_tiktoken(pipeline, path)
    elif path.suffix == ".model":
        from textmill.tokenizers.sentencepiece_model import write_model

        write_model(pipeline, path)
    elif path.suffix == ".txt":
        from textmill.tokenizers.vocab_txt import write_vocab_txt

        write_vocab_txt(pipeline, path)
    elif path.suffix in (".gguf", ".vocab"):
        raise NotSupportedError(f"writing {path.suffix} files", fix="write a .model, a .json or a folder")
    else:
        _save_folder(pipeline, path)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Python's cyclic garbage collector rests meanwhile, in all threads.

    A vocabulary is hundreds of thousands of small objects that stay; the collector would look through them, and all
    that Numba has, again and again while they are made: a quarter of the time of loading.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load(path: Path, split: str | None = None) -> Pipeline:
    """The tokenizer that a path holds.

    Args:
        split: the splitting pattern, for the formats that don't hold it.

    Raises:
        FormatError: nothing there, malformed, or of an unknown kind.
        NotSupportedError: see the formats.
    """
    if path.is_dir():
        return _load_folder(path, split)
    if not path.exists():
        raise FormatError(f"{path} does not exist", fix="check the path")
    match path.suffix:
        case ".json":
            return _load_json(path, split)
        case ".tiktoken":
            from textmill.tokenizers.tiktoken_format import read_tiktoken

            return read_tiktoken(path, split=split)
        case ".model":
            return _load_model(path)
        case ".vocab":
            from textmill.tokenizers.sentencepiece_model import read_vocab

            return read_vocab(path)
        case ".txt":
            return _load_vocab_txt(path)
        case ".gguf":
            from textmill.tokenizers.gguf import read_gguf

            return read_gguf(path)
    raise NotSupportedError(f"{path.name} is not a tokenizer file that is known here", fix=f"give {FORMATS}")


def _load_json(path: Path, split: str | None) -> Pipeline:
    value = read_json(path)
    if isinstance(value, dict) and isinstance(value.get("vocab"), list) and "config" in value:
        from textmill.tokenizers.tekken import from_config

        return from_config(value, path)
    merges = path.with_name(path.name.removesuffix("vocab.json") + "merges.txt")
    if path.name.endswith("vocab.json") and merges.exists():
        return _load_vocab_merges(path, merges, split)
    return _load_schema(value, path)


def _load_schema(value: Any, path: Path) -> Pipeline:
    from textmill.tokenizers.tokenizer_json import from_schema

    return from_schema(value, str(path))


def _load_model(path: Path) -> Pipeline:
    from textmill.tokenizers.sentencepiece_model import read_model

    return read_model(path)


def _load_vocab_merges(vocab: Path, merges: Path, split: str | None) -> Pipeline:
    from textmill.tokenizers.vocab_merges import read_vocab_merges

    return read_vocab_merges(vocab, merges, split=split)


def _load_vocab_txt(path: Path) -> Pipeline:
    from textmill.tokenizers.vocab_txt import read_vocab_txt

    return read_vocab_txt(path)


def _save_folder(pipeline: Pipeline, path: Path) -> None:
    # both files or none, where nothing else stands that must be kept
    ours = {TOKENIZER_FILE, CONFIG_FILE}
    alone = not path.exists() or (path.is_dir() and {entry.name for entry in path.iterdir()} <= ours)
    from textmill.tokenizers.tokenizer_json import to_schema

    with replacing_folder(path) if alone else contextlib.nullcontext(path) as folder:
        write_json(folder / TOKENIZER_FILE, to_schema(pipeline))
        write_json(folder / CONFIG_FILE, _transformers_config(pipeline))


def _load_folder(folder: Path, split: str | None) -> Pipeline:
    if (folder / TOKENIZER_FILE).exists():
        pipeline = _load_schema(read_json(folder / TOKENIZER_FILE), folder / TOKENIZER_FILE)
        name = _end_of_text_name(folder / CONFIG_FILE)
        if name in pipeline.special_tokens:
            return dataclasses.replace(pipeline, end_of_text=name)
        return pipeline
    for name in _MODELS:
        if (folder / name).exists():
            return _load_model(folder / name)
    if (folder / "tekken.json").exists():
        from textmill.tokenizers.tekken import read_tekken

        return read_tekken(folder / "tekken.json")
    for vocab, merges in _PAIRS:
        if (folder / vocab).exists() and (folder / merges).exists():
            return _load_vocab_merges(folder / vocab, folder / merges, split)
    if (folder / "vocab.txt").exists():
        return _load_vocab_txt(folder / "vocab.txt")
    raise FormatError(
        f"the folder {folder} holds no tokenizer",
        fix=f"it needs {TOKENIZER_FILE}, tokenizer.model, tekken.json, vocab.txt, or vocab.json and merges.txt",
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
    named: dict[str, str | None] = dict.fromkeys(("bos_token", "eos_token"), pipeline.end_of_text)
    if "<s>" in pipeline.special_tokens and pipeline.end_of_text == "</s>":
        named["bos_token"] = "<s>"
    for key, names in _NAMED_TOKENS.items():
        named[key] = next((name for name in names if name in pipeline.special_tokens), None)
    unknown = getattr(pipeline.model, "unknown", None)
    named["unk_token"] = pipeline.strings[unknown] if isinstance(unknown, int) else unknown
    config |= {key: name for key, name in named.items() if name is not None}
    others = [name for name in pipeline.special_tokens if name not in named.values()]
    if others:
        config["additional_special_tokens"] = others
    return config
