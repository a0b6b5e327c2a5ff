"""How the merges of a BPE model build a token."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textmill.errors import DataError, NotSupportedError
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.byte_level import to_characters
from textmill.tokenizers.models import BpeModel, CharacterBpeModel

RankOf = Callable[[str, str], int | None]
"""When two neighbours merge: the lowest rank first; None: never."""


@dataclass(frozen=True)
class Node:
    """A symbol: a character or byte, or the two symbols that were merged to it."""

    spelling: str
    """As in the vocabulary."""
    id: int | None
    """None: the symbol is no token."""
    rank: int | None = None
    """Of the merge that made this: merges of a lower rank come first. None for a leaf."""
    parts: tuple["Node", ...] = ()


def merge_tree(tokenizer: Tokenizer, token: str) -> tuple[Node, ...]:
    """The trees that a token's own symbols merge to: one, whose root is the token, if merges lead there.

    The token is given as it is spelled in the vocabulary, as the text it stands for, or as its id.

    Raises:
        DataError: there is no such token.
        NotSupportedError: the tokenizer is not BPE.
    """
    id = find_token(tokenizer, token)
    match tokenizer.pipeline.model:
        case BpeModel() as model:
            data = tokenizer.id_to_bytes(id)
            symbols = [bytes([byte]) for byte in data]
            leaves = [Node(to_characters(symbol), model.tokens.get(symbol)) for symbol in symbols]
            named = {to_characters(token): id for token, id in model.tokens.items()}
            return _merged(leaves, _byte_ranks(model), named, "")
        case CharacterBpeModel() as model:
            leaves = [Node(symbol, model.tokens.get(symbol)) for symbol in _symbols(model, tokenizer.id_to_token(id))]
            return _merged(leaves, _character_ranks(model), model.tokens, model.prefix)
    raise NotSupportedError(
        "a merge tree of a tokenizer that does not merge", fix="ask for the tree of a token of a BPE tokenizer"
    )


def find_token(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that a person names: by its spelling, by its text, or by its id.

    Raises:
        DataError: there is none, with the closest ones.
    """
    for spelled in (token, token.replace(" ", "Ġ"), token.replace(" ", "▁")):
        id = tokenizer.token_to_id(spelled)
        if id is not None:
            return id
    id = tokenizer.token_to_id(token.encode("utf-8", "replace"))
    if id is not None:
        return id
    if token.isdecimal() and int(token) < tokenizer.vocab_size and tokenizer.pipeline.strings[int(token)] is not None:
        return int(token)
    import difflib

    known = [string for string in tokenizer.pipeline.strings if string is not None and string[:1] == token[:1]]
    close = difflib.get_close_matches(token, known, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(map(repr, close))}?" if close else "give its spelling, its text or its id"
    raise DataError(f"the vocabulary has no token {token[:60]!r}", fix=hint)


def _merged(symbols: Sequence[Node], rank_of: RankOf, ids: Mapping[str, int], prefix: str) -> tuple[Node, ...]:
    """Merges the neighbours of lowest rank, the leftmost first, until none can merge."""
    nodes = list(symbols)
    while True:
        pairs = [rank_of(left.spelling, right.spelling) for left, right in itertools.pairwise(nodes)]
        best = min((rank for rank in pairs if rank is not None), default=None)
        if best is None:
            return tuple(nodes)
        place = pairs.index(best)
        left, right = nodes[place], nodes[place + 1]
        spelling = left.spelling + right.spelling.removeprefix(prefix)
        nodes[place : place + 2] = [Node(spelling, ids.get(spelling), best, (left, right))]


def _byte_ranks(model: BpeModel) -> RankOf:
    if model.merges is None:
        order = {to_characters(token): id for token, id in model.tokens.items()}
        return lambda left, right: order.get(left + right)
    return _listed([(to_characters(left), to_characters(right)) for left, right in model.merges])


def _character_ranks(model: CharacterBpeModel) -> RankOf:
    if model.merges is not None:
        return _listed(model.merges)
    # equal scores have one rank: there the place in the text decides
    plain = [token for token in model.tokens if model.kinds.get(token, "normal") == "normal"]
    scores = {token: model.scores.get(token, 0.0) for token in plain}
    place = {score: rank for rank, score in enumerate(sorted(set(scores.values()), reverse=True))}
    return lambda left, right: place[scores[left + right]] if left + right in scores else None


def _listed(merges: Sequence[tuple[str, str]]) -> RankOf:
    order = {pair: rank for rank, pair in reversed(list(enumerate(merges)))}
    return lambda left, right: order.get((left, right))


def _symbols(model: CharacterBpeModel, token: str) -> list[str]:
    """The characters of a token, with the marks of their place in the word."""
    inside = bool(model.prefix) and token.startswith(model.prefix)
    last = bool(model.suffix) and token.endswith(model.suffix) and token != model.suffix
    body = token.removeprefix(model.prefix) if inside else token
    body = body.removesuffix(model.suffix) if last else body
    symbols = [model.prefix * (inside or place > 0) + character for place, character in enumerate(body)]
    if last and symbols:
        symbols[-1] += model.suffix
    return symbols


def as_json(root: Node) -> dict[str, Any]:
    """The tree as plain values: spelling, id, rank and parts of each symbol."""
    top: dict[str, Any] = {}
    waiting = [(root, top)]
    while waiting:
        node, value = waiting.pop()
        value |= {"spelling": node.spelling, "id": node.id, "rank": node.rank}
        if node.parts:
            value["parts"] = [{} for _ in node.parts]
            waiting += zip(node.parts, value["parts"], strict=True)
    return top
