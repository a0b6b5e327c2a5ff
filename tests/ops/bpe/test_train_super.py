import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError
from textmill.ops.bpe import HF_BYTE_ORDER, Merges, PieceCounts, reference, reference_train, train_merges
from textmill.ops.bpe.train_super import train_super_merges

LINES = st.dictionaries(
    st.lists(st.sampled_from(b"ab \n"), min_size=1, max_size=25).map(bytes), st.integers(1, 5), max_size=8
)
SEEDS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 1 << 16)), max_size=8)


def any_merges(numbers: list[tuple[int, int]]) -> Merges:
    """Merges of whatever is there, whether training would have made them or not."""
    tokens = [b"a", b"b", b" ", b"\n"]
    pairs: list[tuple[bytes, bytes]] = []
    for left, right in numbers:
        pair = tokens[left % len(tokens)], tokens[right % len(tokens)]
        if pair not in pairs:
            pairs.append(pair)
            tokens.append(b"".join(pair))
    return Merges.from_bytes(pairs)


def as_rows(merges: Merges) -> list[tuple[int, int, int]]:
    return [tuple(row) for row in np.column_stack([merges.pairs, merges.products]).tolist()]


def by_definition(lines: dict[bytes, int], seeds: Merges, num_merges: int, max_words: int | None):
    """Pairs and counts of the merges after the seeds, with symbols of bytes in the order of their ranks."""
    order = np.argsort(HF_BYTE_ORDER).tolist()
    names = seeds.token_bytes()
    outer = [*order, *range(256, len(names))]
    inner = {symbol: number for number, symbol in enumerate(outer)}
    rows = [tuple(inner[symbol] for symbol in row) for row in as_rows(seeds)]
    pieces = {bytes(inner[value] for value in line): count for line, count in lines.items()}
    wanted = num_merges - (len(names) - 256)
    merges = reference_train.train_super(pieces, rows, [names[symbol] for symbol in outer], wanted, max_words)
    return [([outer[s] if s < len(outer) else s for s in pair], count) for pair, count in merges]


@settings(deadline=None)
@given(LINES, SEEDS, st.integers(1, 4))
@example({b"a b\na b": 3, b"\n\na": 2}, [(3, 3)], 2)
def test_equals_the_definition(lines, numbers, max_words: int) -> None:
    seeds = any_merges(numbers)
    ours = train_super_merges(PieceCounts.from_mapping(lines), seeds, 30, max_words=max_words)
    assert as_rows(ours)[: len(seeds)] == as_rows(seeds)
    new = list(zip(ours.pairs[len(seeds) :].tolist(), ours.counts[len(seeds) :].tolist(), strict=True))
    assert new == by_definition(lines, seeds, 30, max_words)
    for name in ours.token_bytes()[len(seeds.token_bytes()) :]:
        assert b"\n" not in name
        assert reference_train.num_words(name) <= max_words


@settings(deadline=None)
@given(LINES, SEEDS)
def test_given_merges_come_first_and_training_goes_on_as_defined(lines, numbers) -> None:
    """Also when they are merges that no training on this text would make."""
    seeds = any_merges(numbers)
    ours = train_merges(PieceCounts.from_mapping(lines), 20, seed_merges=seeds)
    names = seeds.token_bytes()
    order = np.argsort(HF_BYTE_ORDER).tolist()
    outer = [*order, *range(256, len(names))]
    inner = {symbol: number for number, symbol in enumerate(outer)}
    rows = [tuple(inner[symbol] for symbol in row) for row in as_rows(seeds)]
    words = [(reference_train.replay([inner[v] for v in line], rows), count) for line, count in lines.items()]
    texts = [names[symbol].decode("latin-1") for symbol in outer]
    vocabulary, merges = reference_train.train(words, texts, len(names) + 20 - (len(names) - 256))
    expected = [([outer[s] if s < len(outer) else s for s in pair], count) for pair, count in merges]
    assert list(zip(ours.pairs[len(seeds) :].tolist(), ours.counts[len(seeds) :].tolist(), strict=True)) == expected
    assert [name.decode("latin-1") for name in ours.token_bytes()][256:] == vocabulary[256:]


@settings(deadline=None)
@given(LINES, st.integers(0, 30))
def test_resumed_training_is_the_same_training(lines, first: int) -> None:
    pieces = PieceCounts.from_mapping(lines)
    whole = train_merges(pieces, 30)
    resumed = train_merges(pieces, 30, seed_merges=train_merges(pieces, first))
    assert as_rows(resumed) == as_rows(whole)
    assert resumed.counts.tolist() == whole.counts.tolist()


