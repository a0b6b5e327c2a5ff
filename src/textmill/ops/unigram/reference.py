"""The definition of Unigram segmentation: the best, the n best, all of them, and how likely each is when sampling.

A text is normalised UTF-8 with blanks written as ▁. A segmentation cuts it into pieces of the vocabulary and unknown
characters; its score is the sum of their scores. A byte that belongs to no UTF-8 character is an unknown character.

Source: Kudo 2018, arXiv:1804.10959, section 3.2; the order of comparisons and the rounding are those of the encoder of
`sentencepiece` 0.2.3 (precision "float32") and of the Unigram model of `tokenizers` 0.2x ("float64").
"""

from collections.abc import Iterator
from math import exp, fsum

import numpy as np

from textmill.ops.unigram.vocabulary import UnigramVocabulary

UNKNOWN = -1
"""The number of an unknown character in a segmentation, before it becomes an id or bytes."""

Segment = tuple[bytes, int]


def characters(text: bytes) -> list[bytes]:
    """The text cut into characters, and into single bytes where it is not UTF-8.

    >>> characters("aä".encode() + b"\\xff\\xe4")
    [b'a', b'\\xc3\\xa4', b'\\xff', b'\\xe4']
    """
    found = []
    start = 0
    while start < len(text):
        for width in (1, 2, 3, 4):
            try:
                text[start : start + width].decode()
                break
            except UnicodeDecodeError:
                continue
        else:
            width = 1
        found.append(text[start : start + width])
        start += width
    return found


def segments_at(text: bytes, start: int, width: int, vocabulary: UnigramVocabulary) -> Iterator[tuple[int, int, float]]:
    """(end, id, score) of all that may begin at `start`, the shortest first; width: bytes of the character there.

    The character is unknown when no piece is that character alone. It comes last.
    """
    for end in range(start + 1, min(len(text), start + vocabulary.longest) + 1):
        piece = text[start:end]
        if piece in vocabulary.ids:
            yield end, vocabulary.ids[piece], vocabulary.scores[piece]
    if text[start : start + width] not in vocabulary.ids:
        yield start + width, UNKNOWN, vocabulary.unknown_score


def segment(text: bytes, vocabulary: UnigramVocabulary) -> list[Segment]:
    """(piece, id) of the best segmentation.

    best[end]: the score of the best segmentation of text[:end], rounded to the precision after every addition. Of equal
    candidates the first one stays: that whose last piece is the longest. Where it lies further from 0 than `reset`, it
    is taken from all scores that are known from there on.

    >>> pieces = [("<unk>", 0.0), ("a", -2.0), ("b", -2.0), ("ab", -3.0)]
    >>> segment(b"abbc", UnigramVocabulary.build(pieces, unknown=0))
    [(b'ab', 3), (b'b', 2), (b'c', -1)]
    """
    rounded = np.float32 if vocabulary.precision == "float32" else np.float64
    best: dict[int, float] = {0: 0.0}
    back: dict[int, tuple[int, int]] = {}
    start = 0
    for character in characters(text):
        if abs(best[start]) > vocabulary.reset:
            offset = best[start]
            best.update({end: float(rounded(best[end] - offset)) for end in best if end >= start})
        for end, number, score in segments_at(text, start, len(character), vocabulary):
            candidate = float(rounded(best[start] + score))
            if end not in best or candidate > best[end]:
                best[end] = candidate
                back[end] = start, number
        start += len(character)
    path: list[Segment] = []
    end = len(text)
    while end > 0:
        start, number = back[end]
        path.append((text[start:end], number))
        end = start
    return path[::-1]


def to_ids(path: list[Segment], vocabulary: UnigramVocabulary) -> list[int]:
    """The ids of a segmentation.

    Neighbouring unknown characters become one unknown id; with byte fallback the ids of their bytes, if each has one.
    (`tokenizers` lets pieces spell the unknown token: alone it stays, beside unknown characters it is one of them.)
    """
    ids: list[int] = []
    run: list[Segment] = []
    for piece, number in [*path, (b"", -2)]:
        if number == UNKNOWN or number == vocabulary.unknown:
            run.append((piece, number))
            continue
        if run:
            ids += _run_to_ids(run, vocabulary)
            run = []
        if number >= 0:
            ids.append(number)
    return ids


def _run_to_ids(run: list[Segment], vocabulary: UnigramVocabulary) -> list[int]:
    spelled = len(run) == 1 and run[0][1] != UNKNOWN
    if vocabulary.byte_ids and not spelled:
        ids = [vocabulary.byte_ids[value] for piece, _ in run for value in piece]
        if min(ids) >= 0:
            return ids
    if vocabulary.unknown is None:
        raise ValueError("an unknown character, and no unknown piece")
    return [vocabulary.unknown]


def encode(text: bytes, vocabulary: UnigramVocabulary) -> list[int]:
    """The ids of the best segmentation."""
    return to_ids(segment(text, vocabulary), vocabulary)


def all_segmentations(text: bytes, vocabulary: UnigramVocabulary) -> list[tuple[float, list[Segment]]]:
    """(score, path) of every segmentation, the best first. There are exponentially many: for small texts."""
    widths = {}
    start = 0
    for character in characters(text):
        widths[start] = len(character)
        start += len(character)

    def rest(start: int) -> Iterator[list[tuple[float, Segment]]]:
        if start == len(text):
            yield []
            return
        for end, number, score in segments_at(text, start, widths[start], vocabulary):
            for later in rest(end):
                yield [(score, (text[start:end], number)), *later]

    found = [(fsum(score for score, _ in path), [piece for _, piece in path]) for path in rest(0)]
    return sorted(found, key=lambda item: -item[0])


def sampling_probabilities(
    text: bytes, vocabulary: UnigramVocabulary, alpha: float
) -> list[tuple[float, list[Segment]]]:
    """(probability, path) of every segmentation: proportional to exp(alpha * score).

    Source: Kudo 2018, arXiv:1804.10959, equation 9 with l = infinity.
    """
    found = all_segmentations(text, vocabulary)
    largest = max(score for score, _ in found)
    weights = [exp(alpha * (score - largest)) for score, _ in found] if alpha >= 0 else []
    return [(weight / fsum(weights), path) for weight, (_, path) in zip(weights, found, strict=True)]
