"""The definition of BPE on lists: train by counting again after every merge, encode by the lowest rank.

Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]


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
