"""The part `model` of a tokenizer.json, written."""

from collections.abc import Mapping, Sequence
from typing import Any

from textmill.errors import NotSupportedError
from textmill.tokenizers.byte_level import to_characters
from textmill.tokenizers.models import (
    BpeModel,
    CharacterBpeModel,
    Kind,
    Model,
    UnigramModel,
    WordPieceModel,
    WordsModel,
    tokens_of,
)
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.tiktoken_format import merges_of_ranks
from textmill.tokenizers.tokenizer_json.reading_models import OWN

_NO_TOKEN = "<unk>"


def write_model(pipeline: Pipeline) -> dict[str, Any]:
    """The JSON object of the pipeline's model.

    An added token stands in the vocabulary as well where its id could not be kept otherwise.

    Raises:
        NotSupportedError: ids that the schema cannot express.
    """
    model = pipeline.model
    match model:
        case BpeModel():
            return _byte_level(model, _by_id(pipeline.ids))
        case CharacterBpeModel():
            return _character_bpe(model, vocabulary(model, pipeline.added))
        case WordPieceModel():
            return {
                "type": "WordPiece",
                "unk_token": model.unknown,
                "continuing_subword_prefix": model.prefix,
                "max_input_chars_per_word": model.longest_word,
                "vocab": vocabulary(model, pipeline.added),
            }
        case UnigramModel():
            return _unigram(model, pipeline.added)
        case WordsModel():
            vocab = vocabulary(model, pipeline.added)
            return {"type": "WordLevel", "vocab": vocab, "unk_token": model.unknown or _NO_TOKEN}


def vocabulary(model: Model, added: Sequence[AddedToken]) -> dict[str, int]:
    """The model's tokens by id, with those added tokens that `tokenizers` would give another id."""
    tokens = dict(tokens_of(model))
    if not _ids_follow(tokens, added):
        tokens |= {token.content: token.id for token in added}
    return _by_id(tokens)


def _ids_follow(tokens: Mapping[str, int], added: Sequence[AddedToken]) -> bool:
    given = dict(tokens)
    return all(given.setdefault(token.content, len(given)) == token.id for token in added)


def _by_id(tokens: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(tokens.items(), key=lambda item: item[1]))


def _bpe(vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], **options: Any) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        **options,
        "vocab": vocab,
        "merges": [list(pair) for pair in merges],
    }


def _byte_level(model: BpeModel, vocab: Mapping[str, int]) -> dict[str, Any]:
    """A tiktoken vocabulary becomes a merge list and `ignore_merges`."""
    pairs = merges_of_ranks(dict(model.tokens)) if model.merges is None else model.merges
    merges = [(to_characters(left), to_characters(right)) for left, right in pairs]
    return _bpe(vocab, merges, ignore_merges=model.whole_pieces or model.merges is None)


def _character_bpe(model: CharacterBpeModel, vocab: Mapping[str, int]) -> dict[str, Any]:
    merges = merges_of_scores(model) if model.merges is None else model.merges
    own: dict[str, Any] = {"kinds": dict(model.kinds)} if model.kinds else {}
    if model.merges is None:
        own |= {"scores": dict(model.scores)}
    return _bpe(
        vocab,
        merges,
        unk_token=model.unknown,
        continuing_subword_prefix=model.prefix or None,
        end_of_word_suffix=model.suffix or None,
        fuse_unk=model.fuse_unknown,
        byte_fallback=model.byte_fallback,
        ignore_merges=model.whole_pieces,
        **({OWN: own} if own else {}),
    )


def merges_of_scores(model: CharacterBpeModel) -> list[tuple[str, str]]:
    """The merge list that does what sentencepiece's scores do: the best union first, of its parts any.

    >>> tokens = {token: id for id, token in enumerate(["a", "b", "ab", "aab"])}
    >>> merges_of_scores(CharacterBpeModel(tokens=tokens, merges=None, scores={"ab": -1.0, "aab": -2.0}))
    [('a', 'b'), ('a', 'ab')]
    """
    usual: tuple[Kind, ...] = ("normal", "user_defined", "unused")
    parts = {token for token in model.tokens if model.kinds.get(token, "normal") in usual}
    pairs = [
        (-model.scores.get(token, 0.0), model.tokens[token], token[:cut], token[cut:])
        for token in parts
        if model.kinds.get(token, "normal") == "normal"
        for cut in range(1, len(token))
        if token[:cut] in parts and token[cut:] in parts
    ]
    pairs.sort(key=lambda row: (row[0], row[1], model.tokens[row[2]], model.tokens[row[3]]))
    return [(left, right) for _, _, left, right in pairs]


def _unigram(model: UnigramModel, added: Sequence[AddedToken]) -> dict[str, Any]:
    if not _ids_follow(tokens_of(model), added):
        raise NotSupportedError(
            "in a tokenizer.json, ids of tokens added to a Unigram model go on where its pieces end",
            fix="give the added tokens the next ids, in order",
        )
    own: dict[str, Any] = {"precision": model.precision} if model.precision != "float64" else {}
    own |= {"kinds": {str(id): kind for id, kind in model.kinds.items()}} if model.kinds else {}
    return {
        "type": "Unigram",
        "unk_id": model.unknown,
        "vocab": [list(entry) for entry in model.pieces],
        "byte_fallback": model.byte_fallback,
        **({OWN: own} if own else {}),
    }
