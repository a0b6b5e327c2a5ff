"""`add_words`: whole words, or several of them, as tokens of their own.

A word that the splitter keeps in one piece becomes a token of the model:

    BPE                merges after all others: the first two tokens of the word, as often as it takes to make it one
    WordPiece, words   a token, which the longest match finds
    Unigram            a piece, a little more probable than the pieces that spelled it

A word that reaches across pieces ("New York" where blanks split), and one that the model's rule would not find, becomes
an added token: found in the text as it stands, before anything else, also inside longer words.

With BPE the tokens on the way to a word are new too, and they join wherever they stand: what contains a part of the
word may be encoded anew, as the old tokens joined further.
"""

from collections.abc import Sequence
from typing import Any

from textmill.errors import ConfigError
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, UnigramModel, WordPieceModel
from textmill.tokenizers.normalizing import normalize
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.splitting import split
from textmill.tokenizers.surgery.edit import Edit, appended, grown, with_added
from textmill.tokenizers.surgery.scores import fitted
from textmill.tokenizers.surgery.segments import Joiner
from textmill.tokenizers.tokenizer import Tokenizer

_NO_SCORE = -1e30


def add_words(tokenizer: Tokenizer, words: Sequence[str]) -> Edit:
    """The tokenizer with a token for each word; words that are one token already change nothing.

    A word is meant as it stands in a text: for a byte-level tokenizer " word" and "word" are two.

    Raises:
        ConfigError: no word, or one of which normalisation leaves nothing.
    """
    words = list(dict.fromkeys(words))
    if not words:
        raise ConfigError("there must be at least one word to add, got none", fix="name the words")
    missing = [word for word in words if not _is_one_token(tokenizer, word)]
    pipeline = tokenizer.pipeline
    spelled = {word: _piece(pipeline, word) for word in missing}
    whole = {word: piece for word, piece in spelled.items() if piece is not None}
    if whole:
        pipeline = _with_words(pipeline, list(dict.fromkeys(whole.values())))
        trial = Tokenizer(pipeline)
        missing = [word for word in missing if not _is_one_token(trial, word)]
    unnamed = [word for word in missing if word not in pipeline.ids]
    ids = pipeline.ids | {word: len(pipeline.strings) + place for place, word in enumerate(unnamed)}
    added = [AddedToken(content=word, id=ids[word], special=False) for word in missing]
    return grown(tokenizer, with_added(pipeline, added))


def _is_one_token(tokenizer: Tokenizer, word: str) -> bool:
    ids = tokenizer.encode(word)
    unknown = getattr(tokenizer.pipeline.model, "unknown", None)
    return len(ids) == 1 and ids[0] != (tokenizer.token_to_id(unknown) if isinstance(unknown, str) else unknown)


def _piece(pipeline: Pipeline, word: str) -> str | None:
    """The normalised word if the splitter keeps it whole, else None."""
    normal = normalize(word, pipeline.normalizers)
    if not word or (word.strip() and not normal.strip(" ▁")):
        raise ConfigError(f"a word to add needs a character that normalisation keeps, got {word!r}", fix="leave it out")
    characters = not isinstance(pipeline.model, BpeModel)
    pieces = list(split(normal, pipeline.splits, byte_characters=characters))
    return pieces[0] if len(pieces) == 1 else None


def _with_words(pipeline: Pipeline, pieces: Sequence[str]) -> Pipeline:
    """The pipeline whose model knows the pieces, as far as its rule can find them."""
    model = pipeline.model
    if isinstance(model, BpeModel | CharacterBpeModel):
        return _with_merges(pipeline, model, pieces)
    pieces = [piece for piece in pieces if piece not in pipeline.ids]
    if isinstance(model, UnigramModel):
        return appended(pipeline, pieces, scores=fitted(pipeline, [(piece, _NO_SCORE) for piece in pieces], 0.0))
    if isinstance(model, WordPieceModel):
        pieces = [piece for piece in pieces if len(piece) <= model.longest_word]
    return appended(pipeline, pieces)


def _with_merges(pipeline: Pipeline, model: BpeModel | CharacterBpeModel, pieces: Sequence[str]) -> Pipeline:
    joiner = Joiner(model)
    suffix = model.suffix if isinstance(model, CharacterBpeModel) else ""
    first = len(pipeline.strings)
    contents = {token.content.encode() if isinstance(model, BpeModel) else token.content for token in pipeline.added}
    names: list[Any] = []
    merges: list[tuple[Any, Any]] = []

    def know(name: Any) -> None:
        if name not in joiner.ids:
            joiner.add_token(name, first + len(names))
            names.append(name)

    for piece in pieces:
        word: Any = piece.encode("utf-8", "surrogateescape") if isinstance(model, BpeModel) else piece + suffix
        characters = joiner.characters(word)
        if contents & {word, *characters}:
            continue
        for character in characters:
            know(character)
        while len(ids := joiner.join(joiner.first(word))[0]) > 1:
            left, right = joiner.names[ids[0]], joiner.names[ids[1]]
            before = len(names)
            know(joiner.union(left, right))
            if model.merges is not None:
                joiner.add_merge(left, right)
                merges.append((left, right))
            elif before == len(names):
                # a token that its kind keeps from being joined
                break
    return appended(pipeline, names, merges=merges)
