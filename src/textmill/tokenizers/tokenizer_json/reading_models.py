"""The part `model` of a tokenizer.json, read."""

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

from textmill.errors import FormatError
from textmill.tokenizers import models
from textmill.tokenizers.byte_level import all_to_bytes
from textmill.tokenizers.models import (
    BpeModel,
    CharacterBpeModel,
    Kind,
    Model,
    UnigramModel,
    WordPieceModel,
    WordsModel,
)
from textmill.tokenizers.pipeline import AddedToken
from textmill.tokenizers.tiktoken_format import merges_of_ranks
from textmill.tokenizers.tokenizer_json.checks import is_text, not_supported, optional, typed

OWN = "textmill"
"""The entry in which textmill keeps what the schema has no place for."""
_KINDS = get_args(Kind)


def read_model(model: Mapping[str, Any], added: Sequence[AddedToken], where: str, *, byte_level: bool) -> Model:
    """The model that the JSON object describes.

    Args:
        byte_level: the splitters spell text in the byte-level alphabet at their end, and nowhere else.

    Raises:
        FormatError: malformed, or the added tokens have other ids there.
        NotSupportedError: an option or a model that is not implemented.
    """
    kind = model.get("type") or _guessed_kind(model)
    if not isinstance(kind, str) or kind not in _READERS:
        raise not_supported(where, "model", f"type {kind}", "use a BPE, WordPiece, Unigram or WordLevel model")
    found = _READERS[kind](model, where)
    check_added_ids(added, models.tokens_of(found), where)
    if byte_level and isinstance(found, CharacterBpeModel):
        return _as_byte_level(found, {token.content for token in added}) or found
    return found


def _guessed_kind(model: Mapping[str, Any]) -> str:
    """Old files do not say the model's type."""
    if "merges" in model:
        return "BPE"
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def _bpe(model: Mapping[str, Any], where: str) -> CharacterBpeModel:
    if model.get("dropout"):
        raise not_supported(where, "model.dropout", repr(model["dropout"]), "set it to null; encoding can drop merges")
    tokens = _vocabulary(model, where)
    prefix = optional(model, "continuing_subword_prefix", str, where) or ""
    pairs = _merges(typed(model, "merges", list, where), tokens, prefix, where)
    own = _own(model, where)
    flags = {key: bool(optional(model, key, bool, where)) for key in ("fuse_unk", "byte_fallback", "ignore_merges")}
    return CharacterBpeModel(
        tokens=tokens,
        merges=None if "scores" in own else pairs,
        scores=_scores(own, tokens, where) if "scores" in own else {},
        kinds=_kinds(own, tokens, where),
        unknown=optional(model, "unk_token", str, where),
        fuse_unknown=flags["fuse_unk"],
        byte_fallback=flags["byte_fallback"],
        prefix=prefix,
        suffix=optional(model, "end_of_word_suffix", str, where) or "",
        whole_pieces=flags["ignore_merges"],
    )


def _as_byte_level(model: CharacterBpeModel, contents: set[str]) -> BpeModel | None:
    """The same as a byte-level model; None if its tokens or options are those of another one.

    Args:
        contents: the added tokens.
    """
    if model.prefix or model.suffix or model.byte_fallback or model.merges is None:
        return None
    in_bytes = dict(zip(model.tokens, all_to_bytes(model.tokens), strict=True))
    tokens = {token: id for token, id in zip(in_bytes.values(), model.tokens.values(), strict=True) if token}
    if len(tokens) < len(in_bytes) and any(not in_bytes[string] and string not in contents for string in in_bytes):
        return None
    # added tokens are no part of the model, unless a merge makes them or they are single bytes
    spare: dict[bytes, int] = {}
    for string in sorted(contents & in_bytes.keys(), key=model.tokens.__getitem__):
        token = in_bytes[string]
        if token is not None and len(token) > 1:
            spare[token] = tokens.pop(token)
    if not any(bytes([byte]) in tokens for byte in range(256)):
        return None
    lefts, rights = ([in_bytes[pair[side]] or b"" for pair in model.merges] for side in (0, 1))
    if spare:
        made = set(map(operator.add, lefts, rights))
        tokens |= {token: id for token, id in spare.items() if token in made}
    merges = list(zip(lefts, rights, strict=True))
    if not all(map(tokens.__contains__, itertools.chain(lefts, rights))):
        # a part that is an added token and that nothing makes never stands in a text: its merges never apply
        merges = [(left, right) for left, right in merges if left in tokens and right in tokens]
    has_bytes = all(bytes([byte]) in tokens for byte in range(256))
    if model.whole_pieces and has_bytes and merges == merges_of_ranks(tokens):
        # a tiktoken vocabulary that was written as merges, here or by transformers
        return BpeModel(tokens=tokens, merges=None)
    return BpeModel(tokens=tokens, merges=merges, whole_pieces=model.whole_pieces)


def _wordpiece(model: Mapping[str, Any], where: str) -> WordPieceModel:
    longest = typed(model, "max_input_chars_per_word", int, where, 100)
    if longest < 0:
        raise FormatError(f"{where}: 'max_input_chars_per_word' must be 0 or more, got {longest}")
    return WordPieceModel(
        tokens=_vocabulary(model, where),
        unknown=typed(model, "unk_token", str, where, "[UNK]"),
        prefix=typed(model, "continuing_subword_prefix", str, where, "##"),
        longest_word=min(longest, (1 << 31) - 1),
    )


