"""Training byte-level BPE: from counted pieces to merges, identical to those of Hugging Face `tokenizers`.

Ties: of the pairs with the highest count, the smallest wins, comparing the left symbol, then the right one, by rank:
the bytes' `rank_of_byte` first, then the merges in order. `tokenizers` compares vocabulary ids: the same order.

No two merges make the same bytes: what happens inside the bounds of a later token cannot have been touched from
outside, so equal bytes have been joined in an equal way. The exception are given merges (`seed_merges`) that no
training would have made; then a later merge that makes the bytes of an earlier token makes that very token.

Source: Sennrich et al. 2016, arXiv:1508.07909; byte level as in Radford et al. 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from textmill.errors import ConfigError
from textmill.ops.bpe import cpu_pairs as layout
from textmill.ops.bpe.count import PieceCounts
from textmill.ops.bpe.symbols import SymbolTable
from textmill.ops.bpe.trainer import Progress, Rules, Stream, Trainer, replay

# the bytes that the GPT-2 alphabet writes as themselves come first, in order; the others are chr(256), chr(257), ...
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_ALPHABET = [*_PRINTABLE, *sorted(set(range(256)) - set(_PRINTABLE))]
HF_BYTE_ORDER = np.argsort(_ALPHABET).astype(np.int32)
"""int32[256]: the rank of each byte among the characters of the byte-level alphabet, sorted by code point."""


@dataclass(frozen=True, kw_only=True)
class Merges:
    """Merges in order, with how often each pair occurred when it was merged."""

    pairs: np.ndarray
    """int32[n, 2]: symbols; below 256 a byte, the others what merges make."""
    counts: np.ndarray
    """int64[n]."""
    products: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    """int32[n]: the symbol that each merge makes; by default 256 + i for merge i."""

    def __post_init__(self) -> None:
        if len(self.products) != len(self.pairs):
            products = layout.NUM_BYTES + np.arange(len(self.pairs), dtype=np.int32)
            object.__setattr__(self, "products", products)

    def __len__(self) -> int:
        return len(self.pairs)

    def token_bytes(self) -> list[bytes]:
        """The bytes of all symbols: 256 + n, fewer if a merge makes a token that was there."""
        tokens = [bytes([value]) for value in range(layout.NUM_BYTES)]
        for (left, right), product in zip(self.pairs.tolist(), self.products.tolist(), strict=True):
            if product == len(tokens):
                tokens.append(tokens[left] + tokens[right])
        return tokens

    @classmethod
    def from_bytes(cls, pairs: Sequence[tuple[bytes, bytes]]) -> Self:
        """The merges of a vocabulary as they stand in its file; their counts are 0.

        >>> Merges.from_bytes([(b"a", b"b"), (b"ab", b"c")]).pairs.tolist()
        [[97, 98], [256, 99]]

        Raises:
            ConfigError: a side is neither a byte nor made by an earlier merge.
        """
        symbol_of = {bytes([value]): value for value in range(layout.NUM_BYTES)}
        symbols = np.empty((len(pairs), 3), dtype=np.int32)
        for number, (left, right) in enumerate(pairs):
            for side in (left, right):
                if side not in symbol_of:
                    raise ConfigError(
                        f"each side of a merge is a byte or made by an earlier merge; merge {number} has {side!r}",
                        fix="give the merges in their order, from the first on",
                    )
            product = symbol_of.setdefault(left + right, len(symbol_of))
            symbols[number] = symbol_of[left], symbol_of[right], product
        counts = np.zeros(len(pairs), dtype=np.int64)
        return cls(pairs=symbols[:, :2].copy(), counts=counts, products=symbols[:, 2].copy())


def train_merges(
    pieces: PieceCounts,
    num_merges: int,
    *,
    rank_of_byte: np.ndarray | None = None,
    min_frequency: int = 0,
    max_token_length: int | None = None,
    seed_merges: Merges | None = None,
    progress: Progress | None = None,
) -> Merges:
    """At most `num_merges` new tokens; fewer when no pair occurs `max(min_frequency, 1)` times.

    rank_of_byte: int32[256], breaks ties; `HF_BYTE_ORDER` if not given. max_token_length: as in `tokenizers`, a token
    that is joined from a merged one stays *below* this many bytes. seed_merges: come first, as they are and with the
    counts they have, and are part of `num_merges`: training goes on where they end. progress: called with (new tokens
    made, new tokens wanted), without the seeds.

    >>> pieces = PieceCounts.from_mapping({b"aab": 3, b"ab": 2})
    >>> merges = train_merges(pieces, 2)
    >>> merges.pairs.tolist(), merges.counts.tolist()
    ([[97, 98], [97, 256]], [5, 3])
    >>> train_merges(pieces, 2, seed_merges=Merges.from_bytes([(b"a", b"a")])).pairs.tolist()
    [[97, 97], [256, 98]]

    Raises:
        ConfigError: num_merges or min_frequency below 0, ranks that repeat, or seeds that are more than `num_merges`,
            stand twice, or use what is not there yet.
        DataError: arrays of pieces that do not fit together (see `PieceCounts.check`).
        NotSupportedError: more than 2**31 bytes of distinct pieces.
    """
    rules = Rules(min_frequency=min_frequency, max_token_length=max_token_length)
    return train_by_rules(pieces, num_merges, rules, rank_of_byte=rank_of_byte, seeds=seed_merges, progress=progress)


def train_by_rules(
    pieces: PieceCounts,
    num_merges: int,
    rules: Rules,
    *,
    rank_of_byte: np.ndarray | None = None,
    seeds: Merges | None = None,
    progress: Progress | None = None,
) -> Merges:
    """`train_merges` with its rules put together."""
    ranks = HF_BYTE_ORDER if rank_of_byte is None else np.asarray(rank_of_byte)
    if ranks.shape != (layout.NUM_BYTES,) or len(np.unique(ranks)) != layout.NUM_BYTES:
        raise ConfigError(
            f"rank_of_byte must hold 256 distinct ranks, got shape {ranks.shape}", fix="use HF_BYTE_ORDER"
        )
    pieces.check()
    if seeds is None:
        seeds = Merges(pairs=np.empty((0, 2), np.int32), counts=np.empty(0, np.int64))
    names = _seeded_names(seeds)
    num_seeded = len(names) - layout.NUM_BYTES
    if num_merges < num_seeded:
        raise ConfigError(
            f"num_merges must be >= {num_seeded}, the tokens that are given, got {num_merges}",
            fix="a vocabulary has room for its size less 256 bytes and the special tokens",
        )
    # while training, the symbol of a byte is its rank
    byte_of_rank = np.argsort(ranks).astype(np.int32)
    outer = np.concatenate([byte_of_rank, np.arange(layout.NUM_BYTES, len(names), dtype=np.int32)])
    inner = np.argsort(outer).astype(np.int32)
    stream = Stream(symbols=inner[pieces.arena[: pieces.offsets[-1]]], offsets=pieces.offsets, counts=pieces.counts)
    # every merge takes a symbol away, so a number that is far too large costs no memory
    wanted = min(layout.NUM_BYTES + num_merges, len(names) + len(stream.symbols))
    if len(seeds) > 0:
        stream = replay(stream, inner[seeds.pairs], inner[seeds.products])
    names = [names[symbol] for symbol in outer.tolist()]
    symbols = SymbolTable(
        names,
        np.array([len(name) for name in names], dtype=np.int64),
        wanted,
        checked=len(seeds) > 0,
        max_words=rules.max_words,
    )
    trainer = Trainer(stream, symbols, num_initial=layout.NUM_BYTES, rules=rules)
    del stream
    done = trainer.run(progress)
    outer = np.concatenate([outer, np.arange(len(outer), len(symbols.names), dtype=np.int32)])
    return Merges(
        pairs=np.concatenate([seeds.pairs, outer[done[:, [layout.LEFT, layout.RIGHT]]]]),
        counts=np.concatenate([seeds.counts, done[:, layout.MERGE_COUNT]]),
        products=np.concatenate([seeds.products, outer[done[:, layout.MADE]]]),
    )


def _seeded_names(seeds: Merges) -> list[bytes]:
    """The bytes of the symbols that given merges start from and make, after checking them."""
    names = [bytes([value]) for value in range(layout.NUM_BYTES)]
    number_of = {name: number for number, name in enumerate(names)}
    for merge, (left, right, product) in enumerate(np.column_stack([seeds.pairs, seeds.products]).tolist()):
        if not (0 <= left < len(names) and 0 <= right < len(names)):
            raise ConfigError(
                f"merge {merge} joins symbols {left} and {right}, of which only {len(names)} are there so far",
                fix="give the merges in their order, from the first on",
            )
        name = names[left] + names[right]
        if number_of.setdefault(name, product) != product or product > len(names):
            raise ConfigError(
                f"merge {merge} must make symbol {number_of[name]} for {name!r}, got {product}",
                fix="use Merges.from_bytes, which numbers them",
            )
        if product == len(names):
            names.append(name)
    return names
