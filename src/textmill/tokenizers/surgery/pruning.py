"""`prune`: a smaller vocabulary, of the tokens that a text needs most.

What is always kept: special and added tokens, the unknown token, byte tokens, and the alphabet, so that no text becomes
impossible to encode. BPE also keeps the tokens of which a kept token is made, so that its merges still lead to it.

Where the old tokenizer encodes a text with kept tokens alone, the new one gives the same tokens: what is gone takes
part in no merge that leads to them, is no longer match, and had no better score. (A WordPiece word that was unknown may
find tokens, where a longer match led nowhere.)
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, Model, UnigramModel, WordPieceModel, WordsModel
from textmill.tokenizers.pipeline import Pipeline
from textmill.tokenizers.sentencepiece_model import byte_of
from textmill.tokenizers.surgery.edit import GONE, Edit, renumbered
from textmill.tokenizers.surgery.scores import is_normal
from textmill.tokenizers.surgery.segments import Joiner
from textmill.tokenizers.tokenizer import Tokenizer

_DOCUMENTS_AT_ONCE = 1024


def prune(
    tokenizer: Tokenizer,
    texts: Iterable[str | bytes],
    *,
    vocab_size: int | None = None,
    min_count: int | None = None,
    keep: Iterable[int] = (),
    keep_alphabet: bool = True,
    threads: int = 1,
) -> Edit:
    """The tokenizer with the tokens most used on the texts. Ids are dense, in the order of the old ones.

    Args:
        vocab_size: how many tokens to keep at most; what the text leaves room for is filled up by the lowest ids.
        min_count: or keep the tokens that are used so often.
        keep: old ids to keep in any case.
        keep_alphabet: False: characters, but not the bytes of byte-level BPE, go too where they are not used.

    Raises:
        ConfigError: not exactly one of vocab_size and min_count, or the vocabulary is smaller than what must stay, or
            no smaller than it was.
        DataError: no text.
    """
    if (vocab_size is None) == (min_count is None):
        raise ConfigError("pruning needs a vocabulary size or a least count, one of the two", fix="give vocab_size")
    if min_count is not None and min_count < 1:
        raise ConfigError(f"the least count must be >= 1, got {min_count}", fix="use 1 to keep what is used at all")
    pipeline = tokenizer.pipeline
    needed = _needed(pipeline, set(keep), keep_alphabet=keep_alphabet)
    present = sum(token is not None for token in pipeline.strings)
    if vocab_size is not None and not len(needed) <= vocab_size < present:
        least = f"at least {len(needed)}, which must stay (special tokens, alphabet)"
        raise ConfigError(
            f"the pruned vocabulary must have {least}, and fewer than the {present} of now, got {vocab_size}",
            fix=f"use a number from {len(needed)} to {present - 1}",
        )
    counts = token_counts(tokenizer, texts, threads=threads)
    if not counts.any():
        raise DataError("there is no text to prune a tokenizer to", fix="give at least one text that is not empty")
    kept = _chosen(pipeline, counts, needed, vocab_size, min_count)
    old_to_new = np.full(len(pipeline.strings), GONE, dtype=np.int32)
    old_to_new[sorted(kept)] = np.arange(len(kept), dtype=np.int32)
    smaller = renumbered(pipeline, _without_others(pipeline.model, old_to_new), old_to_new)
    return Edit(tokenizer=Tokenizer(smaller), old_to_new=old_to_new, new_pieces={})


def token_counts(tokenizer: Tokenizer, texts: Iterable[str | bytes], *, threads: int = 1) -> np.ndarray:
    """int64 [vocabulary]: how often each token is used."""
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    documents = iter(texts)
    while batch := list(islice(documents, _DOCUMENTS_AT_ONCE)):
        ids, _ = tokenizer.encode_documents(batch, threads=threads)
        counts += np.bincount(ids, minlength=len(counts))
    return counts


def _needed(pipeline: Pipeline, keep: set[int], *, keep_alphabet: bool) -> set[int]:
    """The ids that stay whatever the text."""
    outside = [id for id in keep if not (0 <= id < len(pipeline.strings) and pipeline.strings[id] is not None)]
    if outside:
        raise ConfigError(f"there is no token with the id {outside[0]} to keep", fix="give ids of this tokenizer")
    needed = keep | {token.id for token in pipeline.added}
    model = pipeline.model
    if isinstance(model, UnigramModel):
        normal = [id for id in range(len(model.pieces)) if is_normal(model, id)]
        needed |= set(range(len(model.pieces))) - set(normal)
        # what an unknown character costs depends on the lowest score
        needed |= {min(normal, key=lambda id: model.pieces[id][1])} if normal else set()
        return needed | ({id for id in normal if len(model.pieces[id][0]) == 1} if keep_alphabet else set())
    if isinstance(model, BpeModel):
        return needed | {id for token, id in model.tokens.items() if len(token) == 1}
    needed |= {id for token, id in model.tokens.items() if token == model.unknown}
    if isinstance(model, WordsModel):
        return needed
    if isinstance(model, CharacterBpeModel):
        needed |= {model.tokens[token] for token, kind in model.kinds.items() if kind != "normal"} & _ids(model)
        needed |= {id for token, id in model.tokens.items() if model.byte_fallback and byte_of(token) is not None}
    return needed | (_alphabet(model) if keep_alphabet else set())


def _ids(model: CharacterBpeModel) -> set[int]:
    return set(model.tokens.values())


def _alphabet(model: CharacterBpeModel | WordPieceModel) -> set[int]:
    suffix = model.suffix if isinstance(model, CharacterBpeModel) else ""
    return {id for token, id in model.tokens.items() if len(token.removeprefix(model.prefix).removesuffix(suffix)) <= 1}


def _chosen(
    pipeline: Pipeline, counts: np.ndarray, needed: set[int], vocab_size: int | None, min_count: int | None
) -> set[int]:
    """The ids to keep: by count, the lower id first, each with the tokens that it is made of."""
    kept = set(needed)
    parts = _parts(pipeline.model)
    for id in np.lexsort((np.arange(len(counts)), -counts)).tolist():
        if pipeline.strings[id] is None or id in kept:
            continue
        if vocab_size is None:
            if counts[id] < (min_count or 1):
                break
            kept |= parts(id)
        elif len(kept) < vocab_size:
            new = parts(id) - kept
            kept |= new if len(kept) + len(new) <= vocab_size else set()
        else:
            break
    return kept


def _parts(model: Model) -> Callable[[int], set[int]]:
    """The function from an id to what must be there for it to come about, itself included."""
    if not isinstance(model, BpeModel | CharacterBpeModel):
        return lambda id: {id}
    joiner = Joiner(model)

    def made_of(id: int) -> set[int]:
        characters = joiner.first(joiner.names[id])
        ids, products = joiner.join(characters)
        # a token that no merges lead to is found as a whole piece, or never
        return {id, *characters, *products} if ids == [id] else {id}

    return made_of


def _without_others(model: Model, old_to_new: np.ndarray) -> Model:
    """The model with the tokens that have a new id, under it."""
    new = {id: int(number) for id, number in enumerate(old_to_new) if number != GONE}
    if isinstance(model, UnigramModel):
        return dataclasses.replace(
            model,
            pieces=[entry for id, entry in enumerate(model.pieces) if id in new],
            unknown=None if model.unknown is None else new[model.unknown],
            kinds={new[id]: kind for id, kind in model.kinds.items() if id in new},
        )
    tokens: dict[Any, int] = {token: new[id] for token, id in model.tokens.items() if id in new}
    changes: dict[str, Any] = {"tokens": tokens}
    if isinstance(model, BpeModel | CharacterBpeModel) and model.merges is not None:
        changes["merges"] = list(_known_merges(model.merges, tokens, getattr(model, "prefix", "")))
    if isinstance(model, CharacterBpeModel):
        changes["scores"] = {token: score for token, score in model.scores.items() if token in tokens}
        changes["kinds"] = {token: kind for token, kind in model.kinds.items() if token in tokens}
    return dataclasses.replace(model, **changes)


def _known_merges(merges: Sequence[tuple[Any, Any]], tokens: dict[Any, int], prefix: str) -> Iterator[tuple[Any, Any]]:
    for left, right in merges:
        product = left + (right.removeprefix(prefix) if prefix else right)
        if left in tokens and right in tokens and product in tokens:
            yield left, right
