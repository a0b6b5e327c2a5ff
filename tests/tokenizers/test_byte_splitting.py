"""Kernels on bytes. Oracle: the definition, `splitting.split`."""

import itertools
import random

import numpy as np
import pytest
from tests.tokenizers.test_splitting import CASES, PARTS

from textmill.ops.memory import PADDING, padded
from textmill.ops.split.reference import byte_offsets
from textmill.tokenizers import steps
from textmill.tokenizers.byte_splitting import byte_splitter
from textmill.tokenizers.splitting import split

BYTES = [b"\xff", b"\xe2\x96", b"\x81", b"\xc3", b"\xf0\x9f\x98"]
WELL_KNOWN = [
    [steps.Digits(individual=True), steps.ByteLevel()],
    [steps.WhitespaceSplit(), steps.Metaspace()],
    [steps.Metaspace(prepend="first", split=False)],
    [steps.Punctuation(behavior="contiguous"), steps.ByteLevel(), steps.Digits(), steps.ByteLevel(use_regex=False)],
    [steps.Pattern(pattern=r"\p{L}+|\p{N}", behavior="removed", invert=True), steps.ByteLevel(add_prefix_space=True)],
    [steps.BertSplit(), steps.Digits(individual=True)],
    [steps.ByteLevel(add_prefix_space=True)],
    [steps.Metaspace(replacement="😀"), steps.Metaspace(replacement="-", prepend="never")],
    [steps.Delimiter(character="\n"), steps.Pattern(pattern="a", is_regex=False, behavior="merged_with_previous")],
    [steps.FixedLength(length=1)],
    [steps.WhitespaceSplit(), steps.FixedLength(length=1)],
    [],
]
STEPS = [ours for ours, _ in CASES]


def texts(seed, count):
    generator = random.Random(seed)
    parts = [*(part.encode() for part in PARTS), *BYTES, "▁".encode(), b"_", b"\r\n"]
    return [b"".join(generator.choices(parts, k=generator.randrange(9))) for _ in range(count)]


def pieces_of(found):
    data = found.buffer.tobytes()
    return [data[a:b] for a, b in itertools.pairwise([0, *found.ends.tolist()])]


def check(splits, data, *, byte_characters, first=True):
    splitter = byte_splitter(splits, byte_characters=byte_characters)
    if splitter is None:
        return False
    text = data.decode("utf-8", "surrogateescape")
    expected = split(text, splits, byte_characters=byte_characters, first=first)
    ends = np.array([len(data)] if data else [], dtype=np.int32)
    plain, found = (splitter(padded(data), ends, first=first, sources=wanted) for wanted in (False, True))
    assert plain.sources is None
    assert found.buffer[len(found.buffer) - PADDING :].tolist() == [0] * PADDING
    pieces = [piece.encode("utf-8", "surrogateescape") for piece in expected]
    assert pieces_of(plain) == pieces_of(found) == pieces, ascii(text)
    if found.sources is None:
        assert expected.starts_in_source is None
        return True
    # each byte comes from a byte of the character that the definition names
    assert len(found.sources) == sum(map(len, pieces)) == len(found.buffer) - PADDING
    characters = np.repeat(np.arange(len(expected.text)), np.diff(byte_offsets(expected.text)))
    starts, ends = expected.starts_in_source, expected.ends_in_source
    if starts is None:
        starts, ends = np.arange(len(text)), np.arange(len(text)) + 1
    places = byte_offsets(text)
    assert (places[starts[characters]] <= found.sources).all(), ascii(text)
    assert (found.sources < places[ends[characters]]).all(), ascii(text)
    return True


@pytest.mark.parametrize("byte_characters", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("splits", WELL_KNOWN)
def test_well_known_pipelines(splits, byte_characters, first):
    for data in texts(0, 60):
        assert check(splits, data, byte_characters=byte_characters, first=first)


def test_steps_one_after_the_other():
    generator = random.Random(2)
    known = 0
    for _ in range(200):
        splits = generator.choices(STEPS, k=generator.choice([1, 2, 3]))
        for data in texts(generator.random(), 4):
            known += check(splits, data, byte_characters=generator.random() < 0.5)
    assert known > 300


@pytest.mark.parametrize("splits", WELL_KNOWN)
def test_several_texts_at_once(splits):
    splitter = byte_splitter(splits, byte_characters=True)
    assert splitter.is_local
    for seed in range(20):
        parts = [data for data in texts(seed, 6) if data]
        alone = [pieces_of(splitter(padded(data), np.array([len(data)], np.int32))) for data in parts]
        ends = np.cumsum([len(data) for data in parts]).astype(np.int32)
        found = splitter(padded(b"".join(parts)), ends)
        assert pieces_of(found) == list(itertools.chain(*alone))
        sizes = [sum(map(len, pieces)) for pieces in alone]
        assert found.text_ends.tolist() == np.cumsum(sizes).tolist()


def test_what_has_no_kernel():
    first = steps.Metaspace(prepend="first")
    for splits in (
        [steps.UnicodeScripts()],
        [steps.FixedLength()],
        [steps.Pattern(pattern="a*")],
        [steps.Pattern(pattern="", is_regex=False)],
        [steps.Pattern(pattern=r"\bx")],
        [steps.ByteLevel(add_prefix_space=True), first],
        [steps.Metaspace(replacement="longer than 8")],
    ):
        assert byte_splitter(splits, byte_characters=False) is None
    assert not byte_splitter([steps.WhitespaceSplit(), first], byte_characters=False).is_local


def test_long_texts():
    for data in (b" " * 100_000, "▁".encode() * 50_000, b"a" * 100_000, "中 ".encode() * 30_000, b"\xe2" * 70_000):
        for splits in WELL_KNOWN:
            splitter = byte_splitter(splits, byte_characters=False)
            found = splitter(padded(data), np.array([len(data)], np.int32), sources=True)
            assert found.sources is None or len(found.sources) == (found.ends[-1] if len(found.ends) else 0)
