"""Training a Unigram vocabulary: from counted words to pieces with log probabilities, as SentencePiece defines it.

1. Words are cut into units where a piece rule lets no piece reach across, and equal units are counted as one.
2. Seeds: the repeated strings of units, by count x length. Other than in SentencePiece, strings that occur fewer than
   five times are left out while there are enough others.
3. Rounds of expectation and maximisation, each followed by pruning to three quarters, until there are 1.1 x the
   vocabulary's size.
4. The required characters, and of the other pieces those with the best scores.

Memory and time follow the distinct words, not the corpus. Counts are 64 bits wide, and whatever threads add up is whole
numbers, so any number of threads gives the same pieces to the last bit. The definition is in `reference_train`.

Source: Kudo 2018, arXiv:1804.10959; the digamma function in the M step as in Liang and Klein, "Structured Bayesian
nonparametric models with variational inference", ACL 2007 tutorial.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.ops.bpe.count import PieceCounts
from textmill.ops.unigram import cpu_train_em as em
from textmill.ops.unigram import cpu_train_prune as pruning
from textmill.ops.unigram.piece_rules import PieceRules
from textmill.ops.unigram.train_units import Seeds, Units, find_seeds, lay_out

EXPECTED_AT_LEAST = 0.5
"""A piece that is expected less often falls away; a required character counts as if it were expected so often."""
SPARE = 1.1
"""Pruning ends at this many times the vocabulary's size."""
SEEDS_PER_PIECE = 4
"""Seldom strings are left out of the seeds while so many strings for each piece of the vocabulary stay."""
_ALL = 1 << 62
_BITS_OF_SUMS = 61
_FINEST_BITS = 30
"""An expected count is a multiple of 2**-30, or of a larger unit where the sum would not fit 61 bits."""
_LONGEST_PIECE = 255
_DEFAULT_RULES = PieceRules()


def train_unigram(
    words: PieceCounts,
    vocab_size: int,
    *,
    required_characters: Sequence[str],
    seed_size: int = 1_000_000,
    max_piece_length: int = 16,
    shrinking_factor: float = 0.75,
    num_sub_iterations: int = 2,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
    piece_rules: PieceRules = _DEFAULT_RULES,
    allow_fewer: bool = False,
) -> list[tuple[str, float]]:
    """`vocab_size` pieces with their log probabilities (natural), the most probable first.

    words: UTF-8, with ▁ (U+2581) for a blank, as in "▁the". required_characters: each gets a piece, and the other
    pieces are made of them; what else stands in words is unknown and parts them. seed_size: how many pieces besides the
    characters the first round may have. max_piece_length: in characters. shrinking_factor: the part of the pieces that
    a pruning keeps. num_sub_iterations: of expectation and maximisation, before a pruning. progress: called with
    (pieces that fell away, pieces that must). piece_rules: which characters no piece may join. allow_fewer: be content
    with as many pieces as the words give.

    >>> words = PieceCounts.from_mapping({"▁the".encode(): 5, "▁then".encode(): 2, b"en": 4})
    >>> [piece for piece, _ in train_unigram(words, 7, required_characters="▁then")]
    ['▁the', 'en', 'n', '▁', 't', 'h', 'e']

    Raises:
        ConfigError: vocab_size leaves no room for the required characters, or a setting is out of range.
        DataError: the words do not give so many pieces; it says how many they give.
        NotSupportedError: more than 2**31 characters of distinct words.
    """
    _check(vocab_size, seed_size, max_piece_length, shrinking_factor, num_sub_iterations, threads)
    characters = _distinct(required_characters)
    if len(characters) > vocab_size:
        raise ConfigError(
            f"the vocabulary must have room for its {len(characters)} characters, got vocab_size {vocab_size}",
            fix=f"use at least {len(characters)}, or require fewer characters",
        )
    units = lay_out(words, characters, piece_rules, max_piece_length)
    for enough in (SEEDS_PER_PIECE * vocab_size, _ALL):
        seeds = find_seeds(units, characters, seed_size, max_piece_length, enough)
        if len(seeds.scores) < vocab_size and not allow_fewer:
            raise _too_few(len(seeds.scores), vocab_size)
        vocab_size = min(vocab_size, len(seeds.scores))
        trainer = _Trainer(units, seeds, characters, threads)
        _improve_and_prune(trainer, vocab_size, shrinking_factor, num_sub_iterations, progress)
        if trainer.num_pieces >= vocab_size:
            return trainer.best(vocab_size)
    if allow_fewer:
        return trainer.best(trainer.num_pieces)
    raise _too_few(trainer.num_pieces, vocab_size)