def test_resumed_training_of_many_words_is_the_same_training() -> None:
    generator = np.random.default_rng(4)
    pieces = {
        bytes(generator.choice(list(b" abcdefgh"), p=[0.2] + [0.1] * 8, size=generator.integers(1, 300)).tolist()): int(
            n
        )
        for n in generator.integers(1, 50, size=2000)
    }
    counts = PieceCounts.from_mapping(pieces)
    whole = train_merges(counts, 3000)
    for first in (1, 400, 2999, 3000):
        resumed = train_merges(counts, 3000, seed_merges=train_merges(counts, first))
        assert as_rows(resumed) == as_rows(whole)


def test_merges_from_a_file_are_the_same_seeds() -> None:
    pieces = PieceCounts.from_mapping({b"abcabc": 4, b"abab": 3})
    first = train_merges(pieces, 3)
    names = first.token_bytes()
    read = Merges.from_bytes([(names[left], names[right]) for left, right in first.pairs.tolist()])
    assert as_rows(read) == as_rows(first)
    assert as_rows(train_merges(pieces, 6, seed_merges=read)) == as_rows(train_merges(pieces, 6))


def test_a_token_that_two_merges_make_has_one_symbol() -> None:
    """A given merge that its own text never reaches: a b is joined before b c."""
    seeds = Merges.from_bytes([(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")])
    ours = train_merges(PieceCounts.from_mapping({b"abc": 2, b"abcd": 2}), 10, seed_merges=seeds)
    assert ours.token_bytes()[256:] == [b"ab", b"bc", b"abc", b"abcd"]
    assert as_rows(ours)[3:] == [(256, ord("c"), 258), (258, ord("d"), 259)]


def test_lines_that_repeat_give_tokens_of_several_words() -> None:
    lines = {b"by the way it is": 50, b"on the way to it": 40}
    first = train_merges(PieceCounts.from_mapping({b"by": 50, b" the": 90, b" way": 90, b" it": 90}), 9)
    for max_words in (1, 2, 3):
        tokens = train_super_merges(PieceCounts.from_mapping(lines), first, 40, max_words=max_words).token_bytes()
        assert max(reference_train.num_words(token) for token in tokens) == max_words


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda pieces: train_super_merges(pieces, Merges.from_bytes([]), 5, max_words=0),
            "max_words must be >= 1, got 0",
        ),
        (
            lambda pieces: train_merges(pieces, 1, seed_merges=Merges.from_bytes([(b"a", b"b"), (b"b", b"a")])),
            "must be >= 2",
        ),
        (lambda pieces: Merges.from_bytes([(b"a", b"bc")]), r"merge 0 has b'bc'"),
        (
            lambda pieces: train_merges(pieces, 9, seed_merges=Merges.from_bytes([(b"a", b"b")] * 2)),
            "merge 1 stands earlier",
        ),
        (
            lambda pieces: train_merges(
                pieces, 9, seed_merges=Merges(pairs=np.array([[97, 300]], np.int32), counts=np.zeros(1, np.int64))
            ),
            "merge 0 joins symbols 97 and 300",
        ),
        (
            lambda pieces: train_merges(
                pieces,
                9,
                seed_merges=Merges(
                    pairs=np.array([[97, 98]], np.int32),
                    counts=np.zeros(1, np.int64),
                    products=np.array([300], np.int32),
                ),
            ),
            "merge 0 must make symbol",
        ),
    ],
)
def test_bad_settings(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(PieceCounts.from_mapping({b"ab": 1}))


def test_encoding_by_rank_gives_what_training_saw() -> None:
    """Training applies the merges as the encoder does, so the second stage needs no encoder of its own."""
    lines = {b"the cat the cat": 7, b"a cat the": 3}
    first = train_merges(PieceCounts.from_mapping({b"the": 10, b" cat": 10, b" the": 10}), 6)
    ours = train_super_merges(PieceCounts.from_mapping(lines), first, 14)
    ids = reference.encode(b"the cat the cat", range(256), as_rows(ours))
    tokens = ours.token_bytes()
    assert b"".join(tokens[id] for id in ids) == b"the cat the cat"
    assert ids == reference_train.replay(list(b"the cat the cat"), as_rows(ours))
