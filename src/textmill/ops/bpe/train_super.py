"""The second stage of SuperBPE: merges that may join words, on top of a vocabulary that was trained within words.

The first stage is ordinary BPE. The second goes on over *super pieces*, such as whole lines: each is encoded by the
merges of the first stage, then the most frequent pair is merged, be it inside a word or across white space. The text is
encoded as a plain BPE encoder would do it that takes super pieces for pieces: the result needs no encoder of its own.

Memory follows the distinct super pieces, and lines repeat far less than words: about 5 bytes for each byte of distinct
lines while they are encoded, then 20 for each token.

Source: Liu et al. 2025, SuperBPE: Space Travel for Language Models, arXiv:2503.13423.
"""

import numpy as np

from textmill.errors import ConfigError
from textmill.ops.bpe.count import PieceCounter, PieceCounts
from textmill.ops.bpe.train import Merges, train_by_rules
from textmill.ops.bpe.trainer import Progress, Rules

USUAL_MAX_WORDS = 4
_BLOCK_BYTES = 1 << 24


def train_super_merges(
    super_pieces: PieceCounts,
    first_stage: Merges,
    num_merges: int,
    *,
    max_words: int = USUAL_MAX_WORDS,
    rank_of_byte: np.ndarray | None = None,
    min_frequency: int = 0,
    max_token_length: int | None = None,
    progress: Progress | None = None,
) -> Merges:
    """The merges of both stages, at most `num_merges` in all, those of `first_stage` in front.

    max_words: a new token holds at most so many words, runs of bytes that are not ASCII white space. No newline
    (line feed or carriage return) takes part in a merge of the second stage. The other settings are those of
    `train_merges`.

    >>> lines = PieceCounts.from_mapping({b"a b": 4})
    >>> merges = train_super_merges(lines, Merges.from_bytes([(b" ", b"b")]), 2)
    >>> merges.token_bytes()[256:]
    [b' b', b'a b']

    Raises:
        ConfigError: a setting is out of range, or the first stage has more merges than `num_merges` or is broken.
        NotSupportedError: more than 2**31 tokens of distinct super pieces.
    """
    if max_words < 1:
        raise ConfigError(f"max_words must be >= 1, got {max_words}", fix=f"{USUAL_MAX_WORDS} is usual")
    rules = Rules(min_frequency=min_frequency, max_token_length=max_token_length, max_words=max_words)
    return train_by_rules(
        super_pieces, num_merges, rules, rank_of_byte=rank_of_byte, seeds=first_stage, progress=progress
    )


def add_lines(counter: PieceCounter, text: np.ndarray, start: int, stop: int) -> None:
    """Counts the super pieces of text[start:stop]: runs without a line's end, and runs of line ends, as pieces.

    text: uint8, from `padded`. As a pattern: `[^\\r\\n]+|[\\r\\n]+`.

    >>> from textmill.ops.memory import padded
    >>> counter = PieceCounter()
    >>> add_lines(counter, padded(b"a b\\n\\nc"), 0, 6)
    >>> counter.counts().to_mapping()
    {b'a b': 1, b'\\n\\n': 1, b'c': 1}

    Raises:
        DataError: a text without its padding.
    """
    while start < stop:
        end, ends = start, np.empty(0, np.int64)
        # a run of line ends or of other bytes that fills the block: look further
        while len(ends) == 0 or (end < stop and len(ends) == 1):
            end = min(stop, end + max(_BLOCK_BYTES, end - start))
            is_end = (text[start:end] == ord("\n")) | (text[start:end] == ord("\r"))
            ends = np.append(np.flatnonzero(is_end[1:] != is_end[:-1]) + 1, end - start)
        # the last run may go on in the next block
        ends = ends if end == stop else ends[:-1]
        counter.add(text, start, ends.astype(np.int32))
        start += int(ends[-1])
