"""The hash-table model against the definition on dictionaries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.ops.byte_ngram import cpu, reference


def flat(documents: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0] + [len(document) for document in documents]).astype(np.int64)
    return np.frombuffer(b"".join(documents), np.uint8), starts


TRAIN = [b"the cat sat on the mat", b"", b"the dog sat on the log", b"\x00\xff\x00\xff", b"a"]
TEST = [b"the cat on the log", b"zebra \xff\x00", b"", b"the dog sat on the log"]


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
def test_bits_equal_the_definition(order: int) -> None:
    fast = cpu.document_bits(cpu.count_ngrams(*flat(TRAIN), order), *flat(TEST))
    slow = reference.document_bits(reference.count_ngrams(*flat(TRAIN), order), *flat(TEST))
    np.testing.assert_allclose(fast, slow, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("ab\u00e9", max_size=40), min_size=1, max_size=4),
    st.lists(st.text("abc", max_size=15), max_size=3),
    st.integers(1, 6),
)
def test_bits_equal_the_definition_on_any_text(train: list[str], test: list[str], order: int) -> None:
    seen, unseen = flat([text.encode() for text in train]), flat([text.encode() for text in test])
    fast = cpu.document_bits(cpu.count_ngrams(*seen, order), *unseen)
    slow = reference.document_bits(reference.count_ngrams(*seen, order), *unseen)
    np.testing.assert_allclose(fast, slow, rtol=1e-11)


@pytest.mark.parametrize("context", [b"", b"the ", b"the cat", b"never seen", b"\xff"])
def test_probabilities_sum_to_one_and_equal_the_definition(context: bytes) -> None:
    fast = cpu.next_byte(cpu.count_ngrams(*flat(TRAIN), 4), context)
    slow = reference.next_byte(reference.count_ngrams(*flat(TRAIN), 4), context)
    assert fast.sum() == pytest.approx(1, abs=1e-12)
    assert fast.min() > 0
    np.testing.assert_allclose(fast, slow, rtol=1e-11)


def test_the_table_grows() -> None:
    """More n-grams than the first table holds: random bytes make a new one of every length at almost every step."""
    text = np.random.default_rng(0).integers(0, 256, 6000).astype(np.uint8)
    starts = np.array([0, len(text)], np.int64)
    table = cpu.count_ngrams(text, starts, 8)
    assert len(table.counts) > 6 * len(text)
    # at the full order the counts are occurrences: together, the bytes of the text
    assert table.counts[table.lengths == 8].sum() == len(text)
    assert cpu.document_bits(table, text, starts)[0] < 6000


def test_discounts_of_a_small_sample_fall_back() -> None:
    assert reference.discounts_of([3, 0, 1, 1]) == [0.0, 0.5, 1.0, 1.5]


def test_a_context_inside_a_document_has_no_start_marks() -> None:
    table = reference.count_ngrams(*flat([b"abc"]), 3)
    inside, begun = reference.next_byte(table, b"b", at_start=False), reference.next_byte(table, b"b")
    assert inside.sum() == pytest.approx(1)
    assert inside[ord("c")] != begun[ord("c")] or inside[ord("c")] > 0.25
