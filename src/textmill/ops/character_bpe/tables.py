"""Vocabularies as the arrays that the kernels read, with their addresses in one vector.

A character's symbol is found by two look-ups: its page (256 code points) by its place in the word, then its number.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

import numpy as np

from textmill.errors import ConfigError, NotSupportedError
from textmill.ops.character_bpe import cpu_pairs as layout
from textmill.ops.character_bpe import cpu_symbols as symbols_layout
from textmill.ops.character_bpe.cpu_lone import fill_lone
from textmill.ops.character_bpe.kinds import PieceKind
from textmill.ops.unigram.neighbours import neighbour_tables

Word = int | np.signedinteger
BLANK = "▁"
MAX_ID = (1 << 31) - 1
LONGEST_PIECE = 1 << 10
"""Bytes of a piece that merging makes: its parts are found in quadratic time. Published ones have 192 and fewer."""
_PAGE = 1 << symbols_layout.PAGE_BITS
_SPARE_LENGTHS = 1 << 20
_MOST_SIDES = 1 << 24
_LENGTH_ROUNDS = 32
_WIDE_CHARACTERS = 1 << 16
_VARIES = -1


def to_bytes(text: str) -> bytes:
    """UTF-8; a lone surrogate, which a file may hold and no text matches, is kept."""
    return text.encode("utf-8", "surrogatepass")


class Tables:
    """What is fixed about an encoder. `model` is the vector of `cpu_pairs`; this object holds what it points to."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds addresses of its own arrays: make another one")

    def __init__(self) -> None:
        self.model = np.zeros(layout.MODEL_WORDS, dtype=np.int64)
        self.model[layout.UNKNOWN] = -1
        self.cuts_at_blanks = False
        self.num_parts = 0
        """Rows of the parts of unused pieces; 0 if there are no such pieces. Every encoder has rows of its own."""
        self._owned: list[np.ndarray] = []

    def hold(self, word: Word, array: np.ndarray) -> None:
        """Puts the address of a contiguous array into a word of the model."""
        self._owned.append(array)
        self.model[word] = array.ctypes.data

    def set_pairs(self, rows: np.ndarray, word: Word, bits_word: Word) -> None:
        """A table of pairs from int64 rows (left, right, upper half, lower half) of its values."""
        table_bits = max(4, (2 * len(rows)).bit_length())
        pairs = np.empty((1 << table_bits, 2), dtype=np.int64)
        layout.fill_pairs(rows, pairs)
        self.hold(word, pairs)
        self.model[bits_word] = table_bits

    def set_neighbours(self, contents: list[bytes]) -> None:
        """Lets text be cut between two characters that stand side by side in none of the tokens."""
        neighbours, _ = neighbour_tables(contents)
        self.hold(layout.NEIGHBOURS, neighbours)
        self.model[layout.NEIGHBOUR_BITS] = (8 * len(neighbours)).bit_length() - 1

    def set_lone_characters(self) -> None:
        """Notes what each character of three bytes becomes that is a piece by itself. All else must be set before."""
        lone = np.empty(_WIDE_CHARACTERS, dtype=np.int32)
        fill_lone(lone, self.model)
        self.hold(layout.LONE, lone)

    def set_merges(self, merges: Sequence[tuple[int, int, int, int]], num_symbols: int) -> None:
        """The pairs that merge, (left, right, rank, product). num_symbols: one more than the largest symbol."""
        # many times faster than an array of the rows
        rows = np.fromiter(itertools.chain.from_iterable(merges), np.int64, 4 * len(merges)).reshape(-1, 4)
        self.set_pairs(rows, layout.PAIRS, layout.PAIR_BITS)
        if num_symbols <= _MOST_SIDES:
            sides = np.zeros(num_symbols, dtype=np.uint8)
            sides[rows[:, 0]] |= layout.IS_LEFT
            sides[rows[:, 1]] |= layout.IS_RIGHT
            self.hold(layout.SIDES, sides)

    def set_characters(self, by_place: Sequence[Mapping[str, int]]) -> None:
        """The symbol of each character, for each of the places in a word (or one mapping for all of them)."""
        pages: list[np.ndarray] = [np.full(_PAGE, -1, dtype=np.int32)]
        index = np.zeros((symbols_layout.NUM_PLACES, symbols_layout.NUM_PAGES), dtype=np.int32)
        for place, characters in enumerate(by_place):
            for character, symbol in characters.items():
                page, cell = divmod(ord(character), _PAGE)
                if index[place, page] == 0:
                    index[place, page] = len(pages)
                    pages.append(pages[0].copy())
                pages[index[place, page]][cell] = symbol
        if len(by_place) == 1:
            index[:] = index[0]
        self.hold(layout.PAGE_INDEX, index)
        self.hold(layout.PAGES, np.concatenate(pages))

    def set_bytes(self, ids: Mapping[str, int]) -> None:
        """The tokens <0x00> to <0xFF>, as far as there are any."""
        byte_ids = np.array([ids.get(byte_name(value), -1) for value in range(256)], dtype=np.int32)
        if byte_ids.max() >= 0:
            self.hold(layout.BYTE_IDS, byte_ids)

    def set_lengths(self, lengths: Sequence[int] | np.ndarray) -> None:
        """The bytes of each symbol; 0 or less where they vary."""
        self.hold(layout.LENGTHS, np.array(lengths, dtype=np.int32))
        self.model[layout.NUM_LENGTHS] = len(lengths)

    def set_trie(self, texts: Mapping[str, int]) -> None:
        """Texts that are not merged, and their symbols: a trie whose steps are pairs (node, byte)."""
        steps: dict[tuple[int, int], list[int]] = {}
        firsts = np.zeros(256, dtype=np.uint8)
        for text, symbol in texts.items():
            node, step = 0, [0, 0]
            firsts[to_bytes(text)[0]] = 1
            for value in to_bytes(text):
                step = steps.setdefault((node, value), [len(steps) + 1, int(layout.NO_SYMBOL)])
                node = step[0]
            step[1] = symbol
        if steps:
            rows = [(node, value, *step) for (node, value), step in steps.items()]
            self.set_pairs(np.array(rows, dtype=np.int64), layout.TRIE, layout.TRIE_BITS)
            self.hold(layout.TRIE_FIRSTS, firsts)


