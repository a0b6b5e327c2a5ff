"""`tokenizer.json`, the Hugging Face schema of tokenizers 0.23, read and written.

What a file asks for and textmill does not do raises `NotSupportedError` naming the part: a tokenizer that loads gives
the ids that `tokenizers` gives, special tokens in the text apart.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textmill.errors import FormatError, NotSupportedError
from textmill.files import read_json
from textmill.tokenizers import steps
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.tokenizer_json.checks import is_text, optional, steps_of, typed

__all__ = ["from_schema", "read_tokenizer_json", "to_schema"]

_VERSION = "1.0"
_END_OF_TEXT = "textmill_end_of_text"


def read_tokenizer_json(path: Path) -> Pipeline:
    """The tokenizer in a file.

    Raises:
        FormatError: not JSON, or not this schema.
        NotSupportedError: a part of the file that is not implemented.
    """
    return from_schema(read_json(path), str(path))


def from_schema(value: Any, where: str = "tokenizer.json") -> Pipeline:
    """The tokenizer that the JSON value describes; see `read_tokenizer_json`."""
    from textmill.tokenizers.tokenizer_json import processors, reading_models, step_tables

    if not isinstance(value, dict) or "model" not in value:
        raise FormatError(
            f"{where} is not a tokenizer: it has no part 'model'", fix="give a Hugging Face tokenizer.json"
        )
    if value.get("version", _VERSION) != _VERSION:
        raise NotSupportedError(f"{where} has version {value['version']!r:.60}, this reads {_VERSION!r}")
    entries = [_added_token(entry, where) for entry in typed(value, "added_tokens", list, where, [])]
    split_parts = steps_of(value.get("pre_tokenizer"), "pretokenizers", where, "pre_tokenizer")
    splits = _deepseek(tuple(step_tables.read_splitter(part, where) for part in split_parts))
    normalizer_parts = steps_of(value.get("normalizer"), "normalizers", where, "normalizer")
    decoder_parts = steps_of(value.get("decoder"), "decoders", where, "decoder")
    alphabets = [isinstance(step, steps.ByteLevel) for step in splits]
    pipeline = Pipeline(
        model=reading_models.read_model(
            typed(value, "model", dict, where),
            entries,
            where,
            byte_level=bool(alphabets) and alphabets[-1] and not any(alphabets[:-1]),
        ),
        normalizers=tuple(step_tables.read_normalizer(part, where) for part in normalizer_parts),
        splits=splits,
        added=tuple(sorted(entries, key=lambda token: token.id)),
        finish=processors.read_finish(value.get("post_processor"), where),
        decoders=tuple(step_tables.read_decoder(part, where) for part in decoder_parts),
        truncation=processors.read_truncation(value.get("truncation"), where),
        padding=processors.read_padding(value.get("padding"), where),
    )
    pipeline = _with_end_of_text(pipeline, value["model"])
    if not pipeline.vocab_size:
        raise FormatError(f"{where} has no tokens")
    return pipeline


def to_schema(pipeline: Pipeline) -> dict[str, Any]:
    """The JSON value that `tokenizers` and `transformers` read.

    Raises:
        NotSupportedError: a part that the schema cannot express.
    """
    from textmill.tokenizers.tokenizer_json import processors, step_tables, writing_models

    model = writing_models.write_model(pipeline)
    unmarked = dataclasses.replace(pipeline, end_of_text=None)
    if unmarked.find_end_of_text().end_of_text != pipeline.end_of_text:
        # not the token that its name says: other readers pass over this entry
        model = {_END_OF_TEXT: pipeline.end_of_text} | model
    return {
        "version": _VERSION,
        "truncation": processors.write_truncation(pipeline.truncation),
        "padding": processors.write_padding(pipeline.padding),
        "added_tokens": [_added_token_schema(token) for token in pipeline.added],
        "normalizer": _joined([step_tables.write_normalizer(step) for step in pipeline.normalizers], "normalizers"),
        "pre_tokenizer": _joined(step_tables.write_splitters(pipeline.splits), "pretokenizers"),
        "post_processor": processors.write_finish(pipeline.finish, pipeline.strings),
        "decoder": _joined([step_tables.write_decoder(step) for step in pipeline.decoders], "decoders"),
        "model": model,
    }


def _with_end_of_text(pipeline: Pipeline, model: dict[str, Any]) -> Pipeline:
    if _END_OF_TEXT not in model:
        return pipeline.find_end_of_text()
    name = model[_END_OF_TEXT]
    known = isinstance(name, str) and name in pipeline.special_tokens
    return dataclasses.replace(pipeline, end_of_text=name if known else None)


def _joined(parts: Sequence[dict[str, Any]], key: str) -> dict[str, Any] | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    return {"type": "Sequence", key: list(parts)}


def _deepseek(splits: tuple[steps.Split, ...]) -> tuple[steps.Split, ...]:
    """The steps with one for DeepSeek's three, which has a kernel."""
    from textmill.ops.split.reference import DEEPSEEK_STEPS

    three = tuple(steps.Pattern(pattern=pattern) for pattern in DEEPSEEK_STEPS)
    return (steps.Pattern(pattern="deepseek"), *splits[3:]) if splits[:3] == three else splits


def _added_token(entry: Any, where: str) -> AddedToken:
    if not isinstance(entry, dict):
        raise FormatError(f"{where}: an added token must be an object, got {entry!r:.60}")
    content, id = entry.get("content"), typed(entry, "id", int, where)
    if not isinstance(content, str) or not content or not is_text(content):
        raise FormatError(f"{where}: the added token {id} is {'not text' if content else 'empty'}")
    special = bool(optional(entry, "special", bool, where))
    return AddedToken(
        content=content,
        id=id,
        special=special,
        normalized=typed(entry, "normalized", bool, where, not special),
        **{key: bool(optional(entry, key, bool, where)) for key in ("single_word", "lstrip", "rstrip")},
    )


def _added_token_schema(token: AddedToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "content": token.content,
        "single_word": token.single_word,
        "lstrip": token.lstrip,
        "rstrip": token.rstrip,
        "normalized": token.normalized,
        "special": token.special,
    }
