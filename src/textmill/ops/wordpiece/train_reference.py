"""The definition of WordPiece training by likelihood, on lists: count again after every merge.

Sources: Schuster and Nakajima 2012, Japanese and Korean voice search, section 2.1; Wu et al. 2016, arXiv:1609.08144,
section 4.1.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from textmill.ops.bpe.reference import Pair, join


def score(pair_count: int, left_count: int, right_count: int) -> float:
    """count(xy) / (count(x) count(y)), in float64.

    The papers add the unit that raises the likelihood of the text most. Under a unigram model a place where x y
    becomes one unit gains log p(xy) - log p(x) - log p(y), so pairs are compared by the ratio of these counts.

    >>> score(3, 6, 4)
    0.125
    """
    return float(pair_count) / (float(left_count) * float(right_count))


def train(
    words: Sequence[tuple[list[int], int]],
    names: Sequence[str],
    vocab_size: int,
    *,
    prefix: str = "##",
    min_frequency: int = 0,
) -> tuple[list[str], list[tuple[Pair, int]]]:
    """(vocabulary, (pair, its count) of each merge) of counted words of symbols; names are those of the first symbols.

    Of the pairs that occur `max(min_frequency, 1)` times, the one of the highest score is merged; of equal scores the
    smallest pair.

    >>> train([([0, 1], 3), ([0, 2], 1), ([0, 0], 1)], ["a", "##b", "##c"], 4)
    (['a', '##b', '##c', 'ab'], [((0, 1), 3)])
    """
    names, words, merges = list(names), list(words), []
    while len(names) < vocab_size:
        symbols = Counter[int]()
        pairs = Counter[Pair]()
        for word, count in words:
            for symbol in word:
                symbols[symbol] += count
            for pair in pairwise(word):
                pairs[pair] += count
        scores = {
            pair: score(count, symbols[pair[0]], symbols[pair[1]])
            for pair, count in pairs.items()
            if count >= max(min_frequency, 1)
        }
        if not scores:
            break
        best = min(scores, key=lambda pair: (-scores[pair], pair))
        name = names[best[0]] + names[best[1]].removeprefix(prefix)
        if name not in names:
            names.append(name)
        merges.append((best, pairs[best]))
        words = [(join(word, best, names.index(name)), count) for word, count in words]
    return names, merges
