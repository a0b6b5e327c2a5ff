"""Training character-level BPE: as `train_merges`, on characters with their marks instead of bytes.

The vocabulary is that of `BpeTrainer` of `tokenizers`: reserved tokens, characters, marked characters, products in the
order of merging. A product whose text is in the vocabulary already is that token; then there are more merges than new
tokens, and the same pair may even be merged twice.

Source: Sennrich et al. 2016, arXiv:1508.07909.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textmill.errors import ConfigError
from textmill.ops.bpe import cpu_pairs as layout
from textmill.ops.bpe.alphabet import Alphabet, CharacterStream, characters_of
from textmill.ops.bpe.count import PieceCounts
from textmill.ops.bpe.symbols import SymbolTable
from textmill.ops.bpe.trainer import Progress, Rules, Stream, Trainer, replay


@dataclass(frozen=True, kw_only=True)
class CharacterMerges:
    """A trained vocabulary of strings."""

    vocabulary: list[str]
    """Tokens by id: reserved ones, the alphabet, what merges make."""
    merges: list[tuple[str, str]]
    """In order, given ones first."""
    counts: np.ndarray
    """int64: how often each pair occurred when it was merged; 0 for given merges."""
    num_initial: int
    """How many tokens of the vocabulary no merge has made."""


def train_character_merges(
    pieces: PieceCounts,
    vocab_size: int,
    alphabet: Alphabet | None = None,
    *,
    min_frequency: int = 0,
    max_token_length: int | None = None,
    seed_merges: Sequence[tuple[str, str]] = (),
    progress: Progress | None = None,
) -> CharacterMerges:
    """A vocabulary of at most `vocab_size` tokens, and at least its reserved tokens, its alphabet and the given merges.

    max_token_length: in characters, as in `tokenizers`: a token that is joined from a merged one stays below it.
    seed_merges: come first; training goes on where they end. progress: called with (new tokens made, wanted).

    >>> pieces = PieceCounts.from_mapping({b"aab": 3, b"ab": 2})
    >>> trained = train_character_merges(pieces, 6, Alphabet(suffix="</w>"))
    >>> trained.vocabulary
    ['a', 'b', 'b</w>', 'ab</w>', 'aab</w>']
    >>> trained.merges
    [('a', 'b</w>'), ('a', 'ab</w>')]

    Raises:
        ConfigError: vocab_size or min_frequency below 0, a given merge that stands twice, or joins what is not there.
        DataError: a piece is not UTF-8.
        NotSupportedError: more than 2**31 characters of distinct pieces.
    """
    if vocab_size < 0:
        raise ConfigError(f"vocab_size must be >= 0, got {vocab_size}", fix="32000 is usual")
    alphabet = alphabet or Alphabet()
    rules = Rules(min_frequency=min_frequency, max_token_length=max_token_length)
    start = characters_of(pieces, alphabet)
    num_initial = len(start.names)
    stream, symbols = start_training(start, vocab_size, alphabet, seed_merges)
    trainer = Trainer(stream, symbols, num_initial=num_initial, rules=rules)
    del stream, start
    done = trainer.run(progress)
    vocabulary = [name.decode() for name in symbols.names]
    merges = [(vocabulary[left], vocabulary[right]) for left, right in done[:, [layout.LEFT, layout.RIGHT]].tolist()]
    return CharacterMerges(
        vocabulary=vocabulary,
        merges=[*seed_merges, *merges],
        counts=np.concatenate([np.zeros(len(seed_merges), np.int64), done[:, layout.MERGE_COUNT]]),
        num_initial=num_initial,
    )


def start_training(
    start: CharacterStream, vocab_size: int, alphabet: Alphabet, seed_merges: Sequence[tuple[str, str]]
) -> tuple[Stream, SymbolTable]:
    """The stream after the given merges, and the symbols with room for the vocabulary.

    Raises:
        ConfigError: a given merge stands twice, or joins what is not there.
    """
    stream, num_initial = start.stream, len(start.names)
    number_of = {name: number for number, name in enumerate(start.names)}
    seeds = np.empty((len(seed_merges), 3), dtype=np.int32)
    for merge, (left, right) in enumerate(seed_merges):
        for side in (left, right):
            if side not in number_of:
                raise ConfigError(
                    f"each side of a merge is in the alphabet or made by an earlier merge; merge {merge} has {side!r}",
                    fix="give the merges in their order, and their characters as the initial alphabet",
                )
        product = number_of.setdefault(left + right.removeprefix(alphabet.prefix), len(number_of))
        seeds[merge] = number_of[left], number_of[right], product
    names = [name.encode() for name in number_of]
    lengths = np.ones(len(names), dtype=np.int64)
    for left_symbol, right_symbol, product in seeds.tolist():
        if product >= num_initial:
            lengths[product] = lengths[left_symbol] + lengths[right_symbol]
    # every merge takes a symbol away, so a number that is far too large costs no memory
    wanted = min(vocab_size, len(names) + len(stream.symbols))
    if len(seeds) > 0:
        stream = replay(stream, seeds[:, :2], seeds[:, 2])
    # without marks and other tokens no two merges make the same text: see `train`
    checked = bool(alphabet.prefix or alphabet.suffix or alphabet.reserved or alphabet.order or len(seeds) > 0)
    return stream, SymbolTable(names, lengths, wanted, prefix=alphabet.prefix.encode(), checked=checked)
