"""`merge`: the union of two vocabularies. The first keeps its ids; what only the second has follows, in its order.

    BPE       the merges of the first, then those of the second. The first's come first everywhere, so a token of the
              second may not come about any more; where its text becomes two tokens, a merge of these two makes it
    Unigram   scores of the second on the scale of the first: see `scores`
    others    longest match, or whole words: the union is all there is to it

Both must normalise and split alike: the tokens of one would not be found in the pieces of the other.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from textmill.errors import ConfigError
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, Kind, Model, UnigramModel
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.surgery.edit import GONE, Edit, appended, grown, with_added, with_model
from textmill.tokenizers.surgery.scores import fitted, offset_between
from textmill.tokenizers.surgery.segments import Joiner
from textmill.tokenizers.tokenizer import Tokenizer

_VOCABULARY = ("tokens", "merges", "scores", "kinds", "pieces", "unknown")
"""Fields of a model that may differ, or that are compared by what they mean."""


def merge(first: Tokenizer, second: Tokenizer) -> Edit:
    """The first tokenizer with the second's tokens behind its own. Templates and the like stay the first's.

    Raises:
        ConfigError: they differ in another part than the vocabulary; it says in which.
    """
    one, two = first.pipeline, second.pipeline
    difference = _difference(one, two)
    if difference:
        raise ConfigError(
            f"two tokenizers can be merged if they differ in their vocabulary alone; these differ in {difference}",
            fix="train both with the same settings",
        )
    larger = _with_added_tokens(_with_tokens(one, two), two)
    return dataclasses.replace(grown(first, larger), other_to_new=_places(larger, two))


def _difference(one: Pipeline, two: Pipeline) -> str:
    """The part that differs, in words; empty if none does."""
    if type(one.model) is not type(two.model):
        names = [type(pipeline.model).__name__.removesuffix("Model") for pipeline in (one, two)]
        return f"the model: {names[0]} and {names[1]}"
    for part, name in (("normalizers", "normalisers"), ("splits", "splitters"), ("decoders", "decoders")):
        if getattr(one, part) != getattr(two, part):
            return f"their {name}: {_shown(getattr(one, part))} and {_shown(getattr(two, part))}"
    for field in dataclasses.fields(one.model):
        ours, theirs = getattr(one.model, field.name), getattr(two.model, field.name)
        if field.name not in _VOCABULARY and ours != theirs:
            return f"the model's {field.name}: {ours!r} and {theirs!r}"
    if (getattr(one.model, "merges", ()) is None) != (getattr(two.model, "merges", ()) is None):
        return "their rule of merging: a list of merges and an order of tokens"
    if _unknown(one.model) != _unknown(two.model):
        return f"the unknown token: {_unknown(one.model)!r} and {_unknown(two.model)!r}"
    return ""


def _shown(steps: tuple[Any, ...]) -> str:
    return f"{', '.join(repr(step) for step in steps) or 'none':.120}"


def _unknown(model: Model) -> str | None:
    if isinstance(model, UnigramModel):
        return None if model.unknown is None else model.pieces[model.unknown][0]
    return None if isinstance(model, BpeModel) else model.unknown


def _with_tokens(one: Pipeline, two: Pipeline) -> Pipeline:
    """The first with the tokens of the second's model."""
    model, other = one.model, two.model
    if isinstance(model, UnigramModel):
        assert isinstance(other, UnigramModel)
        # of a piece that stands twice the first one counts
        scores = dict(reversed(other.pieces))
        kinds = {piece: other.kinds[id] for id, (piece, _) in enumerate(other.pieces) if id in other.kinds}
        new = [(piece, scores[piece]) for piece in dict.fromkeys(piece for piece, _ in other.pieces)]
        new = [entry for entry in new if entry[0] not in one.ids]
        normal = [(piece, score) for piece, score in scores.items() if kinds.get(piece, "normal") == "normal"]
        fit = fitted(one, new, offset_between(model, normal))
        return appended(
            one,
            [piece for piece, _ in new],
            scores=[0.0 if piece in kinds else score for (piece, _), score in zip(new, fit, strict=True)],
            kinds=kinds,
        )
    assert not isinstance(other, UnigramModel)
    contents = {token.content.encode() if isinstance(model, BpeModel) else token.content for token in one.added}
    tokens: Mapping[Any, int] = other.tokens
    by_id = sorted(tokens, key=tokens.__getitem__)
    new_names = [name for name in by_id if name not in model.tokens and name not in contents]
    if isinstance(model, BpeModel | CharacterBpeModel) and isinstance(other, BpeModel | CharacterBpeModel):
        return _with_merges(one, other, new_names)
    return appended(one, new_names)


def _with_merges(one: Pipeline, other: BpeModel | CharacterBpeModel, names: list[Any]) -> Pipeline:
    kinds: Mapping[str, Kind] = other.kinds if isinstance(other, CharacterBpeModel) else {}
    own: dict[str, Kind] = {name: kinds[name] for name in names if name in kinds}
    model = one.model
    assert isinstance(model, BpeModel | CharacterBpeModel)
    if isinstance(other, CharacterBpeModel) and other.merges is None:
        # the best first: each gets a score below all that are there
        names.sort(key=lambda name: (name not in own, -other.scores.get(name, 0.0), other.tokens[name]))
    union = appended(one, names, kinds=own)
    if model.merges is None or other.merges is None:
        return union
    assert isinstance(union.model, BpeModel | CharacterBpeModel)
    known: set[tuple[Any, Any]] = set(model.merges)
    joiner = Joiner(union.model)
    more: list[tuple[Any, Any]] = []
    for left, right in other.merges:
        product = joiner.union(left, right)
        if (left, right) not in known and left in joiner.ids and right in joiner.ids and product in joiner.ids:
            known.add((left, right))
            more.append((left, right))
            joiner.add_merge(left, right)
    for name in names:
        ids = joiner.join(joiner.first(name))[0]
        if len(ids) == 2 and name not in own:
            left, right = joiner.names[ids[0]], joiner.names[ids[1]]
            more.append((left, right))
            joiner.add_merge(left, right)
    return with_model(union, merges=[*model.merges, *more])


def _with_added_tokens(larger: Pipeline, two: Pipeline) -> Pipeline:
    """With those added tokens of the second that the first has not, under their ids in the model if they have any."""
    known = {token.content for token in larger.added}
    new: list[AddedToken] = []
    next_id = len(larger.strings)
    for token in sorted(two.added, key=lambda token: token.id):
        if token.content in known:
            continue
        id = larger.ids.get(token.content, next_id)
        next_id += id == next_id
        new.append(dataclasses.replace(token, id=id))
    return with_added(larger, new)


def _places(larger: Pipeline, two: Pipeline) -> np.ndarray:
    """int32: the id in the union of each id of the second."""
    places = np.full(len(two.strings), GONE, dtype=np.int32)
    for name, id in two.ids.items():
        places[id] = larger.ids.get(name, GONE)
    if isinstance(two.model, BpeModel):
        contents = {token.content.encode(): token.id for token in larger.added}
        assert isinstance(larger.model, BpeModel)
        for token, id in two.model.tokens.items():
            places[id] = larger.model.tokens.get(token, contents.get(token, GONE))
    return places
