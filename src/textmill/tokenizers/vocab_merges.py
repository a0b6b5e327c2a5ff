"""GPT-2's two files: vocab.json (or encoder.json), token to id, and merges.txt (or vocab.bpe), a merge a line."""

from pathlib import Path

from textmill.errors import FormatError, NotSupportedError
from textmill.files import read_json, replacing, write_json
from textmill.tokenizers.byte_level import to_characters
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.pipeline import KNOWN_END_OF_TEXT, Pipeline
from textmill.tokenizers.tiktoken_format import merges_of_ranks
from textmill.tokenizers.tokenizer_json import from_schema


def read_vocab_merges(vocab: Path, merges: Path, *, split: str | None = None) -> Pipeline:
    """The tokenizer of the pair. It is byte-level; a token with a customary end-of-text name is special.

    Args:
        split: pattern name or regular expression; None: GPT-2's.

    Raises:
        FormatError: missing or malformed.
    """
    tokens = read_json(vocab)
    if not isinstance(tokens, dict):
        raise FormatError(f"{vocab} must be an object of token: id")
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{merges} is not UTF-8 at byte {error.start}") from None
    if lines[0].startswith("#version"):
        lines = lines[1:]
    special = [{"content": name, "id": tokens[name], "special": True} for name in KNOWN_END_OF_TEXT if name in tokens]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": split is None}
    isolated = {"type": "Split", "pattern": {"Regex": _pattern(split)}, "behavior": "Isolated"}
    schema = {
        "added_tokens": special,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [isolated, byte_level] if split else [byte_level]},
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": tokens, "merges": [line.rstrip("\r") for line in lines if line.strip()]},
    }
    where = f"{vocab.name} and {merges.name}"
    pipeline = from_schema(schema, where)
    if not isinstance(pipeline.model, BpeModel):
        raise NotSupportedError(f"{where} are not byte-level: no byte has a token, or a token is of other characters")
    return pipeline


def write_vocab_merges(pipeline: Pipeline, vocab: Path, merges: Path) -> None:
    """Writes the pair. Special tokens are in the vocabulary; the pattern is in neither file.

    Raises:
        NotSupportedError: the tokenizer is not byte-level BPE after one pattern, or normalises.
        OutputError: a path can't be written.
    """
    model = pipeline.model
    if not isinstance(model, BpeModel) or pipeline.byte_level_split is None or pipeline.normalizers:
        raise NotSupportedError(
            "vocab.json and merges.txt of a tokenizer that is not byte-level BPE after one pattern",
            fix="write a tokenizer.json",
        )
    pairs = merges_of_ranks(dict(model.tokens)) if model.merges is None else model.merges
    lines = ["#version: 0.2\n", *(f"{to_characters(left)} {to_characters(right)}\n" for left, right in pairs)]
    write_json(vocab, dict(sorted(pipeline.ids.items(), key=lambda item: item[1])))
    with replacing(merges) as file:
        file.write("".join(lines).encode())


def _pattern(split: str | None) -> str:
    from textmill.ops.split import PATTERNS

    return PATTERNS.get(split or "", split or "")
