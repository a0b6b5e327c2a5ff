"""`UnigramLattice`: the n best segmentations, segmentations at random, and how undecided a text is."""

import math

import numpy as np

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.bpe.keys import bad_ends, check_block
from textmill.ops.memory import PADDING, padded
from textmill.ops.unigram import cpu_emit as encoding
from textmill.ops.unigram import cpu_lattice as kernels
from textmill.ops.unigram import cpu_viterbi as viterbi
from textmill.ops.unigram.reference import to_ids
from textmill.ops.unigram.tables import UnigramTables

_FIRST_NODES = 1 << 10
_FIRST_HYPOTHESES = 1 << 12
_MOST_HYPOTHESES = 1 << 26
_SEEDS = 1 << 64


class UnigramLattice:
    """All segmentations of a text under a Unigram vocabulary. Scores are float64 here, whatever the precision.

    >>> from textmill.ops.unigram.vocabulary import UnigramVocabulary
    >>> pieces = [("<unk>", 0.0), ("a", -2.0), ("b", -2.0), ("ab", -3.0)]
    >>> lattice = UnigramLattice(UnigramTables(UnigramVocabulary.build(pieces, unknown=0)))
    >>> lattice.n_best(b"aab", 5)
    [(-5.0, [1, 3]), (-6.0, [1, 1, 2])]
    """

    def __init__(self, tables: UnigramTables) -> None:
        """tables: those of an encoder (`UnigramEncoder.tables`), or new ones."""
        self.tables = tables

    def n_best(self, text: bytes, n: int) -> list[tuple[float, list[int]]]:
        """(score, ids) of the n best segmentations of the text as one piece, the best first; fewer if there are fewer.

        Raises:
            ConfigError: n < 1.
            NotSupportedError: the search would need more than 2**26 hypotheses.
        """
        if n < 1:
            raise ConfigError(f"n must be 1 or more, got {n}", fix="ask for at least one segmentation")
        if not text:
            return [(0.0, [])]
        buffer = padded(text)
        span = np.array([buffer.ctypes.data, len(text)], dtype=np.int64)
        nodes = np.empty((len(text) + 1) * viterbi.NODE_BYTES, dtype=np.uint8)
        room = _FIRST_HYPOTHESES
        while True:
            visits, ends = np.zeros(len(text) + 1, np.int32), np.empty(n, np.int32)
            hypotheses = np.empty((room, kernels.HYPOTHESIS_WORDS), np.int32)
            scores, heap = np.empty((room, 2), np.float64), np.empty(room, np.int32)
            found = kernels.best_paths(span, self.tables.model, nodes, visits, hypotheses, scores, heap, ends)
            if found >= 0:
                break
            room *= 4
            if room > _MOST_HYPOTHESES:
                raise NotSupportedError(
                    f"the {n} best segmentations of {len(text)} bytes need too many hypotheses", fix="cut the text"
                )
        return [
            (float(scores[end, 0]), to_ids(_path(text, hypotheses, end), self.tables.vocabulary))
            for end in ends[:found].tolist()
        ]

    def sample(
        self, text: np.ndarray, start: int, ends: np.ndarray, num_pieces: int | None = None, *, alpha: float, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(int32 ids, int32 ends of the tokens) of one segmentation of each piece, drawn with probability proportional
        to exp(alpha * score): alpha 0 takes all alike, a large one nearly always the best.

        The same seed gives the same segmentations; pieces of equal text are drawn apart. Blocks and tokens are those of
        `UnigramEncoder.encode_with_ends`.

        Raises:
            ConfigError: alpha is no finite number >= 0, or the seed is not in 0..2**64 - 1.
            DataError: as `UnigramEncoder.encode`.
        """
        _check_alpha(alpha)
        if not 0 <= seed < _SEEDS:
            raise ConfigError(f"seed must be in 0..2**64 - 1, got {seed}", fix="use a smaller one")
        ends = check_block(text, start, ends, num_pieces)
        room = max(0, int(ends[-1]) if len(ends) else 0) + 1
        out, token_ends = np.empty(room, np.int32), np.empty(room, np.int32)
        settings = np.zeros(2, dtype=np.int64)
        settings.view(np.float64)[0], settings.view(np.uint64)[1] = alpha, seed
        state, num_nodes = np.zeros(encoding.STATE_WORDS, dtype=np.int64), _FIRST_NODES
        while True:
            nodes = np.empty(num_nodes * (viterbi.NODE_BYTES + viterbi.RAW_BYTES) + PADDING, dtype=np.uint8)
            state[encoding.NODES], state[encoding.NUM_NODES] = nodes.ctypes.data, num_nodes
            status = kernels.sample_block(text, start, ends, out, token_ends, self.tables.model, state, settings)
            if status != encoding.NODES_SHORT:
                break
            num_nodes = 2 * int(state[encoding.NODES_NEEDED])
        if status == encoding.BAD_ENDS:
            raise bad_ends()
        if status == encoding.NO_UNKNOWN:
            raise DataError(
                "the vocabulary has no unknown piece, and the text has an unknown character",
                fix="give the vocabulary an unknown piece",
            )
        count = int(state[encoding.WRITTEN])
        return out[:count].copy(), token_ends[:count].copy()

    def entropy(self, text: bytes, alpha: float = 1.0) -> tuple[float, float]:
        """(entropy of the segmentations that `sample` draws, log sum exp(alpha * score) over all), both in nats.

        >>> from textmill.ops.unigram.vocabulary import UnigramVocabulary
        >>> tables = UnigramTables(UnigramVocabulary.build([("a", -1.0), ("aa", -2.0)], unknown=None))
        >>> round(UnigramLattice(tables).entropy(b"aa")[0], 6)  # two segmentations of equal score: log 2
        0.693147

        Raises:
            ConfigError: alpha is no finite number >= 0.
        """
        _check_alpha(alpha)
        if not text:
            return 0.0, 0.0
        nodes = np.empty((len(text) + 1) * viterbi.NODE_BYTES, dtype=np.uint8)
        entropy, log_sum = kernels.entropy_of(padded(text), 0, len(text), float(alpha), self.tables.model, nodes)
        return float(entropy), float(log_sum)


def _path(text: bytes, hypotheses: np.ndarray, last: int) -> list[tuple[bytes, int]]:
    """(piece, raw id) from the first piece to the last."""
    path: list[tuple[bytes, int]] = []
    place, number, parent = hypotheses[last].tolist()
    while parent >= 0:
        begin, number_before, parent_before = hypotheses[parent].tolist()
        path.append((text[begin:place], number))
        place, number, parent = begin, number_before, parent_before
    return path[::-1]


def _check_alpha(alpha: float) -> None:
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ConfigError(f"alpha must be a finite number >= 0, got {alpha}", fix="0.1 to 0.5 are usual")
