"""tiktoken's rank files: a line per token, its bytes in base64, a blank, its id. The pattern is not in the file.

Source of the names, special tokens and patterns: `tiktoken_ext/openai_public.py` of tiktoken 0.14.
"""

import base64
import binascii
import itertools
from pathlib import Path

from textmill.errors import ConfigError, FormatError, NotSupportedError
from textmill.files import replacing
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.pipeline import AddedToken, Pipeline, byte_level

_END = "<|endoftext|>"
_MIDDLES = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")

SPLITS = {"gpt2": "gpt2", "r50k_base": "gpt2", "p50k_base": "gpt2", "cl100k_base": "cl100k", "o200k_base": "o200k"}
"""Published file name -> splitting pattern."""
SPECIAL_TOKENS = {
    "gpt2": {_END: 50256},
    "r50k_base": {_END: 50256},
    "p50k_base": {_END: 50256},
    "cl100k_base": {
        _END: 100257,
        **dict(zip(_MIDDLES, (100258, 100259, 100260), strict=True)),
        "<|endofprompt|>": 100276,
    },
    "o200k_base": {_END: 199999, "<|endofprompt|>": 200018},
}


def read_ranks(path: Path) -> dict[bytes, int]:
    """Id of each token.

    Raises:
        FormatError: missing, a line that isn't a token and an id, a token or an id twice, or a byte without a token.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}", fix="check the path") from None
    ranks = _usual_ranks(lines) or _ranks(lines, path)
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise FormatError(f"{path} has no token for byte {missing[0]}, so not every text could be encoded")
    return ranks


def _usual_ranks(lines: list[bytes]) -> dict[bytes, int] | None:
    """Id of each token, if nothing is wrong with any line and none is empty; all lines at once."""
    rows = list(map(bytes.split, lines))
    if set(map(len, rows)) != {2}:
        return None
    try:
        ranks = {binascii.a2b_base64(encoded, strict_mode=True): int(rank) for encoded, rank in rows}
    except ValueError:
        return None
    return ranks if len(ranks) == len(rows) else None


def _ranks(lines: list[bytes], path: Path) -> dict[bytes, int]:
    """Id of each token, or what is wrong with which line."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            encoded, rank = line.split()
            token, id = base64.b64decode(encoded, validate=True), int(rank)
        except (ValueError, binascii.Error):
            raise FormatError(
                f"{path}, line {number} is not a token in base64, a blank and an id: {line[:60]!r}"
            ) from None
        if token in ranks:
            raise FormatError(f"{path}, line {number}: the token {token!r} stands here a second time")
        ranks[token] = id
    return ranks


def read_tiktoken(path: Path, *, split: str | None = None, special_tokens: dict[str, int] | None = None) -> Pipeline:
    """The tokenizer of a rank file.

    Args:
        split: pattern name or regular expression; None: by the file's name.
        special_tokens: their ids; None: by the file's name, or else none.

    Raises:
        ConfigError: no `split`, and the file's name is not one of the published ones.
        FormatError: see `read_ranks`.
    """
    name = path.name.removesuffix(".tiktoken")
    if split is None and name not in SPLITS:
        raise ConfigError(
            f"a .tiktoken file holds no splitting pattern, and {path.name!r} is not a published name",
            fix="name the split (gpt2, cl100k, o200k or a regular expression)",
        )
    if special_tokens is None:
        special_tokens = SPECIAL_TOKENS.get(name, {})
    pipeline = byte_level(
        BpeModel(tokens=read_ranks(path), merges=None),
        split or SPLITS[name],
        added=tuple(AddedToken(content=content, id=id) for content, id in special_tokens.items()),
    )
    return pipeline.find_end_of_text()


def write_tiktoken(pipeline: Pipeline, path: Path) -> None:
    """Writes the ranks, a token a line in the order of ids. Special tokens and the pattern are not in such a file.

    A merge list may become ranks where tokens stand in the order of their merges; `convert` finds out whether the ids
    stay the same.

    Raises:
        NotSupportedError: the tokenizer is not byte-level BPE, lacks a byte, normalises, or has other added tokens.
        OutputError: the path can't be written.
    """
    model = pipeline.model
    if not isinstance(model, BpeModel) or pipeline.byte_level_split is None or pipeline.normalizers:
        raise NotSupportedError(
            "a .tiktoken file of a tokenizer that is not byte-level BPE after one pattern", fix="write a tokenizer.json"
        )
    missing = [byte for byte in range(256) if bytes([byte]) not in model.tokens]
    if missing:
        raise NotSupportedError(f"a .tiktoken file without a token for byte {missing[0]}", fix="write a tokenizer.json")
    with replacing(path) as file:
        for token, id in sorted(model.tokens.items(), key=lambda item: item[1]):
            file.write(base64.b64encode(token) + f" {id}\n".encode())


def merges_of_ranks(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """A merge list that does what the ranks do: every way to make a token out of two others, lowest token id first.

    >>> merges_of_ranks({b"a": 0, b"b": 1, b"ab": 2, b"ba": 3, b"aba": 4})
    [(b'a', b'b'), (b'b', b'a'), (b'a', b'ba'), (b'ab', b'a')]
    """
    lengths = sorted({len(token) for token in ranks})
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        # only where a token can end: a hostile file may hold a token of many megabytes
        pairs = ((token[:cut], token[cut:]) for cut in itertools.takewhile(len(token).__gt__, lengths))
        known = [(left, right) for left, right in pairs if left in ranks and right in ranks]
        merges += sorted(known, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return merges
