"""How one token's text is encoded without that token: in Python, for the few bytes that a token has.

The encoders of `ops` work on whole pieces of text. A token may stand for the inside of a piece, as "##ing" does, which
no text is, so its spelling is taken apart here by the same rules.
"""

import heapq
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from textmill.ops.memory import padded
from textmill.tokenizers.encoders import unigram_encoder
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, UnigramModel, WordPieceModel, WordsModel
from textmill.tokenizers.pipeline import Pipeline

_GONE = -1

Name = bytes | str
"""A token as the model spells it: bytes for byte-level BPE."""


class Joiner:
    """The merges of a BPE model, applied to lists of ids. Merges and tokens may be added."""

    def __init__(self, model: BpeModel | CharacterBpeModel) -> None:
        self.model = model
        self.ids: dict[Any, int] = dict(model.tokens)
        self.names: dict[int, Any] = {id: name for name, id in model.tokens.items()}
        self._merges: dict[tuple[int, int], tuple[float, int]] | None = None
        self._scores: dict[int, float] = {}
        self._prefix = model.prefix if isinstance(model, CharacterBpeModel) else ""
        if model.merges is not None:
            self._merges = {}
            for left, right in model.merges:
                self.add_merge(left, right)
        elif isinstance(model, CharacterBpeModel):
            # sentencepiece joins normal pieces alone, the one of the highest score first
            normal = (name for name in model.tokens if model.kinds.get(name, "normal") == "normal")
            self._scores = {model.tokens[name]: -model.scores.get(name, 0.0) for name in normal}
        else:
            self._scores = {id: float(id) for id in model.tokens.values()}

    def union(self, left: Any, right: Any) -> Any:
        """The name of two tokens joined."""
        return left + (right.removeprefix(self._prefix) if self._prefix else right)

    def add_token(self, name: Any, id: int) -> None:
        """A token that comes after all others; models without a list of merges join to it from now on."""
        self.ids[name], self.names[id] = id, name
        if self._merges is None:
            self._scores[id] = max(self._scores.values(), default=0.0) + 1.0

    def add_merge(self, left: Any, right: Any) -> None:
        """A merge that comes after all others, where the model has a list of them and knows the tokens."""
        product = self.ids.get(self.union(left, right))
        if self._merges is not None and left in self.ids and right in self.ids and product is not None:
            self._merges[self.ids[left], self.ids[right]] = float(len(self._merges)), product

    def characters(self, name: Any) -> list[Any]:
        """The names of the bytes or characters that a token begins as.

        >>> model = CharacterBpeModel(tokens={}, merges=[], suffix="</w>")
        >>> Joiner(model).characters("ab</w>")
        ['a', 'b</w>']
        """
        model = self.model
        if isinstance(model, BpeModel):
            return [bytes([byte]) for byte in name]
        inside = bool(model.prefix) and name.startswith(model.prefix)
        text = name.removeprefix(model.prefix)
        suffix = model.suffix if model.suffix and len(text) > len(model.suffix) and text.endswith(model.suffix) else ""
        parts = [model.prefix + character for character in text.removesuffix(suffix)]
        if parts and not inside:
            parts[0] = parts[0].removeprefix(model.prefix)
        return [*parts[:-1], *(part + suffix for part in parts[-1:])]

    def first(self, name: Any) -> list[int]:
        """The ids that a token begins as; unknown characters as byte tokens or the unknown token."""
        model, found = self.model, list[int]()
        for part in self.characters(name):
            if part in self.ids:
                found.append(self.ids[part])
            elif isinstance(model, CharacterBpeModel):
                character = part.removeprefix(model.prefix).removesuffix(model.suffix)
                as_bytes = [self.ids.get(f"<0x{value:02X}>") for value in character.encode("utf-8", "surrogatepass")]
                if model.byte_fallback and None not in as_bytes:
                    found += [id for id in as_bytes if id is not None]
                elif model.unknown in self.ids:
                    found.append(self.ids[model.unknown])
        return found

    def join(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """(the ids when no merge is left, the products of the merges in order). Near-linear: tokens may be long."""
        ids, products, end = list(ids), list[int](), len(ids)
        before, after = list(range(-1, end - 1)), list(range(1, end + 1))
        # the best rank first, then the leftmost; with the ids that must still stand there
        waiting: list[tuple[float, int, int, int, int]] = []

        def consider(at: int) -> None:
            if at >= 0 and after[at] < end:
                pair = ids[at], ids[after[at]]
                found = self._pair(*pair)
                if found is not None:
                    heapq.heappush(waiting, (found[0], at, found[1], *pair))

        for at in range(end):
            consider(at)
        while waiting:
            _, at, product, left, right = heapq.heappop(waiting)
            gone = after[at]
            if ids[at] != left or gone >= end or ids[gone] != right:
                continue
            ids[at], ids[gone] = product, _GONE
            after[at] = after[gone]
            if after[at] < end:
                before[after[at]] = at
            products.append(product)
            consider(before[at])
            consider(at)
        return [id for id in ids if id != _GONE], products

    def _pair(self, left: int, right: int) -> tuple[float, int] | None:
        """(rank, product): the smaller rank is merged first."""
        if self._merges is not None:
            return self._merges.get((left, right))
        product = self.ids.get(self.names[left] + self.names[right])
        if product is None or product not in self._scores or not self._joins(left) or not self._joins(right):
            return None
        return self._scores[product], product

    def _joins(self, id: int) -> bool:
        return not isinstance(self.model, CharacterBpeModel) or id in self._scores


class Segmenter:
    """Token names to the ids that their text has in a vocabulary without them."""

    def __init__(self, pipeline: Pipeline) -> None:
        model = pipeline.model
        self._segment: Callable[[Any], list[int]]
        match model:
            case BpeModel() | CharacterBpeModel():
                joiner = Joiner(model)
                self._segment = lambda name: joiner.join(joiner.first(name))[0]
            case WordPieceModel():
                self._segment = lambda name: longest_matches(name, model)
            case UnigramModel():
                encoder = unigram_encoder(model)

                def segment(name: str) -> list[int]:
                    data = name.encode("utf-8", "surrogatepass")
                    return encoder.encode(padded(data), 0, np.array([len(data)], dtype=np.int32)).tolist()

                self._segment = segment
            case WordsModel():
                self._segment = lambda name: _word(name, model.tokens, model.unknown)

    def __call__(self, name: Name) -> tuple[int, ...]:
        """The ids, none where nothing of the text is known."""
        return tuple(self._segment(name))


def longest_matches(name: str, model: WordPieceModel) -> list[int]:
    """WordPiece on a token's spelling, which may be that of the inside of a word.

    >>> tokens = {"[UNK]": 0, "a": 1, "##a": 2, "##ab": 3}
    >>> longest_matches("aaba", WordPieceModel(tokens=tokens)), longest_matches("##aba", WordPieceModel(tokens=tokens))
    ([1, 3, 2], [3, 2])
    """
    inside = name.startswith(model.prefix) and len(name) > len(model.prefix)
    text, at, found = name.removeprefix(model.prefix) if inside else name, 0, list[int]()
    while at < len(text):
        prefix = model.prefix if inside or at else ""
        ends = (end for end in range(len(text), at, -1) if prefix + text[at:end] in model.tokens)
        end = next(ends, None)
        if end is None:
            return _word(model.unknown, model.tokens, None)
        found.append(model.tokens[prefix + text[at:end]])
        at = end
    return found


def _word(name: str, tokens: Mapping[str, int], unknown: str | None) -> list[int]:
    id = tokens.get(name, tokens.get(unknown) if unknown is not None else None)
    return [] if id is None else [id]
