"""The tokenizer in a GGUF file's metadata, read. Weights are not touched.

Source: `docs/gguf.md` of ggml; the names of splitters from llama.cpp's `llama-vocab.cpp`.
"""

import dataclasses
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textmill.errors import FormatError, NotSupportedError
from textmill.tokenizers.models import CharacterBpeModel, Kind, UnigramModel
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.steps import DecodeSentencePiece, SentencePiece

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_ENTRIES = 1 << 20
_PREFIX = "tokenizer."
_KINDS: dict[int, Kind] = {1: "normal", 2: "unknown", 3: "control", 4: "user_defined", 5: "unused", 6: "byte"}
_SPLITS = {
    "gpt-2": "gpt2",
    "gpt2": "gpt2",
    "phi-2": "gpt2",
    "default": "gpt2",
    "llama-bpe": "llama3",
    "llama3": "llama3",
    "llama-v3": "llama3",
    "qwen2": "qwen2",
    "deepseek-v3": "deepseek",
    "tekken": "tekken",
    "gpt-4o": "o200k",
}
"""llama.cpp's name of a splitter -> ours."""


def read_gguf(path: Path) -> Pipeline:
    """The tokenizer of a GGUF file.

    Raises:
        FormatError: missing, malformed, or without a tokenizer.
        NotSupportedError: a model or a splitter that is not known here.
    """
    found = metadata(path)
    kind = found.get("tokenizer.ggml.model")
    tokens = found.get("tokenizer.ggml.tokens")
    if not isinstance(kind, str) or not _all(tokens, str):
        raise FormatError(f"{path} holds no tokenizer", fix="it needs tokenizer.ggml.model and tokenizer.ggml.tokens")
    makers = {"llama": _sentencepiece, "t5": _sentencepiece, "gpt2": _byte_level, "bert": _bert}
    if kind not in makers:
        raise NotSupportedError(f"{path} has a tokenizer of the kind {kind!r}", fix="known are " + ", ".join(makers))
    pipeline = makers[kind](found, str(path))
    end = found.get("tokenizer.ggml.eos_token_id")
    specials = {token.id: token.content for token in pipeline.added if token.special}
    return dataclasses.replace(pipeline, end_of_text=specials.get(end) if isinstance(end, int) else None)


def metadata(path: Path) -> dict[str, Any]:
    """The metadata of the file whose keys begin with "tokenizer.".

    Raises:
        FormatError: missing or malformed.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).metadata()
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read {path}: {error}", fix="check the path") from None
    except FormatError as error:
        raise FormatError(f"{path} is not a GGUF file: {error.problem}", fix=error.fix) from None


class _Reader:
    """Reads a GGUF file from its beginning."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def metadata(self) -> dict[str, Any]:
        magic, version = self._take(4), self._scalar("I")
        if magic != _MAGIC or version not in _VERSIONS:
            raise FormatError(f"it begins with {magic!r} and version {version}", fix="versions 2 and 3 are read")
        self._scalar("Q")
        count = self._scalar("Q")
        if count > _MOST_ENTRIES:
            raise FormatError(f"it has {count} entries")
        found = {}
        for _ in range(count):
            key = self._string()
            value = self._value(self._scalar("I"), keep=key.startswith(_PREFIX))
            if key.startswith(_PREFIX):
                found[key] = value
        return found

    def _value(self, kind: int, *, keep: bool) -> Any:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            raise FormatError(f"byte {self._at} has a value of the unknown type {kind}")
        item, length = self._scalar("I"), self._scalar("Q")
        if item in _SCALARS:
            size = struct.calcsize(_SCALARS[item])
            if length * size > len(self._data) - self._at:
                raise FormatError(f"it is cut off in a list of {length} values at byte {self._at}")
            values = self._take(length * size)
            return list(struct.unpack(f"<{length}{_SCALARS[item]}", values)) if keep else None
        # every string takes eight bytes at least
        if item != _STRING or length * 8 > len(self._data) - self._at:
            raise FormatError(f"byte {self._at} has a list of {length} values of the type {item}")
        return [self._string() for _ in range(length)]

    def _string(self) -> str:
        return self._take(self._scalar("Q")).decode("utf-8", "surrogateescape")

    def _scalar(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(code)))[0]

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise FormatError(f"it is cut off at byte {self._at}")
        self._at += count
        return self._data[self._at - count : self._at]


