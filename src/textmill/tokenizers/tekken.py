"""Mistral's `tekken.json`, read and written: byte-level BPE by ranks, with the special tokens before all others.

Source: `mistral_common/tokens/tokenizers/tekken.py` of mistral-common.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textmill.errors import FormatError, NotSupportedError
from textmill.files import read_json, write_json
from textmill.ops.split import PATTERNS, splitter
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.pipeline import AddedToken, Pipeline, byte_level

_FIRST_SPECIAL_TOKENS = (
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
)
"""Of files that do not list their own."""
_MOST_SPECIAL_TOKENS = 1 << 16
_VERSION = "v3"


def read_tekken(path: Path) -> Pipeline:
    """The tokenizer of a tekken.json.

    Raises:
        FormatError: missing or malformed.
    """
    return from_config(read_json(path), path)


def from_config(value: Any, path: Path) -> Pipeline:
    """The tokenizer that the JSON value describes; see `read_tekken`."""
    config = value.get("config") if isinstance(value, dict) else None
    if not isinstance(config, dict) or not isinstance(value.get("vocab"), list):
        raise FormatError(f"{path} is not a tekken.json: it needs 'config' and 'vocab'", fix="give one of Mistral's")
    pattern = config.get("pattern")
    if not isinstance(pattern, str):
        raise FormatError(f"{path}: config.pattern must be a regular expression, got {pattern!r}")
    num_special = _number(config, "default_num_special_tokens", path, _MOST_SPECIAL_TOKENS)
    num_ranks = _number(config, "default_vocab_size", path, 1 << 24) - num_special
    tokens: dict[bytes, int] = {}
    for rank, entry in enumerate(value["vocab"][: max(0, num_ranks)]):
        token = _token_bytes(entry, rank, path)
        if tokens.setdefault(token, num_special + rank) != num_special + rank:
            raise FormatError(f"{path}: the token {token!r} stands there twice")
    missing = [byte for byte in range(256) if bytes([byte]) not in tokens]
    if missing:
        raise FormatError(f"{path} has no token for byte {missing[0]}, so not every text could be encoded")
    names = _special_names(value.get("special_tokens"), num_special, path)
    pipeline = byte_level(
        BpeModel(tokens=tokens, merges=None),
        pattern,
        added=tuple(AddedToken(content=name, id=id) for id, name in enumerate(names)),
    )
    return pipeline.find_end_of_text()


def write_tekken(pipeline: Pipeline, path: Path) -> None:
    """Writes a tekken.json.

    Raises:
        NotSupportedError: not byte-level BPE by ranks, or special tokens that do not have the first ids.
        OutputError: the path can't be written.
    """
    model, split = pipeline.model, pipeline.byte_level_split
    if not isinstance(model, BpeModel) or model.merges is not None or split is None or pipeline.normalizers:
        raise NotSupportedError(
            "a tekken.json of a tokenizer that is not byte-level BPE by ranks", fix="write a tokenizer.json"
        )
    names = [token.content for token in sorted(pipeline.added, key=lambda token: token.id)]
    first = len(names)
    ranks = sorted(model.tokens.items(), key=lambda item: item[1])
    ids_in_order = [id for _, id in ranks] == list(range(first, first + len(ranks)))
    if [token.id for token in sorted(pipeline.added, key=lambda token: token.id)] != list(
        range(first)
    ) or not ids_in_order:
        raise NotSupportedError(
            "a tekken.json of a tokenizer whose special tokens do not have the first ids", fix="write a tokenizer.json"
        )
    vocab = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": _readable(token)}
        for rank, (token, _) in enumerate(ranks)
    ]
    size = first + len(ranks)
    config = {
        "pattern": PATTERNS.get(splitter(split).name, split),
        "num_vocab_tokens": len(ranks),
        "default_vocab_size": size,
        "default_num_special_tokens": first,
        "version": _VERSION,
    }
    special = [{"rank": id, "token_str": name, "is_control": True} for id, name in enumerate(names)]
    write_json(path, {"config": config, "vocab": vocab, "special_tokens": special})


def _special_names(entries: Any, count: int, path: Path) -> list[str]:
    names: dict[int, str] = {}
    if entries is None:
        names = dict(enumerate(_FIRST_SPECIAL_TOKENS[:count]))
    elif not isinstance(entries, list):
        raise FormatError(f"{path}: special_tokens must be a list")
    for entry in entries or ():
        rank, name = (entry.get("rank"), entry.get("token_str")) if isinstance(entry, dict) else (None, None)
        if not isinstance(rank, int) or not isinstance(name, str) or not name or not 0 <= rank < count:
            raise FormatError(f"{path}: a special token needs token_str and a rank below {count}, got {entry!r:.80}")
        names[rank] = name
    full = [names.get(rank, f"<SPECIAL_{rank}>") for rank in range(count)]
    if len(set(full)) < count:
        raise FormatError(f"{path}: a special token stands there twice")
    return full


def _token_bytes(entry: Any, rank: int, path: Path) -> bytes:
    try:
        if entry["rank"] == rank:
            token = binascii.a2b_base64(entry["token_bytes"], strict_mode=True)
            if token:
                return token
    except (TypeError, KeyError, ValueError, binascii.Error):
        pass
    raise FormatError(
        f"{path}: entry {rank} of vocab needs the rank {rank} and token_bytes in base64, got {entry!r:.80}"
    )


def _readable(token: bytes) -> str | None:
    try:
        return token.decode()
    except UnicodeDecodeError:
        return None


def _number(config: Mapping[str, Any], key: str, path: Path, most: int) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise FormatError(f"{path}: config.{key} must be a number from 0 to {most}, got {value!r:.60}")
    return value
