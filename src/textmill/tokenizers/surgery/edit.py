"""`Edit`: what a change of the vocabulary gives, and the parts of a pipeline put together again."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from textmill.errors import ConfigError
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, Kind, Model, UnigramModel
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.sentencepiece_model import byte_of
from textmill.tokenizers.steps import Finish, Template
from textmill.tokenizers.surgery.segments import Name, Segmenter
from textmill.tokenizers.tokenizer import Tokenizer

GONE = -1
"""In a map of ids: the token is not there any more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
    """A tokenizer with another vocabulary, and how it came from the old one."""

    tokenizer: Tokenizer
    old_to_new: np.ndarray
    """int32 [old vocabulary]: the new id of each old one, -1 where the token is gone."""
    new_pieces: Mapping[int, tuple[int, ...]]
    """Of each id that stands for a new token, the OLD ids that its text was encoded to before."""
    other_to_new: np.ndarray | None = None
    """Of a merge, int32: the new id of each id of the second tokenizer, -1 where it had none."""

    def to_json(self) -> dict[str, Any]:
        """The maps as a JSON object."""
        value: dict[str, Any] = {
            "vocab_size": self.tokenizer.vocab_size,
            "old_to_new": self.old_to_new.tolist(),
            "new_pieces": {str(id): list(pieces) for id, pieces in self.new_pieces.items()},
        }
        return value if self.other_to_new is None else {**value, "other_to_new": self.other_to_new.tolist()}


def appended(
    pipeline: Pipeline,
    names: Sequence[Any],
    *,
    merges: Iterable[tuple[Any, Any]] = (),
    scores: Sequence[float] | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Pipeline:
    """The pipeline with more tokens in its model, whose ids go on where the vocabulary ended.

    Args:
        names: bytes for byte-level BPE, else the strings of the vocabulary.
        merges: come after those that are there; models that have no list of them need none.
        scores: of the names, for models with scores; by default, of BPE, each below all that are there.
        kinds: of names that are not normal pieces, for models that know kinds.

    Raises:
        ConfigError: a name is that of an added token.
    """
    model, first = pipeline.model, len(pipeline.strings)
    contents = {token.content.encode() if isinstance(model, BpeModel) else token.content for token in pipeline.added}
    taken = [name for name in names if name in contents]
    if taken:
        shown = taken[0].decode() if isinstance(taken[0], bytes) else taken[0]
        raise ConfigError(f"the added token {shown!r} is also a word of the text", fix="take it out of the text")
    new = {name: first + place for place, name in enumerate(names)}
    if isinstance(model, UnigramModel):
        return dataclasses.replace(pipeline, model=_with_pieces(pipeline, model, names, scores, kinds or {}))
    tokens: dict[Any, int] = {**model.tokens, **new}
    if isinstance(model, BpeModel | CharacterBpeModel) and model.merges is not None:
        return with_model(pipeline, tokens=tokens, merges=[*model.merges, *merges])
    if isinstance(model, CharacterBpeModel):
        filled, more_kinds = _filled(pipeline, len(model.tokens), first)
        tokens = {**model.tokens, **filled, **new}
        lowest = min((model.scores.get(name, 0.0) for name in model.tokens), default=0.0)
        own = scores or [lowest - 1.0 - place for place in range(len(names))]
        return with_model(
            pipeline,
            tokens=tokens,
            scores={**model.scores, **dict.fromkeys(filled, 0.0), **dict(zip(names, own, strict=True))},
            kinds={**model.kinds, **more_kinds, **(kinds or {})},
        )
    return with_model(pipeline, tokens=tokens)


def with_model(pipeline: Pipeline, **fields: Any) -> Pipeline:
    """The pipeline with other fields in its model."""
    model: Any = pipeline.model
    return dataclasses.replace(pipeline, model=dataclasses.replace(model, **fields))


def _with_pieces(
    pipeline: Pipeline,
    model: UnigramModel,
    names: Sequence[str],
    scores: Sequence[float] | None,
    kinds: Mapping[str, Kind],
) -> UnigramModel:
    assert scores is not None, "a unigram piece needs a score"
    size, first = len(model.pieces), len(pipeline.strings)
    filled, more_kinds = _filled(pipeline, size, first)
    known = {size + place: more_kinds[name] for place, name in enumerate(filled)}
    if known and not model.kinds and model.byte_fallback:
        # where some kinds are told, byte pieces are those that say so
        known |= {id: "byte" for id, (piece, _) in enumerate(model.pieces) if byte_of(piece) is not None}
    new = {first + place: kinds[name] for place, name in enumerate(names) if name in kinds}
    pieces = [*model.pieces, *((name, 0.0) for name in filled), *zip(names, scores, strict=True)]
    return dataclasses.replace(model, pieces=pieces, kinds={**model.kinds, **known, **new})


def _filled(pipeline: Pipeline, start: int, stop: int) -> tuple[dict[str, int], dict[str, Kind]]:
    """Tokens for the ids from `start` on that only added tokens have: pieces are numbered without a hole."""
    tokens: dict[str, int] = {}
    kinds: dict[str, Kind] = {}
    for id in range(start, stop):
        name = pipeline.strings[id]
        kind: Kind = "unused" if name is None else "control"
        tokens[name or f"<unused{id}>"] = id
        kinds[name or f"<unused{id}>"] = kind
    return tokens, kinds


def grown(old: Tokenizer, pipeline: Pipeline) -> Edit:
    """The edit that has led to a pipeline in which all old ids are what they were."""
    first = old.vocab_size
    segments = Segmenter(old.pipeline)
    names: dict[int, Name] = {}
    if isinstance(pipeline.model, UnigramModel):
        names = {id: piece for id, (piece, _) in enumerate(pipeline.model.pieces) if id >= first}
    else:
        names = {id: name for name, id in pipeline.model.tokens.items() if id >= first}
    pieces = {id: segments(name) for id, name in sorted(names.items())}
    pieces |= {token.id: tuple(old.encode(token.content)) for token in pipeline.added if token.id >= first}
    return Edit(
        tokenizer=Tokenizer(pipeline),
        old_to_new=np.arange(first, dtype=np.int32),
        new_pieces=dict(sorted(pieces.items())),
    )


def renumbered(pipeline: Pipeline, model: Model, old_to_new: np.ndarray) -> Pipeline:
    """The pipeline around a model whose ids have been renumbered already."""

    def moved(token: AddedToken) -> AddedToken:
        return dataclasses.replace(token, id=int(old_to_new[token.id]))

    padding = pipeline.padding
    if padding is not None and 0 <= padding.pad_id < len(old_to_new):
        padding = dataclasses.replace(padding, pad_id=max(0, int(old_to_new[padding.pad_id])))
    return dataclasses.replace(
        pipeline,
        model=model,
        added=tuple(moved(token) for token in pipeline.added if old_to_new[token.id] != GONE),
        finish=tuple(_moved_template(step, old_to_new) for step in pipeline.finish),
        padding=padding,
    )


def _moved_template(step: Finish, old_to_new: np.ndarray) -> Finish:
    if not isinstance(step, Template):
        return step
    special = tuple((name, tuple(int(old_to_new[id]) for id in ids)) for name, ids in step.special_tokens)
    return dataclasses.replace(step, special_tokens=special)


def with_added(pipeline: Pipeline, added: Sequence[AddedToken]) -> Pipeline:
    """The pipeline with more added tokens."""
    return dataclasses.replace(pipeline, added=(*pipeline.added, *added))
