"""Which tokens of a vocabulary no text is ever encoded to: rows of the embedding that cost memory and learn nothing.

A token is reachable if some text gives it. The test is to encode its own text in a few contexts, and to see whether the
token comes out. What that proves depends on the algorithm:

    BPE        Merges inside a token that ends up in the result are never crossed by others, so they happen in the same
               order when the token's symbols stand alone. A token that its own symbols don't merge to is never given.
               Exact, but for splitting.
    Unigram    Part of a best segmentation is the best segmentation of that part. A piece that its own text isn't
               segmented to could be replaced wherever it stood. Exact, but for splitting and normalisation; of two
               segmentations of equal probability the one that stands alone decides.
    WordPiece  The longest token is taken each time. After a token that nothing in the vocabulary continues, the rest of
               a word is matched by itself, so a "##" token is tried after such tokens. Exact where one of them is found
               and is made of letters, but for splitting and normalisation.
    words      A word is looked up. Exact, but for splitting and normalisation.

"But for": a splitting pattern may cut a token's text in the contexts tried here and leave it whole in another one, so
tokens with blanks or punctuation inside may be called unreachable wrongly. Tokens that begin or end inside a character
can't be tried in a text; for them the merges alone decide.

Not judged, and taken for reachable: added and special tokens, the unknown token, byte-fallback tokens, and pieces that
a sentencepiece model marks as controls or unused.

Source: Land & Bartolo 2024, "Fishing for Magikarp", arXiv:2405.05417, section 3.1 (they encode the token's text alone).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from textmill.errors import TextmillError
from textmill.metrics.tokens import BYTE, NORMAL, SPECIAL, UNKNOWN
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.decoder_steps import BYTE_TOKEN
from textmill.tokenizers.models import (
    BpeModel,
    CharacterBpeModel,
    UnigramModel,
    WordPieceModel,
    WordsModel,
)

_ALONE = "\ue000"
"""A private character: no vocabulary merges it with anything, so what stands beside it is encoded by itself."""
_CONTEXTS = (
    *(("", ""), (" ", ""), ("a", ""), ("a ", ""), ("", " a"), ("\n", ""), (".", "")),
    *((_ALONE, ""), (_ALONE, _ALONE), (f"{_ALONE} ", ""), (f"{_ALONE} ", _ALONE)),
)
"""What stands before and after a token's text."""
_MOST_STARTS = 4
"""Beginnings of words that a WordPiece token is tried after."""


def kinds_of_ids(tokenizer: Tokenizer) -> np.ndarray:
    """uint8 [vocab_size]: what each id stands for: text, the unknown, a byte, or nothing in the text (`SPECIAL`)."""
    pipeline, model = tokenizer.pipeline, tokenizer.pipeline.model
    kinds = np.full(tokenizer.vocab_size, NORMAL, np.uint8)
    marked = {}
    if isinstance(model, UnigramModel):
        marked = dict(model.kinds)
    elif isinstance(model, CharacterBpeModel):
        marked = {model.tokens[token]: kind for token, kind in model.kinds.items()}
    for id, kind in marked.items():
        kinds[id] = {"unknown": UNKNOWN, "byte": BYTE, "control": SPECIAL, "unused": SPECIAL}.get(kind, NORMAL)
    if getattr(model, "byte_fallback", False):
        kinds[[id for id, token in enumerate(pipeline.strings) if token and BYTE_TOKEN.fullmatch(token)]] = BYTE
    kinds[[token.id for token in pipeline.added]] = SPECIAL
    unknown = getattr(model, "unknown", None)
    if unknown is not None:
        kinds[unknown if isinstance(unknown, int) else pipeline.ids[unknown]] = UNKNOWN
    return kinds


