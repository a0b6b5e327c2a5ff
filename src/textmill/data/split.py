"""Train or validation, decided by each document's own content.

A document falls on the same side whatever stands around it: more data, another order or another number of workers move
nothing, and equal documents are never on both sides.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import repeat


def split_position(document: bytes, seed: int = 0) -> float:
    """A number in [0, 1), uniform over documents, that the content and the seed decide."""
    # BLAKE2b keyed by the seed; 53 bits are what a float holds exactly
    digest = hashlib.blake2b(document, digest_size=8, key=(seed & (1 << 64) - 1).to_bytes(8, "little")).digest()
    return (int.from_bytes(digest, "little") >> 11) / (1 << 53)


def is_validation(document: bytes, fraction: float, seed: int = 0) -> bool:
    """Whether the document is held out.

    >>> sum(is_validation(str(number).encode(), 0.1) for number in range(10_000))
    1008
    """
    return split_position(document, seed) < fraction


def split_documents(documents: Iterable[bytes], fraction: float, seed: int = 0) -> Iterator[tuple[bytes, bool]]:
    """Each document and whether it is held out; from two documents on, neither side stays empty.

    The hash decides. Where it sends all documents to one side, the one nearest to the other side goes there after all:
    the lowest position is held out, or the highest is trained on. That candidate is kept back, and given out of turn,
    until the other side has a document; all others keep their order. A single document is trained on. A fraction of 0
    holds out nothing.

    >>> [held_out for _, held_out in split_documents([b"a", b"b", b"c"], 0.000001)].count(True)
    1
    """
    if fraction == 0:
        yield from ((document, False) for document in documents)
        return
    stream = iter(documents)
    candidate, copies, others = b"", 0, 0
    side, rank = False, 0.0
    for document in stream:
        position = split_position(document, seed)
        if not copies:
            side = position < fraction
        if (position < fraction) != side:
            yield from repeat((candidate, side), copies)
            yield document, not side
            yield from ((document, is_validation(document, fraction, seed)) for document in stream)
            return
        distance = -position if side else position
        if not copies or distance < rank:
            yield from repeat((candidate, side), copies)
            others += copies
            candidate, copies, rank = document, 1, distance
        elif document == candidate:
            copies += 1  # equal documents stay together
        else:
            others += 1
            yield document, side
    if others:
        yield from repeat((candidate, not side), copies)
    else:
        yield from ((candidate, number > 0) for number in range(copies))
