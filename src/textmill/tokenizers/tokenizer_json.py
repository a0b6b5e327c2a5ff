"""`tokenizer.json`, the Hugging Face schema of tokenizers 0.23, read and written.

What a file asks for and textmill does not do raises `NotSupportedError` naming the part: a tokenizer that loads gives
the ids that `tokenizers` gives, special tokens in the text apart.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from textmill.errors import FormatError, NotSupportedError
from textmill.files import read_json
from textmill.tokenizers.byte_level import to_bytes, to_characters
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.pipeline import WHOLE, AddedToken, Pipeline, byte_level
from textmill.tokenizers.steps import Form, Normalizer
from textmill.tokenizers.tiktoken_format import merges_of_ranks

T = TypeVar("T")

_VERSION = "1.0"
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}

_ONIGURUMA_PATTERNS = {
    # the end of the text is \z there, and {1,3}+ would repeat the group instead of being possessive
    "cl100k": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++\z|\s*[\r\n]|\s+(?!\S)|\s"
    ),
}


def read_tokenizer_json(path: Path) -> Pipeline:
    """The tokenizer in a file.

    Raises:
        FormatError: not JSON, or not this schema.
        NotSupportedError: a part of the file that is not implemented.
    """
    return from_schema(read_json(path), str(path))


def from_schema(value: Any, where: str = "tokenizer.json") -> Pipeline:
    """The tokenizer that the JSON value describes; see `read_tokenizer_json`."""
    if not isinstance(value, dict) or "model" not in value:
        raise FormatError(
            f"{where} is not a tokenizer: it has no part 'model'", fix="give a Hugging Face tokenizer.json"
        )
    if value.get("version", _VERSION) != _VERSION:
        raise NotSupportedError(f"{where} has version {value['version']!r}, this reads {_VERSION!r}")
    for part in ("truncation", "padding"):
        if value.get(part) is not None:
            raise _not_supported(where, part, "set in the file", "remove it from the file")
    entries = [_added_token(entry, where) for entry in _typed(value, "added_tokens", list, where, [])]
    added = tuple(sorted(entries, key=lambda token: token.id))
    split = _split(value.get("pre_tokenizer"), where)
    _expect_byte_level(value.get("decoder"), where, "decoder")
    pipeline = byte_level(
        _model(_typed(value, "model", dict, where), entries, where),
        split,
        added=added,
        trim_offsets=_trim_offsets(value.get("post_processor"), where),
    )
    pipeline = dataclasses.replace(pipeline, normalizers=_normalizers(value.get("normalizer"), where))
    assert len(pipeline.strings) > 0
    return pipeline.find_end_of_text()


def to_schema(pipeline: Pipeline) -> dict[str, Any]:
    """The JSON value that `tokenizers` and `transformers` read.

    Special tokens are in the model's vocabulary as well, so that their ids stay where they are. A tiktoken vocabulary
    becomes a merge list and `ignore_merges`.
    """
    model, split = pipeline.model, pipeline.byte_level_split
    assert isinstance(model, BpeModel)
    assert split is not None
    merges = merges_of_ranks(dict(model.tokens)) if model.merges is None else model.merges
    return {
        "version": _VERSION,
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token_schema(token) for token in pipeline.added],
        "normalizer": _normalizer_schema(pipeline.normalizers),
        "pre_tokenizer": _split_schema(split),
        "post_processor": _BYTE_LEVEL | {"trim_offsets": pipeline.trim_offsets},
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": model.whole_pieces or model.merges is None,
            "vocab": dict(sorted(pipeline.ids.items(), key=lambda item: item[1])),
            "merges": [[to_characters(left), to_characters(right)] for left, right in merges],
        },
    }


def _model(model: Mapping[str, Any], added: Sequence[AddedToken], where: str) -> BpeModel:
    kind = model.get("type", "BPE")
    if kind != "BPE":
        raise _not_supported(where, "model", f"type {kind}", "use a byte-level BPE tokenizer")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(option):
            raise _not_supported(where, f"model.{option}", repr(model[option]))
    strings = _typed(model, "vocab", dict, where)
    contents = {token.content for token in added}
    tokens: dict[bytes, int] = {}
    # added tokens are no part of the model, unless a merge makes them or they are single bytes
    spare: dict[bytes, int] = {}
    in_bytes = {string: to_bytes(string) for string in strings}
    for string, id in strings.items():
        if not isinstance(id, int) or isinstance(id, bool):
            raise FormatError(f"{where}: the id of {string!r} must be a whole number, got {id!r}")
        token = in_bytes[string]
        if string in contents and (token is None or len(token) > 1):
            if token is not None:
                spare[token] = id
            continue
        if not token:
            raise _not_supported(where, "model.vocab", f"the token {string!r}, which is not byte-level")
        tokens[token] = id
    if not any(bytes([byte]) in tokens for byte in range(256)):
        raise _not_supported(where, "model.vocab", "no byte has a token, so it is not byte-level")
    _check_added_ids(added, strings, where)
    pairs = [_merge(entry, in_bytes, where) for entry in _typed(model, "merges", list, where)]
    made = {left + right for left, right in pairs if left and right}
    tokens |= {token: id for token, id in spare.items() if token in made}
    # a part that is an added token and that nothing makes never stands in a text: its merges never apply
    merges = [(left, right) for left, right in pairs if left in tokens and right in tokens]
    whole_pieces = bool(model.get("ignore_merges"))
    has_bytes = all(bytes([byte]) in tokens for byte in range(256))
    if whole_pieces and has_bytes and merges == merges_of_ranks(tokens):
        # a tiktoken vocabulary that was written as merges, here or by transformers
        return BpeModel(tokens=tokens, merges=None)
    return BpeModel(tokens=tokens, merges=merges, whole_pieces=whole_pieces)


def _merge(entry: Any, in_bytes: Mapping[str, bytes | None], where: str) -> tuple[bytes, bytes]:
    """The merge "left right" or ["left", "right"]; a part that is no bytes is b"", which no text holds."""
    parts = entry.split(" ") if isinstance(entry, str) else entry
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise FormatError(f"{where}: a merge must be two tokens, got {entry!r}")
    left, right = parts
    if not (left in in_bytes and right in in_bytes and left + right in in_bytes):
        raise FormatError(f"{where}: the merge {entry!r} makes or needs a token that is not in the vocabulary")
    return in_bytes[left] or b"", in_bytes[right] or b""


def _check_added_ids(added: Sequence[AddedToken], strings: Mapping[str, int], where: str) -> None:
    """Checks that `tokenizers` would give the added tokens the ids that the file says.

    It goes by the vocabulary, and numbers a token that is not there after those that are, whatever the file says.
    """
    given = dict(strings)
    for token in added:
        id = given.setdefault(token.content, len(given))
        if id != token.id:
            raise FormatError(
                f"{where}: the added token {token.content!r} has the id {token.id}, but tokenizers would give it {id}",
                fix="put it into model.vocab with the right id",
            )


def _added_token(entry: Any, where: str) -> AddedToken:
    if not isinstance(entry, dict):
        raise FormatError(f"{where}: an added token must be an object, got {entry!r}")
    content, id = _typed(entry, "content", str, where), _typed(entry, "id", int, where)
    if not content or not _is_text(content):
        raise FormatError(f"{where}: the added token {id} is {'not text' if content else 'empty'}")
    for option in ("single_word", "lstrip", "rstrip"):
        if entry.get(option):
            raise _not_supported(where, f"added_tokens.{option}", f"on for {content!r}")
    special = bool(entry.get("special"))
    return AddedToken(content=content, id=id, special=special, normalized=bool(entry.get("normalized", not special)))


def _added_token_schema(token: AddedToken) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False}
    return {
        "id": token.id,
        "content": token.content,
        **plain,
        "normalized": token.normalized,
        "special": token.special,
    }


def _split(part: Any, where: str) -> str:
    """The splitting pattern: ByteLevel with its own, or one Split followed by ByteLevel without."""
    steps = _steps(part, "pretokenizers", where, "pre_tokenizer")
    if not steps or steps[-1].get("type") != "ByteLevel":
        raise _not_supported(where, "pre_tokenizer", "one that does not end with ByteLevel")
    if steps[-1].get("add_prefix_space"):
        raise _not_supported(where, "pre_tokenizer.add_prefix_space", "true")
    byte_level_splits = steps[-1].get("use_regex", True)
    if len(steps) == 1:
        return "gpt2" if byte_level_splits else WHOLE
    if len(steps) > 2 or byte_level_splits or steps[0].get("type") != "Split":
        kinds = ", ".join(str(step.get("type")) for step in steps)
        raise _not_supported(where, "pre_tokenizer", f"the sequence {kinds}")
    step = steps[0]
    if step.get("behavior") != "Isolated" or step.get("invert"):
        raise _not_supported(where, "pre_tokenizer", f"Split with behavior {step.get('behavior')!r} or inverted")
    pattern = step.get("pattern")
    if not isinstance(pattern, dict) or not isinstance(pattern.get("Regex"), str) or not _is_text(pattern["Regex"]):
        raise _not_supported(where, "pre_tokenizer", f"Split on {pattern!r}")
    return pattern["Regex"]


def _split_schema(split: str) -> dict[str, Any]:
    from textmill.ops.split import PATTERNS, splitter

    name = splitter(split).name
    if name == "gpt2":
        return _BYTE_LEVEL
    pattern = _ONIGURUMA_PATTERNS.get(name) or PATTERNS.get(name, split)
    isolated = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [isolated, _BYTE_LEVEL | {"use_regex": False}]}


def _normalizers(part: Any, where: str) -> tuple[Normalizer, ...]:
    kinds = tuple(str(step.get("type")) for step in _steps(part, "normalizers", where, "normalizer"))
    for kind in kinds:
        if kind not in ("NFC", "NFD", "NFKC", "NFKD"):
            raise _not_supported(where, "normalizer", kind)
    return tuple(Form(name=kind) for kind in kinds)  # type: ignore[arg-type]


def _normalizer_schema(forms: Sequence[Normalizer]) -> dict[str, Any] | None:
    steps = [{"type": form.name} for form in forms if isinstance(form, Form)]
    assert len(steps) == len(forms)
    if len(steps) < 2:
        return steps[0] if steps else None
    return {"type": "Sequence", "normalizers": steps}


def _trim_offsets(part: Any, where: str) -> bool:
    if part is None:
        return False
    _expect_byte_level(part, where, "post_processor")
    trim = bool(part.get("trim_offsets", True))
    if trim and part.get("add_prefix_space", True):
        raise _not_supported(where, "post_processor", "trim_offsets together with add_prefix_space")
    return trim


def _steps(part: Any, key: str, where: str, name: str) -> list[dict[str, Any]]:
    """The steps of a part that is null, one step, or a sequence of them."""
    if part is None:
        return []
    if not isinstance(part, dict):
        raise FormatError(f"{where}: {name} must be an object, got {part!r}")
    steps = _typed(part, key, list, where) if part.get("type") == "Sequence" else [part]
    if not all(isinstance(step, dict) for step in steps):
        raise FormatError(f"{where}: every step of {name} must be an object")
    return steps


def _expect_byte_level(part: Any, where: str, name: str) -> None:
    if not isinstance(part, dict) or part.get("type") != "ByteLevel":
        raise _not_supported(where, name, str(part.get("type") if isinstance(part, dict) else part))


def _typed(value: Mapping[str, Any], key: str, kind: type[T], where: str, default: T | None = None) -> T:
    found = value.get(key, default)
    if not isinstance(found, kind) or isinstance(found, bool):
        raise FormatError(f"{where}: {key!r} must be of type {kind.__name__}, got {found!r:.60}")
    return found


def _is_text(string: str) -> bool:
    """Whether it has no lone surrogate, which JSON can smuggle in and UTF-8 cannot hold."""
    return string.encode("utf-8", "replace").decode() == string


def _not_supported(where: str, part: str, what: str, fix: str = "") -> NotSupportedError:
    return NotSupportedError(f"{where} has a part that is not supported: {part}: {what}", fix=fix)