def _improve_and_prune(
    trainer: "_Trainer",
    vocab_size: int,
    shrinking_factor: float,
    num_sub_iterations: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Rounds until at most `SPARE` times the vocabulary's size are left."""
    target, surplus = int(SPARE * vocab_size), trainer.num_pieces - vocab_size
    while True:
        for _ in range(num_sub_iterations):
            trainer.improve()
        is_done = trainer.num_pieces <= target
        if progress is not None:
            progress(surplus if is_done else surplus - (trainer.num_pieces - vocab_size), surplus)
        if is_done:
            return
        trainer.prune(max(target, int(shrinking_factor * trainer.num_pieces)))


class _Trainer:
    """The pieces that are left, and the lattices that they span. The required characters come first."""

    def __init__(self, units: Units, seeds: Seeds, characters: np.ndarray, threads: int) -> None:
        self._units, self._characters, self._threads = units, characters, threads
        self._places, self._sizes = seeds.places, seeds.sizes
        self._edges = (seeds.offsets, seeds.edge_pieces, seeds.edge_lengths)
        self._scores = seeds.scores
        self._expected = np.exp(seeds.scores)
        unit_sizes = np.diff(units.ends, prepend=-1) - 1
        bits = math.ceil(math.log2(max(1.0, float((unit_sizes * units.weights.astype(np.float64)).sum()))))
        self._scale = 2.0 ** min(_FINEST_BITS, _BITS_OF_SUMS - bits)

    @property
    def num_pieces(self) -> int:
        return len(self._scores)

    def expect(self) -> np.ndarray:
        """float64 [pieces]: E step, how often each piece is expected in all segmentations of the units."""
        units, scores, sizes = self._units, self._scores, self._sizes
        # about what a character of the text costs, so that alpha neither falls nor grows along a unit
        cost = -(self._expected * scores).sum() / (self._expected * sizes).sum()
        with np.errstate(over="ignore"):
            probability = np.exp(scores + cost * sizes)

        def on_units(first: int, last: int, sums: np.ndarray) -> None:
            cells = np.zeros((len(scores), 2), np.int64)
            cells[:, 0] = probability.view(np.int64)
            rows = cells.reshape(-1)
            lattices = (units.ends, units.weights, *self._edges)
            em.expect(first, last, *lattices, rows, rows.view(np.float64), scores, self._scale)
            sums += cells[:, 1]

        sums = self._in_threads(on_units, self._unit_ranges())
        return sums / self._scale

    def improve(self) -> None:
        """One E step and one M step."""
        expected = self.expect()
        num_characters = len(self._characters)
        expected[:num_characters] = np.maximum(expected[:num_characters], EXPECTED_AT_LEAST)
        kept = np.flatnonzero(expected >= EXPECTED_AT_LEAST)
        self._keep(kept)
        self._expected = expected[kept]
        logarithms = np.empty(len(kept) + 1)
        em.digamma(np.append(self._expected, self._expected.sum()), logarithms)
        self._scores = logarithms[:-1] - logarithms[-1]

    def losses(self) -> np.ndarray:
        """float64 [pieces]: by how much the log likelihood falls without each piece; infinite for a required character,
        minus infinity for a piece that no best segmentation holds."""
        units, num_characters = self._units, len(self._characters)
        counts = self._in_threads(
            lambda first, last, counts: pruning.count_best(
                first, last, units.ends, units.weights, *self._edges, self._scores, counts
            ),
            self._unit_ranges(),
        )
        losses = np.full(len(self._scores), np.inf)
        total = float(counts.sum())
        self._in_threads(
            lambda first, last, _: pruning.losses(
                first, last, self._places, self._sizes, *self._edges, self._scores, counts, total, losses
            ),
            np.linspace(num_characters, len(losses), self._threads + 1).astype(np.int64),
        )
        return losses

    def prune(self, most: int) -> None:
        """Keeps the required characters and the pieces that would be missed most, `most` in all; or fewer, if no more
        are chosen by any best segmentation."""
        losses = self.losses()
        by_loss = np.argsort(-losses, kind="stable")[:most]
        self._keep(np.sort(by_loss[losses[by_loss] > pruning.NEVER_CHOSEN]))

    def _keep(self, kept: np.ndarray) -> None:
        """Lets all other pieces fall away. kept: int64, rising."""
        if len(kept) == len(self._scores):
            return
        renumbered = np.full(len(self._scores), -1, np.int32)
        renumbered[kept] = np.arange(len(kept), dtype=np.int32)
        pruning.drop_edges(*self._edges, renumbered)
        self._places, self._sizes, self._scores = self._places[kept], self._sizes[kept], self._scores[kept]
        self._expected = self._expected[kept]

    def best(self, vocab_size: int) -> list[tuple[str, float]]:
        """The required characters and the pieces of the best scores, `vocab_size` in all, by falling score."""
        num_characters = len(self._characters)
        others = num_characters + np.argsort(-self._scores[num_characters:], kind="stable")
        chosen = np.concatenate([np.arange(num_characters), others[: vocab_size - num_characters]])
        chosen = chosen[np.argsort(-self._scores[chosen], kind="stable")]
        return list(zip(self._strings(chosen), self._scores[chosen].tolist(), strict=True))

    def _strings(self, numbers: np.ndarray) -> list[str]:
        """The text of each piece."""
        sizes = self._sizes[numbers].astype(np.int64)
        ends = np.cumsum(sizes)
        # each character's position: its piece's first one and how far it stands from the piece's start
        positions = np.arange(int(sizes.sum())) + np.repeat(self._places[numbers] - (ends - sizes), sizes)
        is_character = numbers < len(self._characters)
        # one that is required may stand in no unit
        single = np.repeat(is_character, sizes)
        codes = np.empty(len(positions), np.int32)
        codes[single] = self._characters[numbers[is_character]]
        codes[~single] = self._units.symbols[positions[~single]] - 1
        text = codes.astype("<u4").tobytes().decode("utf-32-le")
        return [text[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]

    def _unit_ranges(self) -> np.ndarray:
        """int64 [threads + 1]: the units between two entries have about as many edges as those between others."""
        ends, offsets = self._units.ends, self._edges[0]
        shares = np.linspace(0, int(offsets[-1]), self._threads + 1)[1:-1]
        inner = np.searchsorted(offsets[ends], shares)
        return np.concatenate([[0], inner, [len(ends)]]).astype(np.int64)

    def _in_threads(self, work: Callable[[int, int, np.ndarray], None], bounds: np.ndarray) -> np.ndarray:
        """int64 [pieces]: the sum of what work(first, last, sums) added to its own sums, over all ranges."""
        ranges = [(int(first), int(last)) for first, last in itertools.pairwise(bounds)]

        def on_range(part: tuple[int, int]) -> np.ndarray:
            sums = np.zeros(len(self._scores), np.int64)
            work(*part, sums)
            return sums

        if len(ranges) == 1:
            return on_range(ranges[0])
        with ThreadPoolExecutor(len(ranges)) as pool:
            return _added(pool.map(on_range, ranges), len(self._scores))


def _added(arrays: Iterable[np.ndarray], size: int) -> np.ndarray:
    total = np.zeros(size, np.int64)
    for array in arrays:
        total += array
    return total


def _check(
    vocab_size: int, seed_size: int, max_length: int, shrinking_factor: float, num_sub_iterations: int, threads: int
) -> None:
    """Raises ConfigError."""
    for name, value, least in (
        ("vocab_size", vocab_size, 1),
        ("seed_size", seed_size, 1),
        ("max_piece_length", max_length, 1),
        ("num_sub_iterations", num_sub_iterations, 1),
        ("threads", threads, 1),
    ):
        if value < least:
            raise ConfigError(f"{name} must be >= {least}, got {value}", fix="leave it at its default")
    if max_length > _LONGEST_PIECE:
        raise ConfigError(f"max_piece_length must be <= {_LONGEST_PIECE}, got {max_length}", fix="16 is usual")
    if not 0.0 < shrinking_factor < 1.0:
        raise ConfigError(f"shrinking_factor must lie between 0 and 1, got {shrinking_factor}", fix="use 0.75")


def _distinct(required_characters: Sequence[str]) -> np.ndarray:
    """int64: the code points of the required characters, in their order, each once.

    Raises:
        ConfigError: there is none, or one is not a single character, or a surrogate.
    """
    if not required_characters:
        raise ConfigError("a vocabulary needs characters, got none", fix="require those of the text, and ▁")
    for character in required_characters:
        if len(character) != 1 or 0xD800 <= ord(character) < 0xE000:
            raise ConfigError(f"a required character is a single character, got {character!r}", fix="leave it out")
    return np.array(list(dict.fromkeys(map(ord, required_characters))), np.int64)


def _too_few(num_pieces: int, vocab_size: int) -> DataError:
    return DataError(
        f"the words give at most {num_pieces} pieces, got vocab_size {vocab_size}",
        fix=f"use a vocab_size of at most {num_pieces}, or train on more text",
    )
