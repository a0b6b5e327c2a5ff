from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError, DataError
from textmill.ops.memory import padded
from textmill.ops.unigram import lattice as lattice_module
from textmill.ops.unigram import reference
from textmill.ops.unigram.encode import UnigramEncoder
from textmill.ops.unigram.lattice import UnigramLattice
from textmill.ops.unigram.tables import UnigramTables
from textmill.ops.unigram.vocabulary import Kind, UnigramVocabulary

from .sentencepiece_models import peer_of

ALPHABET = "ab▁ä☃"
SPECIAL = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
SPECIAL_KINDS = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL]


@st.composite
def vocabularies(draw: st.DrawFn) -> list[tuple[str, float]]:
    strings = draw(st.lists(st.text(ALPHABET, min_size=1, max_size=3), unique=True, min_size=1, max_size=10))
    scores = st.floats(-6, -1, width=32)
    return [*SPECIAL, *((string, draw(scores)) for string in strings)]


def lattice_of(pieces: list[tuple[str, float]]) -> UnigramLattice:
    kinds = SPECIAL_KINDS + [Kind.NORMAL] * (len(pieces) - 3)
    return UnigramLattice(UnigramTables(UnigramVocabulary.build(pieces, unknown=0, kinds=kinds)))


def sample(lattice: UnigramLattice, text: bytes, alpha: float, seed: int) -> list[int]:
    ids, ends = lattice.sample(padded(text), 0, np.array([len(text)], np.int32), alpha=alpha, seed=seed)
    assert ends[-1] == len(text)
    assert (np.diff([0, *ends]) > 0).all()
    return ids.tolist()


@settings(max_examples=150)
@given(vocabularies(), st.text(ALPHABET, min_size=1, max_size=8).map(str.encode) | st.binary(min_size=1, max_size=5))
def test_n_best_equals_enumeration(pieces: list[tuple[str, float]], text: bytes) -> None:
    lattice = lattice_of(pieces)
    every = reference.all_segmentations(text, lattice.tables.vocabulary)
    for n in (1, 3, len(every) + 1):
        found = lattice.n_best(text, n)
        assert [score for score, _ in found] == pytest.approx([score for score, _ in every[:n]])
    expected = [tuple(reference.to_ids(path, lattice.tables.vocabulary)) for _, path in every]
    assert Counter(tuple(ids) for _, ids in found) == Counter(expected)


@settings(max_examples=100)
@given(vocabularies(), st.text(ALPHABET, min_size=1, max_size=9))
def test_n_best_equals_sentencepiece(pieces: list[tuple[str, float]], text: str) -> None:
    peer = peer_of(pieces, SPECIAL_KINDS + [Kind.NORMAL] * (len(pieces) - 3))
    lattice = lattice_of(pieces)
    found = lattice.n_best(text.encode(), 6)
    expected = [tuple(ids) for ids in peer.nbest_encode(text, nbest_size=6)]
    assert len(found) == len(expected)
    # equal scores may come in any order, and the last ones may be others
    score_of = {tuple(ids): score for score, ids in lattice.n_best(text.encode(), 60)}
    assert [score_of[ids] for ids in expected] == pytest.approx([score for score, _ in found], abs=1e-4)


@settings(max_examples=60)
@given(vocabularies(), st.text(ALPHABET, min_size=1, max_size=6), st.sampled_from([0.0, 0.3, 1.0, 4.0]))
def test_samples_are_as_frequent_as_likely(pieces: list[tuple[str, float]], text: str, alpha: float) -> None:
    lattice = lattice_of(pieces)
    expected: Counter[tuple[int, ...]] = Counter()
    for probability, path in reference.sampling_probabilities(text.encode(), lattice.tables.vocabulary, alpha):
        expected[tuple(reference.to_ids(path, lattice.tables.vocabulary))] += probability
    # 4000 pieces of the same text
    size, times = len(text.encode()), 4000
    ends = size * np.arange(1, times + 1, dtype=np.int32)
    ids, token_ends = lattice.sample(padded(text.encode() * times), 0, ends, alpha=alpha, seed=1)
    bounds = np.searchsorted(token_ends, ends) + 1
    found = Counter(tuple(row.tolist()) for row in np.split(ids, bounds[:-1]))
    assert set(found) <= set(expected)
    for path, probability in expected.items():
        # five standard deviations
        assert abs(found[path] / times - probability) < 5 * np.sqrt(probability * (1 - probability) / times) + 1e-3


