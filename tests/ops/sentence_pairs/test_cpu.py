import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.ops.permutation import mixed
from textmill.ops.sentence_pairs import (
    PairRules,
    TokenFiles,
    documents_of,
    fill_pairs,
    index_pairs,
    make_pairs,
    reference,
)

DOCUMENTS = st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=2, max_size=6)


def table(documents: list[list[int]], gap: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The sentence table of documents given by their sentences' lengths, with `gap` ids between documents."""
    bounds, begin = [], 0
    for lengths in documents:
        own = np.cumsum([begin, *lengths])
        bounds.append(own)
        begin = int(own[-1]) + gap
    return np.array([len(lengths) for lengths in documents]), np.concatenate(bounds)


def expected(documents: list[list[int]], key: int, rules: PairRules) -> list[reference.Pair]:
    counts, bounds = table(documents)
    ends = np.cumsum(counts + 1)
    real = [bounds[end - count - 1 : end].tolist() for end, count in zip(ends, counts, strict=True) if count]
    return [pair for number in range(len(real)) for pair in reference.pairs_of_document(real, number, key, rules)]


@given(DOCUMENTS, st.integers(0, (1 << 64) - 1), st.integers(2, 40), st.sampled_from([0, 0.1, 1]), st.booleans())
def test_equals_the_definition(documents, key, max_tokens, short_probability, sentence_order):
    if not sentence_order and sum(map(bool, documents)) < 2:
        documents = [*documents, [1], [2]]
    rules = PairRules(max_tokens, short_probability, sentence_order)
    found = documents_of(*table(documents))
    index = index_pairs(found, key, rules)
    pairs = expected(documents, key, rules)
    assert index.num_pairs == len(pairs)
    # any pair by its number, in any order
    numbers = np.random.default_rng(0).permutation(len(pairs))
    assert make_pairs(index, numbers).tolist() == [list(pairs[number]) for number in numbers]


def test_a_long_corpus_equals_the_definition():
    random = np.random.default_rng(1)
    documents = [random.integers(1, 40, size).tolist() for size in random.integers(1, 60, 200)]
    for rules in (PairRules(61), PairRules(61, sentence_order=True)):
        found = documents_of(*table(documents))
        index = index_pairs(found, mixed(3, 4), rules)
        pairs = make_pairs(index, np.arange(index.num_pairs))
        assert pairs.tolist() == [list(pair) for pair in expected(documents, mixed(3, 4), rules)]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_the_ids_equal_the_definition(dtype):
    random = np.random.default_rng(2)
    documents = [random.integers(1, 9, size).tolist() for size in (3, 5, 1, 8)]
    counts, bounds = table(documents)
    ids = random.integers(0, np.iinfo(dtype).max, bounds[-1], dtype, endpoint=True)
    found = documents_of(counts, bounds)
    index = index_pairs(found, 5, PairRules(20))
    pairs = make_pairs(index, np.arange(index.num_pairs))
    cut = int(bounds[counts[0] + 1 + counts[1]]) + 1  # the first two documents in one file, the others in another
    tokens, starts, types = fill_pairs(pairs, TokenFiles([(0, ids[:cut]), (cut, ids[cut:])]), cls_id=1, sep_id=2)
    rows = [reference.sequence(ids.tolist(), reference.Pair(*pair), 1, 2) for pair in pairs.tolist()]
    assert tokens.tolist() == [token for row, _ in rows for token in row]
    assert types.tolist() == [kind for _, kinds in rows for kind in kinds]
    assert starts.tolist() == np.cumsum([0] + [len(row) for row, _ in rows]).tolist()
    assert tokens.dtype == starts.dtype == types.dtype == np.int64


def test_nothing_in_nothing_out():
    empty = documents_of(np.zeros(0, np.int64), np.zeros(0, np.int64))
    index = index_pairs(empty, 0, PairRules(10))
    assert index.num_pairs == 0
    pairs = make_pairs(index, np.zeros(0, np.int64))
    tokens, starts, types = fill_pairs(pairs, TokenFiles([(0, np.zeros(0, np.uint16))]), 1, 2)
    assert (len(tokens), starts.tolist(), len(types)) == (0, [0], 0)
    single = documents_of(np.array([1, 0]), np.array([0, 1, 1]))
    assert index_pairs(single, 0, PairRules(10, sentence_order=True)).num_pairs == 0  # one id is no pair


def test_what_the_kernels_rely_on_is_checked():
    counts, bounds = table([[3, 4], [5]])
    with pytest.raises(AssertionError, match="do not match"):
        documents_of(counts, bounds[:-1])
    with pytest.raises(AssertionError, match="without an id"):
        documents_of(counts, np.array([0, 3, 3, 8, 13]))
    with pytest.raises(AssertionError, match="without an id"):
        documents_of(counts, bounds - 1)
    with pytest.raises(AssertionError, match="no other document"):
        index_pairs(documents_of(np.array([1]), np.array([0, 5])), 0, PairRules(10))
    found = documents_of(counts, bounds)
    index = index_pairs(found, 0, PairRules(10))
    for number in (-1, index.num_pairs):
        with pytest.raises(AssertionError, match="no pair of that number"):
            make_pairs(index, np.array([number]))
    pairs = make_pairs(index, np.arange(index.num_pairs))
    with pytest.raises(AssertionError, match="outside the files"):
        fill_pairs(pairs, TokenFiles([(0, np.zeros(3, np.uint16))]), 1, 2)
    with pytest.raises(AssertionError, match="outside the files"):
        fill_pairs(pairs, TokenFiles([(100, np.zeros(300, np.uint16))]), 1, 2)
    with pytest.raises(AssertionError):
        TokenFiles([(0, np.zeros(20, np.dtype(np.uint16).newbyteorder()))])


def test_an_index_makes_the_pairs_of_its_own_documents():
    one, other = documents_of(*table([[3, 4], [5], [6, 1]])), documents_of(*table([[1], [1]]))
    rules = PairRules(10)
    index = index_pairs(one, 0, rules)
    index_pairs(other, 0, rules)
    # there is no way to read another corpus by this index, which would leave its arrays
    assert make_pairs(index, np.arange(index.num_pairs))[:, [1, 3]].max() <= one.bounds.max()
    assert index.documents is one