def byte_name(value: int) -> str:
    """What the token of a byte is called.

    >>> byte_name(10)
    '<0x0A>'
    """
    return f"<0x{value:02X}>"


def crosses_blank(left: str, right: str) -> bool:
    """Whether a word would end between the two: the second begins with ▁, the first does not end with it."""
    return right.startswith(BLANK) and not left.endswith(BLANK)


def tables_from_merges(
    tokens: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    unknown: str | None,
    fuse_unknown: bool,
    byte_fallback: bool,
    prefix: str,
    suffix: str,
    whole_pieces: bool,
) -> Tables:
    """The tables of a `tokenizers` model; see `CharacterBpeEncoder.from_merges`."""
    _check_tokens(tokens, unknown, byte_fallback, prefix, suffix)
    tables = Tables()
    rows = _merge_rows(tokens, merges, prefix)
    tables.set_merges(rows, max(tokens.values(), default=0) + 1)
    by_place = [_characters_in_place(tokens, place, prefix, suffix) for place in range(symbols_layout.NUM_PLACES)]
    tables.set_characters(by_place)
    lengths = _Lengths(tokens)
    for characters in by_place:
        lengths.fix((number, len(to_bytes(character))) for character, number in characters.items())
    if unknown is not None:
        tables.model[layout.UNKNOWN], tables.model[layout.FUSE_UNKNOWN] = tokens[unknown], fuse_unknown
        lengths.fix([(tokens[unknown], _VARIES)])
    if byte_fallback:
        tables.set_bytes(tokens)
        lengths.fix((tokens[name], 1) for name in map(byte_name, range(256)) if name in tokens)
    if whole_pieces:
        tables.set_trie({text: number for text, number in tokens.items() if text})
        tables.model[layout.WHOLE_PIECES] = tables.model[layout.TRIE] != 0
        lengths.fix((number, len(to_bytes(text))) for text, number in tokens.items())
    tables.set_lengths(lengths.join(rows))
    tables.cuts_at_blanks = (
        not (prefix or suffix or whole_pieces)
        and BLANK in tokens
        and not any(crosses_blank(left, right) for left, right in merges)
    )
    return tables