@settings(max_examples=60)
@given(vocabularies(), st.text(ALPHABET, min_size=1, max_size=6), st.sampled_from([0.0, 0.5, 2.0]))
def test_entropy_equals_enumeration(pieces: list[tuple[str, float]], text: str, alpha: float) -> None:
    lattice = lattice_of(pieces)
    rows = reference.sampling_probabilities(text.encode(), lattice.tables.vocabulary, alpha)
    entropy, log_sum = lattice.entropy(text.encode(), alpha)
    assert entropy == pytest.approx(-sum(p * np.log(p) for p, _ in rows if p > 0), abs=1e-9)
    scores = [score for score, _ in reference.all_segmentations(text.encode(), lattice.tables.vocabulary)]
    assert log_sum == pytest.approx(np.log(np.sum(np.exp(alpha * np.array(scores)))))


def test_seeds() -> None:
    lattice = lattice_of([*SPECIAL, ("a", -2.0), ("aa", -3.0), ("aaa", -4.0), ("▁", -2.0), ("▁a", -3.0)])
    text = "▁aaaaaa▁aaa".encode() * 30
    assert sample(lattice, text, 0.5, 7) == sample(lattice, text, 0.5, 7) != sample(lattice, text, 0.5, 8)
    # a large alpha leaves the best one, a seed may have 64 bits
    text = "▁aaaaaa".encode()
    assert sample(lattice, text, 1000.0, (1 << 64) - 1) == lattice.n_best(text, 1)[0][1]


def test_a_megabyte_without_a_break() -> None:
    lattice = lattice_of([*SPECIAL, ("a", -2.0), ("aa", -3.0), ("中", -4.0)])
    for text in (b"a" * 1_000_000, "中".encode() * 300_000, b"\xff" * 1_000_000):
        ids, ends = lattice.sample(padded(text), 0, np.array([len(text)], np.int32), alpha=0.2, seed=3)
        assert ends[-1] == len(text)
        assert len(ids) == 1 or len(ids) > 100_000
    score, ids = lattice.n_best(b"a" * 10_000, 2)[0]
    assert (score, ids) == (-15_000.0, [4] * 5_000)


def test_the_search_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    lattice = lattice_of([*SPECIAL, ("a", -2.0), ("aa", -3.5), ("aaa", -5.0)])
    expected = lattice.n_best(b"a" * 12, 300)
    for name, value in (("_EDGES_PER_BYTE", 0), ("_EDGES_BEYOND", 1), ("_FIRST_ITEMS", 0), ("_IDS_AT_ONCE", 1)):
        monkeypatch.setattr(lattice_module, name, value)
    assert lattice.n_best(b"a" * 12, 300) == expected
    assert len({tuple(ids) for _, ids in expected}) == 300
    every = lattice.n_best(b"a" * 12, 1000)
    assert len(every) == 927  # the sums of ones, twos and threes that are 12
    assert every[:300] == expected


def test_the_heap_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    lattice = lattice_of([*SPECIAL, ("a", -2.0), ("aa", -3.1), ("aaa", -4.7), ("b", -2.5), ("ab", -4.0), ("ba", -4.2)])
    text = b"aababaaabbaabaab"
    every = lattice.n_best(text, 100_000)
    monkeypatch.setattr(lattice_module, "_FIRST_ITEMS", 0)
    for n in (1, 2, 3, 7, 50):
        # what is dropped from a full heap would have come after the n-th
        found = lattice.n_best(text, n)
        assert [score for score, _ in found] == pytest.approx([score for score, _ in every[:n]])
        assert len({tuple(ids) for _, ids in found}) == n


def test_empty_text() -> None:
    lattice = lattice_of([*SPECIAL, ("a", -2.0)])
    assert lattice.n_best(b"", 3) == [(0.0, [])]
    assert lattice.entropy(b"") == (0.0, 0.0)
    ids, ends = lattice.sample(padded(b""), 0, np.empty(0, np.int32), alpha=1.0, seed=0)
    assert (ids.tolist(), ends.tolist()) == ([], [])


def test_bad_arguments() -> None:
    lattice = lattice_of([*SPECIAL, ("a", -2.0)])
    with pytest.raises(ConfigError, match="n must be 1 or more, got 0"):
        lattice.n_best(b"a", 0)
    for alpha in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="alpha must be a finite number >= 0"):
            sample(lattice, b"a", alpha, 0)
    with pytest.raises(ConfigError, match=r"seed must be in 0..2\*\*64 - 1, got -1"):
        sample(lattice, b"a", 1.0, -1)
    for ends in ([2, 1], [0, 1], [1 << 30, 2]):
        with pytest.raises(DataError, match="the ends of pieces must grow"):
            lattice.sample(padded(b"aa"), 0, np.array(ends, np.int32), alpha=1.0, seed=0)
    tables = UnigramEncoder([("a", -1.0)], unknown=None).tables
    with pytest.raises(DataError, match="the text has an unknown character"):
        sample(UnigramLattice(tables), b"ab", 1.0, 0)
