"""The definitions of BPE training beyond bytes, on lists: characters with marks, given merges, merges across words.

Sources: Sennrich et al. 2016, arXiv:1508.07909; Liu et al. 2025, SuperBPE, arXiv:2503.13423.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from textmill.ops.bpe.reference import Pair, join

Symbols = list[int]


def character_names(piece: str, prefix: str = "", suffix: str = "") -> list[str]:
    """The symbols that a piece begins with: its characters, marked by their place.

    >>> character_names("abc", prefix="##", suffix="</w>")
    ['a', '##b', '##c</w>']
    """
    last = len(piece) - 1
    return [
        (prefix if place > 0 else "") + character + (suffix if place == last else "")
        for place, character in enumerate(piece)
    ]


def replay(symbols: Symbols, merges: Iterable[tuple[int, int, int]]) -> Symbols:
    """The symbols after merges (left, right, product), one after the other.

    >>> replay([1, 2, 1, 2, 3], [(1, 2, 4), (4, 3, 5)])
    [4, 5]
    """
    for left, right, product in merges:
        symbols = join(symbols, (left, right), product)
    return symbols


def train(
    words: Sequence[tuple[Symbols, int]],
    names: Sequence[str],
    vocab_size: int,
    *,
    prefix: str = "",
    min_frequency: int = 0,
    may_merge: Callable[[int, int, list[str]], bool] | None = None,
) -> tuple[list[str], list[tuple[Pair, int]]]:
    """(vocabulary, (pair, its count) of each merge) of counted words of symbols; names are those of the first symbols.

    The pair of the highest count is merged, of equal ones the smallest. Its product is named by the left name and
    the right one without `prefix`, and is the symbol of that name if there is one.

    >>> train([([0, 0, 1], 3), ([0, 1], 2)], ["a", "b"], 4)
    (['a', 'b', 'ab', 'aab'], [((0, 1), 5), ((0, 2), 3)])
    """
    names, words, merges = list(names), list(words), []
    while len(names) < vocab_size:
        counts: Counter[Pair] = Counter()
        for symbols, count in words:
            for left, right in pairwise(symbols):
                if may_merge is None or may_merge(left, right, names):
                    counts[left, right] += count
        pair = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if pair is None or counts[pair] < max(min_frequency, 1):
            break
        name = names[pair[0]] + names[pair[1]].removeprefix(prefix)
        if name not in names:
            names.append(name)
        merges.append((pair, counts[pair]))
        words = [(join(symbols, pair, names.index(name)), count) for symbols, count in words]
    return names, merges


def num_words(text: bytes) -> int:
    """How many runs of bytes that are not ASCII white space a text has.

    >>> num_words(b" by the"), num_words(b"y th"), num_words(b" ")
    (2, 2, 0)
    """
    return len(text.split())


def train_super(
    lines: Mapping[bytes, int],
    first_stage: Sequence[tuple[int, int, int]],
    names: Sequence[bytes],
    num_tokens: int,
    max_words: int,
    *,
    min_frequency: int = 0,
) -> list[tuple[Pair, int]]:
    """(pair, its count) of each merge of the second stage of SuperBPE.

    Every line is encoded by the merges of the first stage, anywhere in it; then BPE goes on over whole lines. A token
    has at most `max_words` words, and no newline takes part in a merge. names: of all symbols of the first stage.
    """
    words = [(replay(list(line), first_stage), count) for line, count in lines.items()]

    def may_merge(left: int, right: int, texts: list[str]) -> bool:
        joined = (texts[left] + texts[right]).encode("latin-1")
        return num_words(joined) <= max_words and b"\n" not in joined and b"\r" not in joined

    texts = [name.decode("latin-1") for name in names]
    wanted = len(names) + num_tokens
    return train(words, texts, wanted, min_frequency=min_frequency, may_merge=may_merge)[1]
