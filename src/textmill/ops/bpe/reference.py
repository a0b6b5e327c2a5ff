"""The definition of BPE on lists: train by counting again after every merge, encode by the lowest rank.

Sources: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1; dropout: Provilkov et al. 2020, arXiv:1910.13267.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]
_SALT = 0x9E3779B97F4A7C15
_MIX = 0xD6E8FEB86659FD93


def join(symbols: Sequence[int], pair: Pair, product: int) -> list[int]:
    """The symbols with every occurrence of the pair replaced, from left to right.

    >>> join([1, 1, 1, 2], (1, 1), 9)
    [9, 1, 2]
    """
    joined: list[int] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] = product
        else:
            joined.append(symbol)
    return joined


def train(
    pieces: Mapping[bytes, int],
    num_merges: int,
    rank_of_byte: Sequence[int],
    *,
    min_frequency: int = 0,
    max_token_length: int | None = None,
) -> list[tuple[Pair, int]]:
    """(pair, its count) of each merge. Symbols: below 256 a byte, 256 + i what merge i makes.

    >>> train({b"aab": 3, b"ab": 2}, 2, range(256))
    [((97, 98), 5), ((97, 256), 3)]
    """
    rank = {value: int(rank_of_byte[value]) for value in range(256)}
    length = dict.fromkeys(range(256), 1)
    words = [(list(piece), count) for piece, count in pieces.items()]
    merges: list[tuple[Pair, int]] = []
    while len(merges) < num_merges:
        counts: Counter[Pair] = Counter()
        for symbols, count in words:
            for left, right in pairwise(symbols):
                too_long = max_token_length is not None and length[left] + length[right] >= max_token_length
                if max(left, right) < 256 or not too_long:
                    counts[left, right] += count
        if not counts:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], rank[pair[0]], rank[pair[1]]))
        if counts[pair] < max(min_frequency, 1):
            break
        product = 256 + len(merges)
        rank[product], length[product] = product, length[pair[0]] + length[pair[1]]
        merges.append((pair, counts[pair]))
        words = [(join(symbols, pair, product), count) for symbols, count in words]
    return merges


def encode(piece: bytes, byte_ids: Sequence[int], merges: Sequence[tuple[int, int, int]]) -> list[int]:
    """The ids of one piece: join the leftmost of the pairs of lowest rank until no pair is left.

    merges: (left id, right id, product id) by rank.

    >>> encode(b"abba", range(256), [(97, 98, 256)])
    [256, 98, 97]
    """
    ranks = {(left, right): (rank, product) for rank, (left, right, product) in enumerate(merges)}
    ids = [int(byte_ids[value]) for value in piece]
    while True:
        found = [(*ranks[pair], place) for place, pair in enumerate(pairwise(ids)) if pair in ranks]
        if not found:
            return ids
        _, product, place = min(found, key=lambda item: (item[0], item[2]))
        ids[place : place + 2] = [product]


def encode_by_ranks(piece: bytes, ranks: Mapping[bytes, int]) -> list[int]:
    """The ids of one piece as `tiktoken` defines them: the rank of a pair is the id of its bytes.

    >>> ranks = {bytes([value]): value for value in range(256)} | {b"bb": 256}
    >>> encode_by_ranks(b"abba", ranks)
    [97, 256, 97]
    """
    if piece in ranks:
        return [ranks[piece]]
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        joined = [(ranks[a + b], place) for place, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not joined:
            return [ranks[part] for part in parts]
        _, place = min(joined)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def encode_with_dropout(
    piece: bytes,
    byte_ids: Sequence[int],
    merges: Sequence[tuple[int, int, int]],
    dropped: Callable[[int, int], bool],
) -> list[int]:
    """The ids of one piece with BPE-dropout: of the merges that are possible at a step, and not dropped, the best.

    Possible merges are tried from the lowest rank, and from left to right; the first that is not dropped is done. If
    all are dropped, that is the end.

    dropped: whether a merge is left out, by (merges done so far, byte of the piece at which its left symbol begins).

    >>> encode_with_dropout(b"abab", range(256), [(97, 98, 256)], lambda step, place: place == 0)
    [97, 98, 256]
    """
    ranks = {(left, right): (rank, product) for rank, (left, right, product) in enumerate(merges)}
    symbols = [(int(byte_ids[value]), place) for place, value in enumerate(piece)]
    step = 0
    while True:
        pairs = [(left[0], right[0]) for left, right in pairwise(symbols)]
        found = sorted((*ranks[pair], number) for number, pair in enumerate(pairs) if pair in ranks)
        kept = [(product, number) for _, product, number in found if not dropped(step, symbols[number][1])]
        if not kept:
            return [number for number, _ in symbols]
        product, number = kept[0]
        symbols[number : number + 2] = [(product, symbols[number][1])]
        step += 1


def draw(seed: int, offset: int, step: int, place: int) -> float:
    """A number in [0, 1) that looks random, always the same for the same arguments.

    seed: of the text. offset: where the piece begins in it. step: merges done in the piece so far. place: of the left
    symbol of the merge.
    """
    state = _fold_multiply(seed ^ _SALT, _MIX)
    for value in (offset, step, place, _SALT):
        state = _fold_multiply(state ^ value, _MIX)
    return (state >> 11) / (1 << 53)


def _fold_multiply(a: int, b: int) -> int:
    product = a * b
    return ((product >> 64) ^ product) & ((1 << 64) - 1)