def _check_tokens(
    tokens: Mapping[str, int], unknown: str | None, byte_fallback: bool, prefix: str, suffix: str
) -> None:
    if tokens and not 0 <= min(tokens.values()) <= max(tokens.values()) <= MAX_ID:
        raise ConfigError("ids of tokens must be in 0..2**31-1", fix="check the vocabulary")
    if unknown is not None and unknown not in tokens:
        raise ConfigError(f"the unknown token {unknown!r} is not in the vocabulary", fix="add it, or pass None")
    if byte_fallback and (prefix or suffix):
        raise NotSupportedError(
            f"byte tokens do not go with a prefix or a suffix of characters, got {prefix!r} and {suffix!r}",
            fix="turn byte_fallback off",
        )


def _merge_rows(
    tokens: Mapping[str, int], merges: Sequence[tuple[str, str]], prefix: str
) -> list[tuple[int, int, int, int]]:
    """(left id, right id, rank, product id)."""
    rows = []
    for rank, (left, right) in enumerate(merges):
        product = left + right[len(prefix) :]
        absent = [text for text in (left, right, product) if text not in tokens]
        if absent:
            raise ConfigError(
                f"merge {rank} needs the token {absent[0]!r}, which is not in the vocabulary",
                fix="add it to the tokens",
            )
        rows.append((tokens[left], tokens[right], rank, tokens[product]))
    return rows


def _characters_in_place(tokens: Mapping[str, int], place: int, prefix: str, suffix: str) -> dict[str, int]:
    """The tokens that are one character in this place of a word, without what the place adds to it."""
    before = len(prefix) if place & symbols_layout.CONTINUED else 0
    after = len(suffix) if place & symbols_layout.LAST else 0
    return {
        text[before]: number
        for text, number in tokens.items()
        if len(text) == before + 1 + after and text.startswith(prefix[:before]) and text.endswith(suffix[:after])
    }


class _Lengths:
    """How many bytes of text each id covers; `_VARIES` where that depends."""

    def __init__(self, tokens: Mapping[str, int]) -> None:
        # ids far apart would make the table large: those beyond it count as varying
        size = min(max(tokens.values(), default=-1) + 1, 4 * len(tokens) + _SPARE_LENGTHS)
        self._lengths = [0] * size

    def fix(self, lengths: Iterable[tuple[int, int]]) -> bool:
        """Notes (id, bytes); whether that was news."""
        news = False
        for number, length in lengths:
            if number < len(self._lengths) and self._lengths[number] not in (length, _VARIES):
                self._lengths[number] = length if self._lengths[number] == 0 else _VARIES
                news = True
        return news

    def join(self, rows: Sequence[tuple[int, int, int, int]]) -> list[int]:
        """The lengths, with those of all products. Rows that come long before their parts make it give up."""
        for _ in range(_LENGTH_ROUNDS):
            if not self.fix((product, self._sum(left, right)) for left, right, _, product in rows):
                return self._lengths
        return []

    def _sum(self, left: int, right: int) -> int:
        known = len(self._lengths)
        parts = [self._lengths[part] if part < known else _VARIES for part in (left, right)]
        if 0 in parts:
            return 0
        return _VARIES if _VARIES in parts else sum(parts)