def surface(tokenizer: Tokenizer, id: int) -> bytes:
    """The text that a token spells, without marks such as "##" and "</w>"; "▁" is a blank.

    Raises:
        DataError: there is no such id.
    """
    model, spelling = tokenizer.pipeline.model, tokenizer.id_to_token(id)
    match model:
        case BpeModel():
            return tokenizer.id_to_bytes(id)
        case WordPieceModel():
            return (spelling.removeprefix(model.prefix) or spelling).encode("utf-8", "replace")
        case WordsModel():
            return spelling.encode("utf-8", "replace")
        case CharacterBpeModel():
            for mark in filter(None, (model.prefix, model.suffix)):
                spelling = spelling.removeprefix(mark) if mark == model.prefix else spelling.removesuffix(mark)
    if BYTE_TOKEN.fullmatch(spelling):
        return tokenizer.id_to_bytes(id)
    return spelling.replace("▁", " ").encode("utf-8", "replace")


def unreachable_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """int64: the ids that no text is encoded to, in order; see the head of this file for how sure that is."""
    strings = tokenizer.pipeline.strings
    open_ids = np.flatnonzero(kinds_of_ids(tokenizer) == NORMAL)
    open_ids = np.array([id for id in open_ids.tolist() if strings[id] is not None], np.int64)
    texts = {id: surface(tokenizer, id) for id in open_ids.tolist()}
    if isinstance(tokenizer.pipeline.model, BpeModel):
        made = _made_by_merges(tokenizer, open_ids, texts)
        # merges may lead to a token whose bytes are no text; in text they stand beside the rest of a character
        never = open_ids[~made]
        open_ids = np.array([id for id in open_ids[made].tolist() if _is_text(texts[id])], np.int64)
        return np.sort(np.concatenate([never, _not_given(tokenizer, open_ids, texts, _CONTEXTS)]))
    contexts: tuple[tuple[str, str], ...] = _CONTEXTS
    if isinstance(tokenizer.pipeline.model, WordPieceModel):
        contexts += tuple((start, "") for start in _starts_of_words(tokenizer, tokenizer.pipeline.model))
    return _not_given(tokenizer, open_ids, texts, contexts)


def _not_given(
    tokenizer: Tokenizer, ids: np.ndarray, texts: dict[int, bytes], contexts: Sequence[tuple[str, str]]
) -> np.ndarray:
    """int64: of `ids`, those that no context gives."""
    for before, after in contexts:
        if not len(ids):
            break
        left, right = before.encode(), after.encode()
        try:
            found, offsets = tokenizer.encode_documents([left + texts[id] + right for id in ids.tolist()])
        except TextmillError:
            # a vocabulary without an unknown token can't say every context
            continue
        wanted = np.repeat(ids, np.diff(offsets))
        owner = np.repeat(np.arange(len(ids)), np.diff(offsets))
        ids = ids[np.bincount(owner[found == wanted], minlength=len(ids)) == 0]
    return ids


def _made_by_merges(tokenizer: Tokenizer, ids: np.ndarray, texts: dict[int, bytes]) -> np.ndarray:
    """bool [ids]: whether the bytes of a token, as one piece, are encoded to it."""
    from textmill.ops.memory import padded
    from textmill.tokenizers.encoders import piece_encoder

    encoder = piece_encoder(tokenizer.pipeline.model, tokenizer.vocab_size)
    pieces = [texts[id] for id in ids.tolist()]
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    given, token_ends = encoder.encode_with_ends(padded(b"".join(pieces)), 0, ends.astype(np.int32))
    # a token is made if one of its piece's tokens ends with it and is the token itself
    place = np.searchsorted(token_ends, ends)
    return np.asarray(given[np.minimum(place, len(given) - 1)] == ids) if len(given) else np.zeros(len(ids), bool)


def _is_text(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True


def _starts_of_words(tokenizer: Tokenizer, model: WordPieceModel) -> Iterator[str]:
    """Tokens of letters that begin a word and that no longer token begins with, the shortest first."""
    starts = sorted(token for token in model.tokens if token.isalpha() and not token.startswith(model.prefix))
    # sorted, a token that another one begins with stands right before one of those
    last = [token for token, after in zip(starts, [*starts[1:], ""], strict=True) if not after.startswith(token)]
    found = 0
    for token in sorted(last, key=lambda token: (not token.isascii(), len(token))):
        if tokenizer.encode(token) == [model.tokens[token]]:
            yield token
            found += 1
        if found == _MOST_STARTS:
            return
