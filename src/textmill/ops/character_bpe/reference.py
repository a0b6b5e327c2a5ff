"""The definitions of BPE over characters, as lists of tokens (id, size): size is how many bytes of the text it covers.

`encode_word` is the model of Hugging Face `tokenizers` on one word; `encode_sentence` is that of SentencePiece on one
normalised sentence, whose blanks are ▁. Both come with BPE-dropout.

In both, sizes tile the text: every byte token covers one byte of its character, and what a prefix or a suffix adds to a
character covers nothing. A character that leaves no token belongs to the token after it, as far as there is one.

Sources: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1; Provilkov et al. 2020, arXiv:1910.13267, algorithm 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from textmill.ops.character_bpe.kinds import PieceKind

Token = tuple[int, int]
Symbol = tuple[int, str, int]
"""(place, text, size): place is the number of the first of the initial symbols that were joined in it."""

_WORD = (1 << 64) - 1
_SEED_SALT = 0x9E3779B97F4A7C15
_MIX = 0xD6E8FEB86659FD93
DRAW_BITS = 53


def draw(seed: int, offset: int, step: int, place: int) -> float:
    """A number in [0, 1) that looks random, always the same for the same arguments.

    seed: of the text. offset: where the piece begins in it. step: merges done in the piece so far. place: of the left
    symbol of the candidate.
    """
    state = _fold_multiply(seed ^ _SEED_SALT, _MIX)
    for value in (offset, step, place, _SEED_SALT):
        state = _fold_multiply(state ^ value, _MIX)
    return (state >> (64 - DRAW_BITS)) / (1 << DRAW_BITS)


def _fold_multiply(a: int, b: int) -> int:
    product = a * b
    return ((product >> 64) ^ product) & _WORD


def never(_step: int, _place: int) -> bool:
    """No candidate is dropped."""
    return False


def dropping(probability: float, seed: int, offset: int = 0) -> Callable[[int, int], bool]:
    """BPE-dropout: at every step each candidate is dropped with this probability, on its own."""
    return lambda step, place: draw(seed, offset, step, place) < probability


@dataclass(frozen=True, kw_only=True)
class WordModel:
    """A BPE model of `tokenizers`."""

    tokens: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    """Pairs of tokens, most urgent first. A pair that stands twice has the rank of its last row."""
    unknown: str | None = None
    """The token of a character that is none; such a character is skipped without it."""
    fuse_unknown: bool = False
    """Whether unknown characters side by side share one token."""
    byte_fallback: bool = False
    """Whether an unknown character becomes the tokens of its bytes, if they are there. Without prefix and suffix."""
    prefix: str = ""
    """Stands before every character of a word but the first (`continuing_subword_prefix`)."""
    suffix: str = ""
    """Stands after the last character (`end_of_word_suffix`)."""
    whole_pieces: bool = False
    """Whether a word that is a token is that token, unless there is dropout (`ignore_merges`)."""


def encode_word(word: str, model: WordModel, dropped: Callable[[int, int], bool] = never) -> list[Token]:
    """The tokens of one word: its characters, joined by the most urgent merge, the leftmost first, until none applies.

    dropped: whether a candidate is left out, by (merges done so far, place of its left symbol); see `dropping`.

    >>> tokens = {"l": 0, "o": 1, "w</w>": 2, "lo": 3, "low</w>": 4, "<unk>": 5}
    >>> model = WordModel(tokens=tokens, merges=[("l", "o"), ("lo", "w</w>")], suffix="</w>", unknown="<unk>")
    >>> encode_word("low", model), encode_word("lo?", model)
    ([(4, 3)], [(3, 2), (5, 1)])
    """
    tokens = model.tokens
    if model.whole_pieces and dropped is never and word in tokens:
        return [(tokens[word], len(word.encode()))]
    skip = len(model.prefix)
    ranks = {(tokens[a], tokens[b]): (rank, tokens[a + b[skip:]]) for rank, (a, b) in enumerate(model.merges)}
    placed = [(place, number, size) for place, (number, size) in enumerate(_first_tokens(word, model))]
    step = 0
    while True:
        pairs = [(at, ranks.get((left[1], right[1]))) for at, (left, right) in enumerate(pairwise(placed))]
        found = [(*value, at) for at, value in pairs if value is not None and not dropped(step, placed[at][0])]
        if not found:
            return [(number, size) for _, number, size in placed]
        _, product, at = min(found, key=lambda item: (item[0], item[2]))
        place, _, size = placed[at]
        placed[at : at + 2] = [(place, product, size + placed[at + 1][2])]
        step += 1


def _first_tokens(word: str, model: WordModel) -> list[Token]:
    """Characters as tokens. As in `tokenizers`, an unknown one waits for the next known character: bytes overtake."""
    tokens = model.tokens
    symbols: list[Token] = []
    waiting: Token | None = None
    skipped = 0
    for at, character in enumerate(word):
        name = (model.prefix if at else "") + character + (model.suffix if at == len(word) - 1 else "")
        size = len(character.encode())
        as_bytes = [tokens.get(f"<0x{value:02X}>") if model.byte_fallback else None for value in character.encode()]
        if name in tokens:
            symbols += [waiting] if waiting else []
            waiting = None
            symbols.append((tokens[name], size + skipped))
            skipped = 0
        elif None not in as_bytes:
            sizes = [1 + skipped, *[1] * (size - 1)]
            symbols += [(number, one) for number, one in zip(as_bytes, sizes, strict=True) if number is not None]
            skipped = 0
        elif model.unknown is None:
            skipped += size
        elif waiting and model.fuse_unknown:
            waiting = (waiting[0], waiting[1] + size)
        else:
            symbols += [waiting] if waiting else []
            waiting = (tokens[model.unknown], size)
    return symbols + ([waiting] if waiting else [])


def encode_sentence(
    sentence: str,
    pieces: Sequence[tuple[str, float]],
    *,
    kinds: Sequence[int],
    unknown: int,
    byte_fallback: bool = False,
    dropped: Callable[[int, int], bool] = never,
) -> list[Token]:
    """The tokens of one normalised sentence.

    Its user-defined symbols stay whole: the longest one at each place, else a character. Of the neighbours whose union
    is a piece, those with the highest score are joined, the leftmost first. An unused piece is taken apart again into
    the two parts that were last seen side by side. What then is no piece, or an unused character, becomes its bytes, or
    one unknown token a run.

    >>> pieces = [("<unk>", 0.0), ("▁", -3.0), ("a", -4.0), ("b", -5.0), ("ab", -1.0), ("▁ab", -2.0)]
    >>> encode_sentence("▁abb??", pieces, kinds=[2, 1, 1, 1, 1, 1], unknown=0)
    [(5, 5), (3, 1), (0, 2)]
    """
    usable = {PieceKind.NORMAL, PieceKind.USER_DEFINED, PieceKind.UNUSED}
    ids = {text: number for number, (text, _) in enumerate(pieces) if kinds[number] in usable}
    reserved = {text: number for number, (text, _) in enumerate(pieces) if kinds[number] not in usable}
    whole = {text for text, number in ids.items() if kinds[number] == PieceKind.USER_DEFINED}
    symbols = _first_symbols(sentence, whole)
    parts: dict[str, tuple[str, str]] = {}
    known: set[tuple[int, str]] = set()
    step = 0
    while True:
        found = []
        for at, (left, right) in enumerate(pairwise(symbols)):
            union = left[1] + right[1]
            if left[1] in whole or right[1] in whole or union not in ids:
                continue
            if (left[0], union) not in known:
                known.add((left[0], union))
                parts[union] = left[1], right[1]
            if not dropped(step, left[0]):
                found.append((-pieces[ids[union]][1], at))
        if not found:
            break
        _, at = min(found)
        (place, first, size), (_, second, more) = symbols[at : at + 2]
        symbols[at : at + 2] = [(place, first + second, size + more)]
        step += 1
    used = {text: number for text, number in ids.items() if kinds[number] != PieceKind.UNUSED}
    numbers = used | reserved
    tokens: list[Token] = []
    for _, text, _ in symbols:
        for part in _taken_apart(text, ids, kinds, parts):
            _add_piece(tokens, part, numbers.get(part, unknown), unknown, pieces if byte_fallback else ())
    return tokens


def _first_symbols(sentence: str, whole: set[str]) -> list[Symbol]:
    symbols: list[Symbol] = []
    at = 0
    while at < len(sentence):
        matches = [text for text in whole if sentence.startswith(text, at)]
        text = max(matches, key=len, default=sentence[at])
        symbols.append((len(symbols), text, len(text.encode())))
        at += len(text)
    return symbols


def _taken_apart(
    text: str, ids: Mapping[str, int], kinds: Sequence[int], parts: Mapping[str, tuple[str, str]]
) -> list[str]:
    if text not in parts or kinds[ids[text]] != PieceKind.UNUSED:
        return [text]
    return [piece for part in parts[text] for piece in _taken_apart(part, ids, kinds, parts)]


def _add_piece(
    tokens: list[Token], text: str, number: int, unknown: int, byte_pieces: Sequence[tuple[str, float]]
) -> None:
    size = len(text.encode())
    if number != unknown:
        tokens.append((number, size))
    elif byte_pieces:
        names = {name: index for index, (name, _) in enumerate(byte_pieces)}
        tokens.extend((names[f"<0x{value:02X}>"], 1) for value in text.encode())
    elif tokens and tokens[-1][0] == unknown:
        tokens[-1] = (unknown, tokens[-1][1] + size)
    else:
        tokens.append((unknown, size))
