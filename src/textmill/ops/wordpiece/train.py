"""Training WordPiece vocabularies from counted words: the way of `tokenizers`, and by likelihood as in the papers.

Both begin with characters, those inside a word with a prefix ("##"), and join pairs into longer pieces. `tokenizers`
joins the most frequent pair, as BPE does. The papers join the pair xy with the highest count(xy) / (count(x) count(y)):
parts that seldom stand without each other.

Sources: Schuster and Nakajima 2012, section 2.1; Wu et al. 2016, arXiv:1609.08144, section 4.1.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from textmill.errors import ConfigError
from textmill.ops.bpe import cpu_pairs as layout
from textmill.ops.bpe.alphabet import Alphabet, characters_of
from textmill.ops.bpe.count import PieceCounts
from textmill.ops.bpe.symbols import SymbolTable
from textmill.ops.bpe.train_characters import CharacterMerges, start_training, train_character_merges
from textmill.ops.bpe.trainer import NO_LIMIT, Progress, Rules, Stream, Trainer, longer
from textmill.ops.wordpiece import cpu_train as kernels

PREFIX = "##"
"""Begins a piece that continues a word."""


def train_wordpiece(
    pieces: PieceCounts,
    vocab_size: int,
    alphabet: Alphabet | None = None,
    *,
    min_frequency: int = 0,
    max_token_length: int | None = None,
    seed_merges: Sequence[tuple[str, str]] = (),
    progress: Progress | None = None,
) -> CharacterMerges:
    """The vocabulary that `WordPieceTrainer` of `tokenizers` makes: BPE, with "##" before all characters but the first.

    See `train_character_merges` for the parameters. An alphabet without a prefix gets "##".

    >>> pieces = PieceCounts.from_mapping({b"hug": 3, b"hugs": 2})
    >>> train_wordpiece(pieces, 9).vocabulary
    ['g', 'h', 's', 'u', '##g', '##s', '##u', 'hu', 'hug']

    Raises:
        ConfigError: a setting is out of range, or a given merge stands twice or joins what is not there.
        DataError: a piece is not UTF-8.
    """
    return train_character_merges(
        pieces,
        vocab_size,
        _with_prefix(alphabet),
        min_frequency=min_frequency,
        max_token_length=max_token_length,
        seed_merges=seed_merges,
        progress=progress,
    )


def train_wordpiece_by_likelihood(
    pieces: PieceCounts,
    vocab_size: int,
    alphabet: Alphabet | None = None,
    *,
    min_frequency: int = 2,
    max_token_length: int | None = None,
    seed_merges: Sequence[tuple[str, str]] = (),
    progress: Progress | None = None,
) -> CharacterMerges:
    """A vocabulary of at most `vocab_size` tokens, each merge joining the pair of the highest likelihood score.

    Only pairs that occur `max(min_frequency, 1)` times are joined: without such a bound, rare characters that stand
    side by side once have the highest score there is. Of equal scores the pair that is first in the vocabulary wins.

    Here "##u##g" occurs most often, 6 times, with the score 6 / (6 * 6); "h##z" has 2 / (5 * 2):

    >>> pieces = PieceCounts.from_mapping({b"hug": 3, b"pug": 3, b"hz": 2})
    >>> train_wordpiece_by_likelihood(pieces, 9).merges
    [('h', '##z')]

    Raises:
        ConfigError: a setting is out of range, or a given merge stands twice or joins what is not there.
        DataError: a piece is not UTF-8.
    """
    if vocab_size < 0:
        raise ConfigError(f"vocab_size must be >= 0, got {vocab_size}", fix="30000 is usual")
    alphabet = _with_prefix(alphabet)
    rules = Rules(min_frequency=min_frequency, max_token_length=max_token_length)
    start = characters_of(pieces, alphabet)
    num_initial = len(start.names)
    stream, symbols = start_training(start, vocab_size, alphabet, seed_merges)
    trainer = _ScoreTrainer(stream, symbols, num_initial=num_initial, rules=rules)
    done = trainer.run(progress)
    vocabulary = [name.decode() for name in symbols.names]
    merges = [(vocabulary[left], vocabulary[right]) for left, right in done[:, [layout.LEFT, layout.RIGHT]].tolist()]
    return CharacterMerges(
        vocabulary=vocabulary,
        merges=[*seed_merges, *merges],
        counts=np.concatenate([np.zeros(len(seed_merges), np.int64), done[:, layout.MERGE_COUNT]]),
        num_initial=num_initial,
    )


class _ScoreTrainer(Trainer):
    """Takes pairs by score. One window holds all pairs that are frequent enough, for a score may rise."""

    def __init__(self, stream: Stream, symbols: SymbolTable, *, num_initial: int, rules: Rules) -> None:
        super().__init__(stream, symbols, num_initial=num_initial, rules=rules)
        lengths = np.diff(stream.offsets)
        single = lengths == 1
        alone = stream.symbols[stream.offsets[:-1][single]]
        self._alone = np.zeros(symbols.wanted, dtype=np.int64)
        np.add.at(self._alone, alone[alone >= 0], stream.counts[single][alone >= 0])
        self._heads = np.zeros((symbols.wanted, kernels.HEAD_WORDS), dtype=np.int64)
        self._sizes = np.zeros(1, dtype=np.int64)
        self._links = np.zeros((len(self.slots), kernels.LINK_WORDS), dtype=np.int64)
        self._nodes = np.zeros(len(self.slots), dtype=np.int32)

    def merge(self) -> int:
        arrays = (self.tokens, self.weights, self.slots, self._nodes, self.arena, self.rows, self.merges)
        tables = (self.symbols.rows, self.symbols.hashes, self.state, self._links, self._heads, self._sizes)
        return int(kernels.merge_by_score(*arrays, *tables))

    def threshold(self, largest: int) -> int:  # noqa: ARG002  (a score may rise: no pair can wait)
        return self.floor

    def open_window(self, limit: int = NO_LIMIT) -> int:
        status = super().open_window(limit)
        self._sizes[0] = kernels.open_scores(
            self.tokens,
            self.num_places,
            self.weights,
            self._alone,
            self.slots,
            self._links,
            self._heads,
            self._nodes,
            self.state,
        )
        return status

    def grow_slots(self, factor: int = 2) -> None:
        super().grow_slots(factor)
        self._links = longer(self._links, factor, int(self.state[layout.NUM_SLOTS]))
        self._nodes = longer(self._nodes, factor, int(self._sizes[0]))


def _with_prefix(alphabet: Alphabet | None) -> Alphabet:
    if alphabet is None:
        return Alphabet(prefix=PREFIX)
    return alphabet if alphabet.prefix else dataclasses.replace(alphabet, prefix=PREFIX)
