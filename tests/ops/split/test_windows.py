import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.ops.memory import PADDING, padded
from textmill.ops.split import cpu_windows as windows
from textmill.ops.split import splitter
from textmill.ops.split.classes import class_table
from textmill.ops.split.reference import PATTERNS, compiled

# what the rules for white space, contractions and numbers are about, and a few characters that are not ASCII
ALPHABET = "ab sStTmdlvreRLE''''  \n\n\r\t\v.,-!/1234 中é\u017f\u2028\xa0🙂"
NAMES = tuple(windows.KERNELS)


def split(
    name: str, documents: list[bytes], *, num_ends: int = 400, num_marks: int = 3, poison: int = 0
) -> list[list[bytes]]:
    """The pieces of each document, by as many calls as it takes."""
    data = b"".join(documents)
    text = padded(data)
    text[len(data) :] = poison
    bounds = np.cumsum([0, *map(len, documents)])
    state, ends = np.zeros(windows.STATE_WORDS, np.int64), np.empty(num_ends, np.int32)
    marks = np.empty(num_marks, np.int64)
    all_ends, document_ends = [0], []
    while state[windows.DOCUMENT] < len(documents):
        origin = int(state[windows.AT])
        count = windows.KERNELS[name](text, bounds, state, ends, marks, class_table())
        assert count <= num_ends
        before = len(all_ends) - 1
        all_ends += (ends[:count].astype(np.int64) + origin).tolist()
        document_ends += (marks[: state[windows.NUM_MARKS]] + before).tolist()
    pieces = [data[start:end] for start, end in pairwise(all_ends)]
    assert b"".join(pieces) == data
    return [pieces[start:end] for start, end in pairwise([0, *document_ends])]


def expected(name: str, document: bytes) -> list[bytes]:
    return [found.encode() for found in compiled(PATTERNS[name]).findall(document.decode())]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(ALPHABET, max_size=150).map(str.encode), max_size=5))
def test_equals_the_published_pattern(name: str, documents: list[bytes]) -> None:
    for poison in (0, ord("a"), ord(" "), ord("'"), 0xFF):
        assert split(name, documents, poison=poison) == [expected(name, document) for document in documents]


@pytest.mark.parametrize("name", NAMES)
def test_long_random_texts(name: str) -> None:
    generator = random.Random(name)
    for alphabet in (ALPHABET, "ab 1'.\n", " \n\r\t", "a\n ", "1234567 ", "'sx ", "ab   "):
        document = "".join(generator.choices(alphabet, k=20_000)).encode()
        assert split(name, [document]) == [expected(name, document)], alphabet


def by_state_machine(name: str, document: bytes) -> list[bytes]:
    ends = np.empty(len(document) + 1, np.int32)
    bounds = [
        0,
        *(end for _, block in splitter(name).blocks(padded(document), 0, len(document), ends) for end in block),
    ]
    return [document[start:end] for start, end in pairwise(bounds)]


@pytest.mark.parametrize("name", NAMES)
def test_every_character_of_three_bytes(name: str) -> None:
    """By the state machine, because Python's version of Unicode may be another one."""
    characters = [chr(code) for code in range(0x800, 0x10000) if not 0xD800 <= code < 0xE000]
    document = "".join(f"a{one}b{one}{one}.{one}1 {one}中" for one in characters).encode()
    assert split(name, [document], num_ends=4000) == [by_state_machine(name, document)]


@pytest.mark.parametrize("name", NAMES)
def test_chinese_text(name: str) -> None:
    generator = random.Random(name)
    for alphabet in ("中文龿一，。“”", "中文一二，。！： \n", "中，\u3000\u3005é1a '"):
        document = "".join(generator.choices(alphabet, k=20_000)).encode()
        assert split(name, [document]) == [expected(name, document)], alphabet


@pytest.mark.parametrize("name", NAMES)
def test_cut_characters(name: str) -> None:
    """A document that ends or begins inside a character: its bytes are bad ones, though the next document goes on."""
    whole = "a中，文".encode()
    documents = [part for cut in range(1, len(whole)) for part in (whole[:cut], whole[cut:])]
    assert split(name, documents) == [by_state_machine(name, document) for document in documents]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unit", ["a", " ", "\n", "1", "'", "中", "，", "a " * 31 + "ab", "é", "\r\n", " \n"])
def test_runs_at_every_length_around_a_window(name: str, unit: str) -> None:
    for count in (*range(1, 5), *range(55, 70), 127, 128, 129, 1000):
        for head, tail in (("", ""), ("x", "x"), (" ", " "), (".", "\n")):
            document = (head + unit * count + tail).encode()
            assert split(name, [document]) == [expected(name, document)], (count, head, tail)


@pytest.mark.parametrize("name", NAMES)
def test_documents_do_not_see_one_another(name: str) -> None:
    documents = [b"don", b"", b"'t", b" ", b" x", b"\n", b"", b"1", b"23456", b"\xff\xfe", b"a" * 200, b""]
    for num_marks in (1, 2, 50):
        found = split(name, documents, num_marks=num_marks, num_ends=windows.SPARE_ENDS + 1)
        assert found == [split(name, [document])[0] for document in documents]
    assert split(name, [b"don"]) == [[b"don"]]


@pytest.mark.parametrize("name", NAMES)
def test_reads_nothing_after_the_padding(name: str) -> None:
    """The padding is all that may be read beyond a text, so the text may lie at the very end of its memory."""
    for size in range(1, 140):
        document = (b"ab 'll 12 \n." * 20)[:size]
        text = padded(document)
        assert len(text) == size + PADDING
        assert split(name, [document]) == [expected(name, document)]