def _sentencepiece(found: Mapping[str, Any], where: str) -> Pipeline:
    tokens, scores, kinds = _token_table(found, where)
    unknown = next((id for id, kind in kinds.items() if kind == "unknown"), None)
    byte_fallback = any(kind == "byte" for kind in kinds.values())
    charsmap = found.get("tokenizer.ggml.precompiled_charsmap") or []
    step = SentencePiece(
        charsmap=bytes(value & 0xFF for value in charsmap) if _all(charsmap, int) else b"",
        dummy_prefix=bool(found.get("tokenizer.ggml.add_space_prefix", True)),
        squeeze_blanks=bool(found.get("tokenizer.ggml.remove_extra_whitespaces", False)),
        user_defined=tuple(tokens[id] for id, kind in kinds.items() if kind == "user_defined"),
    )
    model: UnigramModel | CharacterBpeModel
    if found["tokenizer.ggml.model"] == "t5":
        model = UnigramModel(
            pieces=list(zip(tokens, scores, strict=True)),
            unknown=unknown,
            byte_fallback=byte_fallback,
            kinds=kinds,
            precision="float32",
        )
    else:
        model = CharacterBpeModel(
            tokens={token: id for id, token in enumerate(tokens)},
            merges=None,
            scores=dict(zip(tokens, scores, strict=True)),
            kinds={tokens[id]: kind for id, kind in kinds.items()},
            unknown=None if unknown is None else tokens[unknown],
            fuse_unknown=True,
            byte_fallback=byte_fallback,
        )
    special = [id for id, kind in kinds.items() if kind in ("control", "unknown")]
    return Pipeline(
        model=model,
        normalizers=(step,),
        added=tuple(AddedToken(content=tokens[id], id=id) for id in special),
        decoders=(DecodeSentencePiece(dummy_prefix=step.dummy_prefix, squeeze_blanks=step.squeeze_blanks),),
    )


def _byte_level(found: Mapping[str, Any], where: str) -> Pipeline:
    from textmill.ops.split import PATTERNS
    from textmill.tokenizers.tokenizer_json import from_schema

    pre = found.get("tokenizer.ggml.pre", "default")
    if pre not in _SPLITS or _SPLITS[pre] not in PATTERNS:
        raise NotSupportedError(f"{where} has the splitter {pre!r}", fix="known are " + ", ".join(_SPLITS))
    merges = found.get("tokenizer.ggml.merges")
    if not _all(merges, str):
        raise FormatError(f"{where} has no merges", fix="it needs tokenizer.ggml.merges")
    tokens, _, kinds = _token_table(found, where)
    added = [
        {"id": id, "content": tokens[id], "special": kind == "control"}
        for id, kind in kinds.items()
        if kind in ("control", "user_defined")
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    isolated = {"type": "Split", "pattern": {"Regex": PATTERNS[_SPLITS[pre]]}, "behavior": "Isolated", "invert": False}
    schema = {
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [isolated, level]},
        "decoder": level,
        "model": {
            "type": "BPE",
            "vocab": {token: id for id, token in enumerate(tokens)},
            "merges": merges,
            "ignore_merges": pre in ("llama-bpe", "llama3", "llama-v3", "tekken"),
        },
    }
    return from_schema(schema, where)


def _bert(found: Mapping[str, Any], where: str) -> Pipeline:
    from textmill.tokenizers.vocab_txt import bert_pipeline

    tokens, _, kinds = _token_table(found, where)
    # words are written with a blank before them there, and what follows in a word without the two marks
    spelled = {}
    for id, token in enumerate(tokens):
        if kinds.get(id, "normal") == "normal" and not (token.startswith("[") and token.endswith("]")):
            token = token[1:] if token.startswith("▁") else f"##{token}"
        spelled[token] = id
    if "[UNK]" not in spelled:
        raise FormatError(f"{where} has no token [UNK]")
    letters = (token for token in spelled if not token.startswith("["))
    lowercase = not any("A" <= character <= "Z" for token in letters for character in token)
    return bert_pipeline(spelled, lowercase=lowercase)


def _token_table(found: Mapping[str, Any], where: str) -> tuple[list[str], list[float], dict[int, Kind]]:
    """(tokens, scores, the kinds of those that are not normal)."""
    tokens = found["tokenizer.ggml.tokens"]
    scores = found.get("tokenizer.ggml.scores") or [0.0] * len(tokens)
    types = found.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    if not (_all(scores, float) and _all(types, int) and len(scores) == len(types) == len(tokens)):
        raise FormatError(f"{where} must have a score and a type for each of its {len(tokens)} tokens")
    if len(set(tokens)) < len(tokens):
        raise FormatError(f"{where} has a token twice")
    unknown_types = set(types) - set(_KINDS)
    if unknown_types:
        raise FormatError(f"{where} has a token of the unknown type {min(unknown_types)}")
    return tokens, scores, {id: _KINDS[kind] for id, kind in enumerate(types) if kind != 1}


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)
