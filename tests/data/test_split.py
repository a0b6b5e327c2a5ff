import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.data.split import is_validation, split_documents, split_position

DOCUMENTS = [b"document %d" % number for number in range(2000)]


def test_the_share_is_about_right_and_the_seed_changes_it():
    first, second = ({document for document in DOCUMENTS if is_validation(document, 0.1, seed)} for seed in (0, 1))
    assert 150 < len(first) < 250
    assert 150 < len(second) < 250
    assert len(first & second) < 60


def test_positions_are_uniform():
    positions = sorted(split_position(document) for document in DOCUMENTS)
    assert max(abs(position - rank / 2000) for rank, position in enumerate(positions)) < 0.04


def test_a_document_stays_on_its_side_whatever_stands_around_it():
    shuffled = random.Random(0).sample(DOCUMENTS, 1000)
    assert dict(split_documents(shuffled, 0.1)).items() <= dict(split_documents(DOCUMENTS, 0.1)).items()


@pytest.mark.parametrize("fraction", [1e-9, 0.3, 1 - 1e-9])
@given(documents=st.lists(st.binary(max_size=2), min_size=2, max_size=8))
def test_nothing_is_lost_and_no_side_is_empty(fraction, documents):
    found = list(split_documents(documents, fraction))
    assert sorted(document for document, _ in found) == sorted(documents)
    assert {held_out for _, held_out in found} == {False, True}
    if len(set(documents)) > 1:  # equal documents stay together
        assert not {document for document, held_out in found if held_out} & {
            document for document, held_out in found if not held_out
        }


@pytest.mark.parametrize(("fraction", "held_out"), [(1e-9, 1), (1 - 1e-9, 1999)])
def test_the_document_nearest_to_the_other_side_is_moved(fraction, held_out):
    found = dict(split_documents(DOCUMENTS, fraction))
    assert sum(found.values()) == held_out
    moved = next(document for document, side in found.items() if side == (held_out == 1))
    pick = min if held_out == 1 else max
    assert moved == pick(DOCUMENTS, key=split_position)


def test_the_order_stays_once_both_sides_have_a_document():
    found = [document for document, _ in split_documents(DOCUMENTS, 0.1)]
    assert found[500:] == DOCUMENTS[500:]


def test_one_document_or_none():
    assert list(split_documents([b"a"], 0.9)) == [(b"a", False)]
    assert list(split_documents([], 0.9)) == []
    assert not any(held_out for _, held_out in split_documents(DOCUMENTS, 0))


def test_it_streams():
    def endless():
        number = 0
        while True:
            yield b"document %d" % number
            number += 1

    stream = split_documents(endless(), 0.1)
    assert len([next(stream) for _ in range(100)]) == 100
