"""`UnigramLattice`: the n best segmentations, segmentations at random, and how undecided a text is."""

import math

import numpy as np

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.bpe.keys import bad_ends, check_block
from textmill.ops.memory import PADDING, padded
from textmill.ops.unigram import cpu_emit as encoding
from textmill.ops.unigram import cpu_lattice as kernels
from textmill.ops.unigram import cpu_paths as paths
from textmill.ops.unigram import cpu_viterbi as viterbi
from textmill.ops.unigram.tables import UnigramTables

_FIRST_NODES = 1 << 10
_EDGES_PER_BYTE = 2
_EDGES_BEYOND = 1 << 8
_FIRST_ITEMS = 1 << 10
_MOST_PATHS = 1 << 22
_IDS_AT_ONCE = 1 << 18
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
            DataError: a character is unknown and the vocabulary has no unknown piece.
            NotSupportedError: n > 2**22.
        """
        if n < 1:
            raise ConfigError(f"n must be 1 or more, got {n}", fix="ask for at least one segmentation")
        if n > _MOST_PATHS:
            raise NotSupportedError(f"at most {_MOST_PATHS} segmentations of a text, got {n}", fix="ask for fewer")
        if not text:
            return [(0.0, [])]
        buffer = padded(text)
        span = np.array([buffer.ctypes.data, len(text)], dtype=np.int64)
        places = np.empty((len(text) + 1) * paths.PLACE_BYTES, dtype=np.uint8)
        room = _EDGES_PER_BYTE * len(text) + _EDGES_BEYOND
        heap = np.empty((4 * n + _FIRST_ITEMS) * paths.ITEM_BYTES, dtype=np.uint8)
        rows = np.empty((n, paths.PATH_BYTES // 4), dtype=np.int32)
        while True:
            edges = np.empty(room * paths.EDGE_BYTES, dtype=np.uint8)
            found = paths.best_paths(span, self.tables.model, places, edges, heap, rows)
            if found >= 0:
                break
            room *= 4
        rows = rows[:found]
        marks, scores = np.empty(found, dtype=np.int64), np.empty(found, dtype=np.float64)
        raw = np.empty(len(text), dtype=np.int32)
        out = np.empty(min(found * len(text), max(_IDS_AT_ONCE, len(text))), dtype=np.int32)
        result: list[tuple[float, list[int]]] = []
        while len(result) < found:
            state, first = np.zeros(encoding.STATE_WORDS, dtype=np.int64), len(result)
            last = paths.write_paths(
                span, self.tables.model, places, edges, rows, first, state, raw, out, marks, scores
            )
            if last < 0:
                raise _no_unknown()
            ids, ends = out[: marks[last - 1]].tolist(), marks[first:last].tolist()
            begins = [0, *ends[:-1]]
            result += [
                (score, ids[begin:end])
                for score, begin, end in zip(scores[first:last].tolist(), begins, ends, strict=True)
            ]
        return result

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
            raise _no_unknown()
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


def _no_unknown() -> DataError:
    return DataError(
        "the vocabulary has no unknown piece, and the text has an unknown character",
        fix="give the vocabulary an unknown piece",
    )


def _check_alpha(alpha: float) -> None:
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ConfigError(f"alpha must be a finite number >= 0, got {alpha}", fix="0.1 to 0.5 are usual")