def tables_from_scores(
    pieces: Sequence[tuple[str, float]], *, kinds: Sequence[int], unknown: int, byte_fallback: bool
) -> Tables:
    """The tables of a SentencePiece model; see `CharacterBpeEncoder.from_scores`."""
    _check_pieces(pieces, kinds, unknown, byte_fallback)
    tables = Tables()
    mergeable = {
        text: number for number, (text, _) in enumerate(pieces) if kinds[number] in (PieceKind.NORMAL, PieceKind.UNUSED)
    }
    whole = {text: number for number, (text, _) in enumerate(pieces) if kinds[number] == PieceKind.USER_DEFINED}
    characters = _characters_of_pieces(pieces, kinds, mergeable)
    long = {text: number for text, number in mergeable.items() if len(text) > 1}
    parts = long | {text: symbol for text, symbol in characters.items() if text not in whole}
    splits = {text: _splits(text, parts) for text in long}
    _, ranks = np.unique(-np.array([score for _, score in pieces], dtype=np.float32), return_inverse=True)
    rank_of = ranks.tolist()
    rows = [
        (left, right, rank_of[number], number)
        for number, pairs in zip(map(mergeable.__getitem__, splits), splits.values(), strict=True)
        for left, right in pairs
    ]
    # the number right after the pieces is that of all characters which stand in no piece
    num_symbols = max([len(pieces), *characters.values()]) + 1
    tables.set_merges(rows, num_symbols)
    tables.set_characters([characters])
    tables.set_trie(whole)
    tables.model[layout.UNKNOWN], tables.model[layout.UNKNOWN_LAST] = unknown, 1
    tables.model[layout.NO_PIECE] = len(pieces)
    if byte_fallback:
        tables.set_bytes({text: number for number, (text, _) in enumerate(pieces) if kinds[number] == PieceKind.BYTE})
    lengths = [len(to_bytes(text)) for text, _ in pieces] + [0] * (num_symbols - len(pieces))
    special: dict[int, int] = {PieceKind.UNKNOWN: _VARIES, PieceKind.BYTE: 1}
    for number, kind in enumerate(kinds):
        lengths[number] = special.get(kind, lengths[number])
    for character, symbol in characters.items():
        lengths[symbol] = len(to_bytes(character))
    tables.set_lengths(lengths)
    unused = [text for text in splits if kinds[mergeable[text]] == PieceKind.UNUSED]
    if unused:
        flags = np.zeros(num_symbols, dtype=np.uint8)
        flags[[mergeable[text] for text in unused]] = 1
        tables.hold(layout.UNUSED, flags)
        tables.num_parts = len(pieces)
    tables.cuts_at_blanks = (
        characters.get(BLANK, len(pieces)) < len(pieces)
        and not any(_crosses_inside(text) for text in (*mergeable, *whole))
        and all(len(splits[text]) < 2 for text in unused)
    )
    # unknown characters in a row become one token, unless each becomes its bytes
    if byte_fallback and not unused:
        tables.set_neighbours([to_bytes(text) for text in (*mergeable, *whole)])
        tables.set_lone_characters()
    return tables


def _check_pieces(pieces: Sequence[tuple[str, float]], kinds: Sequence[int], unknown: int, byte_fallback: bool) -> None:
    if len(kinds) != len(pieces):
        raise ConfigError(f"every piece has a kind, got {len(pieces)} and {len(kinds)}", fix="pass one for each")
    if not 0 <= unknown < len(pieces):
        raise ConfigError(f"unknown must be in 0..{len(pieces) - 1}, got {unknown}", fix="pass the id of <unk>")
    texts = [text for text, _ in pieces]
    if "" in texts or len(set(texts)) != len(texts):
        raise ConfigError("pieces must be distinct and not empty", fix="check the model file")
    if not np.isfinite([score for _, score in pieces]).all():
        raise ConfigError("scores of pieces must be finite", fix="check the model file")
    bad = set(kinds) - set(PieceKind)
    if bad:
        raise ConfigError(f"the kind of a piece must be in 1..6, got {min(bad)}", fix="see PieceKind")
    merged = (PieceKind.NORMAL, PieceKind.UNUSED)
    longest = max((len(to_bytes(text)) for text, kind in zip(texts, kinds, strict=True) if kind in merged), default=0)
    if longest > LONGEST_PIECE:
        raise NotSupportedError(
            f"a piece may have at most {LONGEST_PIECE} bytes, got {longest}", fix="check the model file"
        )
    names = {text for number, text in enumerate(texts) if kinds[number] == PieceKind.BYTE}
    if byte_fallback and names != {byte_name(value) for value in range(256)}:
        raise ConfigError(f"byte fallback needs all 256 byte pieces, got {len(names)}", fix="turn byte_fallback off")


def _characters_of_pieces(
    pieces: Sequence[tuple[str, float]], kinds: Sequence[int], mergeable: Mapping[str, int]
) -> dict[str, int]:
    """The symbol of each character that stands in a piece: the piece's own id, or a number beyond the pieces."""
    characters = {
        text: number
        for number, (text, _) in enumerate(pieces)
        if len(text) == 1 and kinds[number] not in (PieceKind.UNKNOWN, PieceKind.UNUSED)
    }
    # the first number beyond the pieces is that of all other characters
    next_symbol = len(pieces) + 1
    for text in mergeable:
        for character in text:
            if character not in characters:
                characters[character] = next_symbol
                next_symbol += 1
    return characters


def _splits(text: str, parts: Mapping[str, int]) -> list[tuple[int, int]]:
    """The pairs of symbols whose union is the text. parts: what can stand beside something else while merging."""
    return [
        (left, right)
        for at in range(1, len(text))
        if (left := parts.get(text[:at])) is not None and (right := parts.get(text[at:])) is not None
    ]


def _crosses_inside(text: str) -> bool:
    return BLANK in text.lstrip(BLANK)