def _unigram(model: Mapping[str, Any], where: str) -> UnigramModel:
    pieces = _pieces(typed(model, "vocab", list, where), where)
    unknown = optional(model, "unk_id", int, where)
    if not pieces or (unknown is not None and not 0 <= unknown < len(pieces)):
        raise FormatError(f"{where}: the unknown token's id must be one of {len(pieces)} pieces, got {unknown}")
    own = _own(model, where)
    precision = own.get("precision", "float64")
    if precision not in ("float32", "float64"):
        raise FormatError(f"{where}: the precision must be float32 or float64, got {precision!r:.60}")
    names = _kinds(own, {str(id): id for id in range(len(pieces))}, where)
    return UnigramModel(
        pieces=pieces,
        unknown=unknown,
        byte_fallback=bool(optional(model, "byte_fallback", bool, where)),
        kinds={int(id): kind for id, kind in names.items()},
        precision=precision,
    )


def _words(model: Mapping[str, Any], where: str) -> WordsModel:
    tokens = _vocabulary(model, where)
    unknown = typed(model, "unk_token", str, where, "<unk>")
    # without an unknown token in the vocabulary, an unknown word is an error there, and nothing here
    return WordsModel(tokens=tokens, unknown=unknown if unknown in tokens else None)


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], Model]] = {
    "BPE": _bpe,
    "WordPiece": _wordpiece,
    "Unigram": _unigram,
    "WordLevel": _words,
}


def _vocabulary(model: Mapping[str, Any], where: str) -> dict[str, int]:
    tokens = typed(model, "vocab", dict, where)
    if set(map(type, tokens.values())) <= {int} and is_text("".join(tokens)):
        return dict(tokens)
    for string, id in tokens.items():
        if not isinstance(id, int) or isinstance(id, bool):
            raise FormatError(f"{where}: the id of {string!r} must be a whole number, got {id!r:.60}")
        if not is_text(string):
            raise FormatError(f"{where}: the token {id} is not text")
    return dict(tokens)


def _pieces(entries: list[Any], where: str) -> list[tuple[str, float]]:
    """The pieces of a Unigram model, [piece, score] each."""
    if set(map(type, entries)) == {list} and set(map(len, entries)) == {2}:
        strings, scores = _columns(entries)
        usual = set(map(type, strings)) == {str} and set(map(type, scores)) == {float} and is_text("".join(strings))
        if usual and all(map(math.isfinite, scores)):
            return list(zip(strings, scores, strict=True))
    return [_piece(entry, where) for entry in entries]


def _columns(pairs: list[Any]) -> tuple[list[Any], list[Any]]:
    """The first and the second of each pair."""
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _piece(entry: Any, where: str) -> tuple[str, float]:
    pair = {"piece": entry[0], "score": entry[1]} if isinstance(entry, list) and len(entry) == 2 else {}
    piece, score = typed(pair, "piece", str, where), typed(pair, "score", float, where)
    if not math.isfinite(score):
        raise FormatError(f"{where}: the score of {piece!r} must be a number, got {score}")
    return piece, score


def _merges(entries: list[Any], tokens: Mapping[str, int], prefix: str, where: str) -> list[tuple[str, str]]:
    """The merges, each as `_merge` reads it; usual ones are read all at once."""
    kinds = set(map(type, entries))
    parts = list(map(str.split, entries, itertools.repeat(" "))) if kinds == {str} else entries
    if kinds in ({str}, {list}) and set(map(len, parts)) == {2}:
        lefts, rights = _columns(parts)
        if set(map(type, lefts)) == {str} == set(map(type, rights)):
            ends = [right[len(prefix) :] for right in rights] if prefix else rights
            needed = itertools.chain(lefts, rights, map(operator.add, lefts, ends))
            if all(map(tokens.__contains__, needed)):
                return list(zip(lefts, rights, strict=True))
    return [_merge(entry, tokens, prefix, where) for entry in entries]


def _merge(entry: Any, tokens: Mapping[str, int], prefix: str, where: str) -> tuple[str, str]:
    """The merge "left right" or ["left", "right"]."""
    parts = entry.split(" ") if isinstance(entry, str) else entry
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise FormatError(f"{where}: a merge must be two tokens, got {entry!r:.60}")
    left, right = parts
    if not (left in tokens and right in tokens and left + right[len(prefix) :] in tokens):
        raise FormatError(f"{where}: the merge {entry!r:.60} makes or needs a token that is not in the vocabulary")
    return left, right


def check_added_ids(added: Sequence[AddedToken], strings: Mapping[str, int], where: str) -> None:
    """Checks that `tokenizers` would give the added tokens the ids that the file says.

    It goes by the vocabulary, and numbers a token that is not there after those that are, whatever the file says.

    Raises:
        FormatError: it would not.
    """
    given = dict(strings)
    for token in added:
        id = given.setdefault(token.content, len(given))
        if id != token.id:
            raise FormatError(
                f"{where}: the added token {token.content!r} has the id {token.id}, but tokenizers would give it {id}",
                fix="put it into model.vocab with the right id",
            )


def _own(model: Mapping[str, Any], where: str) -> dict[str, Any]:
    return typed(model, OWN, dict, where, {})


def _scores(own: Mapping[str, Any], tokens: Mapping[str, int], where: str) -> dict[str, float]:
    scores = typed(own, "scores", dict, where)
    if not scores.keys() <= tokens.keys():
        raise FormatError(f"{where}: there is a score for a token that is not in the vocabulary")
    return {token: typed(scores, token, float, where) for token in scores}


def _kinds(own: Mapping[str, Any], tokens: Mapping[str, int], where: str) -> dict[str, Kind]:
    kinds = typed(own, "kinds", dict, where, {})
    for token, kind in kinds.items():
        if token not in tokens or kind not in _KINDS:
            raise FormatError(f"{where}: {token!r:.60} cannot be of the kind {kind!r:.60}")
    return cast(dict[str, Kind], dict(kinds))
