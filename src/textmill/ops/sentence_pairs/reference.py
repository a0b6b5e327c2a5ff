"""The definition of BERT's and ALBERT's sentence pairs, in plain Python.

A document is a list of *bounds*: sentence j is the ids at positions [bounds[j], bounds[j + 1]) of the corpus. A pair is
two runs of positions, A and B, and a label; the model reads `[CLS] A [SEP] B [SEP]`.

A document is gone through chunk by chunk. A chunk is as many sentences as it takes to reach the target length, or what
is left. It is cut in two after one of its sentences, drawn evenly, and then

- next sentence (BERT): half the time B is the chunk's second part (label 0). Else B begins at a sentence drawn from
  another document and has as many sentences as fill the pair up to the target (label 1); the chunk's second part is
  put back and begins the next chunk. A chunk of one sentence has no second part, so its B is always from elsewhere:
  that is why more than half of all labels are 1.
- sentence order (ALBERT): B is the second part; half the time A and B change places (label 1). A chunk of one sentence
  is cut inside the sentence; where that is a single id there is no pair.

The target is `max_tokens`, and with probability `short_probability` a length drawn from 2 to `max_tokens`, once for a
document. At last, while A and B are too long together, the longer (B when they are equal) loses an id, half the time
its first and half the time its last.

Random numbers are SplitMix64's: draw k (from 1) of a key is mix(key + k * GOLDEN). A document has a key of its own, and
so has each chunk, by the sentence it begins with; a chunk can be made without what the ones before it drew.

Sources: Devlin et al. 2019, BERT, arXiv:1810.04805, section 3.1 and appendix A.2, and its program
`create_pretraining_data` (`create_instances_from_document`, `truncate_seq_pair`); Lan et al. 2019, ALBERT,
arXiv:1909.11942, section 3.1. That program draws another document up to ten times and takes its own after that; here
each other document is drawn with the same probability at once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from textmill.ops.permutation.reference import GOLDEN, mix

FOLLOWS, ELSEWHERE = 0, 1
"""Labels: B follows A in the text; B comes from another document or, in sentence order, stands before A."""


class PairRules(NamedTuple):
    """How pairs are made."""

    max_tokens: int
    """The most ids that A and B have together, at least 2."""
    short_probability: float = 0.1
    """The probability that a document is cut to a shorter target."""
    sentence_order: bool = False
    """ALBERT's pairs instead of BERT's."""


class Pair(NamedTuple):
    """Positions of A and B in the ids, and what B is to A."""

    a_begin: int
    a_end: int
    b_begin: int
    b_end: int
    label: int


def pairs_of_document(documents: Sequence[Sequence[int]], number: int, key: int, rules: PairRules) -> list[Pair]:
    """The pairs made of one document, in order.

    Args:
        documents: the bounds of each, with one sentence at least.
        key: of the whole corpus, for one copy of its pairs.

    >>> pairs_of_document([[0, 3, 5, 9], [9, 12]], 0, key=7, rules=PairRules(max_tokens=8, short_probability=0.0))
    [Pair(a_begin=0, a_end=4, b_begin=5, b_end=9, label=0)]
    """
    own = documents[number]
    document_key = sub_key(key, number)
    draws = random_words(document_key)
    target = rules.max_tokens
    if share(next(draws)) < rules.short_probability:
        target = 2 + below(next(draws), rules.max_tokens - 1)
    pairs = []
    first, end = 0, len(own) - 1
    while first < end:
        draws = random_words(sub_key(document_key, first + 1))
        stop = first + 1
        while stop < end and own[stop] - own[first] < target:
            stop += 1
        if rules.sentence_order:
            pair, first = ordered_pair(own, first, stop, draws), stop
        else:
            pair, first = next_sentence_pair(documents, number, first, stop, target, draws)
        if pair is not None:
            pairs.append(truncated(pair, rules.max_tokens, draws))
    return pairs


def next_sentence_pair(
    documents: Sequence[Sequence[int]], number: int, first: int, stop: int, target: int, draws: Iterator[int]
) -> tuple[Pair, int]:
    """The pair of the chunk of sentences [first, stop), and the sentence that the next chunk begins with."""
    own = documents[number]
    cut = first + 1
    if stop - first > 1:
        cut = first + 1 + below(next(draws), stop - first - 1)
    if stop - first > 1 and share(next(draws)) >= 0.5:
        return Pair(own[first], own[cut], own[cut], own[stop], FOLLOWS), stop
    other = below(next(draws), len(documents) - 1)
    other += other >= number
    theirs = documents[other]
    begin = below(next(draws), len(theirs) - 1)
    end = begin + 1
    while end < len(theirs) - 1 and theirs[end] - theirs[begin] < target - (own[cut] - own[first]):
        end += 1
    return Pair(own[first], own[cut], theirs[begin], theirs[end], ELSEWHERE), cut


def ordered_pair(own: Sequence[int], first: int, stop: int, draws: Iterator[int]) -> Pair | None:
    """The chunk of sentences [first, stop) in two parts, in their order or not; None when it is a single id."""
    begin, end = own[first], own[stop]
    if stop - first > 1:
        cut = own[first + 1 + below(next(draws), stop - first - 1)]
    elif end - begin > 1:
        cut = begin + 1 + below(next(draws), end - begin - 1)
    else:
        return None
    if share(next(draws)) < 0.5:
        return Pair(cut, end, begin, cut, ELSEWHERE)
    return Pair(begin, cut, cut, end, FOLLOWS)


def truncated(pair: Pair, max_tokens: int, draws: Iterator[int]) -> Pair:
    """The pair without what is too much.

    >>> pair = truncated(Pair(0, 9, 20, 25, 0), 8, random_words(1))
    >>> pair.a_end - pair.a_begin, pair.b_end - pair.b_begin
    (4, 4)
    """
    a_begin, a_end, b_begin, b_end, label = pair
    while (a_end - a_begin) + (b_end - b_begin) > max_tokens:
        front = share(next(draws)) < 0.5
        if a_end - a_begin > b_end - b_begin:
            a_begin, a_end = (a_begin + 1, a_end) if front else (a_begin, a_end - 1)
        else:
            b_begin, b_end = (b_begin + 1, b_end) if front else (b_begin, b_end - 1)
    return Pair(a_begin, a_end, b_begin, b_end, label)


def sequence(ids: Sequence[int], pair: Pair, cls_id: int, sep_id: int) -> tuple[list[int], list[int]]:
    """The ids the model reads, and the type of each: 0 up to the first [SEP], 1 after it.

    >>> sequence([10, 11, 12, 13], Pair(0, 2, 3, 4, 1), cls_id=2, sep_id=3)
    ([2, 10, 11, 3, 13, 3], [0, 0, 0, 0, 1, 1])
    """
    a, b = list(ids[pair.a_begin : pair.a_end]), list(ids[pair.b_begin : pair.b_end])
    return [cls_id, *a, sep_id, *b, sep_id], [0] * (len(a) + 2) + [1] * (len(b) + 1)


def sub_key(key: int, number: int) -> int:
    """The key of a document of the corpus, or of a chunk of a document, as `mixed` makes keys."""
    return mix(key + GOLDEN + number)


def random_words(key: int) -> Iterator[int]:
    """The endless draws of a key, 64 random bits each."""
    while True:
        key += GOLDEN
        yield mix(key)


def below(draw: int, count: int) -> int:
    """A whole number in range(count), for counts below 2**32: the draw's upper half seen as a fraction of `count`."""
    return ((draw >> 32) * count) >> 32


def share(draw: int) -> float:
    """A number in [0, 1): the draw's first 53 bits."""
    return (draw >> 11) * 2.0**-53
