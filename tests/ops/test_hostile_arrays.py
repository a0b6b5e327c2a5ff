"""What launchers must refuse before a kernel sees it, and what caches must not mix up."""

import copy
import pickle

import numpy as np
import pytest

from textmill.errors import DataError
from textmill.ops.character_bpe import CharacterBpeEncoder
from textmill.ops.memory import padded
from textmill.ops.normalize import SentencePieceNormalizer, read_charsmap
from textmill.ops.normalize.reference import BlankRules
from textmill.ops.split.chain import Step, cut_in_steps
from textmill.ops.split.marked import compacted
from textmill.ops.unigram.encode import UnigramEncoder
from textmill.ops.wordpiece import WordPieceEncoder

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SCORED = [("<unk>", 0.0), ("▁", -1.0), ("a", -2.0)]


def test_a_long_word_whose_hash_another_word_has():
    """The keys of the two words are equal."""
    pieces = [("<unk>", 0.0), ("internationalism", -1.0), *((letter, -2.0) for letter in LETTERS)]
    encoder = UnigramEncoder(pieces, unknown=0)
    first, second = "internationalism", "xBieQdahRtkkYZwk"
    expected = encoder.encode_sentence(padded(second.encode()), 0, len(second)).tolist()
    other = UnigramEncoder(pieces, unknown=0)
    for word in (first, second, first, second):
        found = other.encode_sentence(padded(word.encode()), 0, len(word)).tolist()
    assert found == expected
    assert len(expected) == 16


def test_a_later_block_that_leaves_the_text():
    encoder = CharacterBpeEncoder.from_scores(SCORED, unknown=0)
    ends = np.arange(1, 32770, dtype=np.int32)
    ends[32767], ends[32768] = 200_000_000, 32770
    with pytest.raises(DataError):
        encoder.encode_with_ends(padded(b"a" * 40_000), 0, ends)


@pytest.mark.parametrize("ends", [[-5, 400], [5, 3], [1 << 30]])
def test_sentences_that_are_none(ends):
    encoder = CharacterBpeEncoder.from_scores(SCORED, unknown=0)
    with pytest.raises(DataError):
        encoder.encode_sentences(padded(b"a" * 400), np.array(ends, dtype=np.int32))


def test_pieces_beyond_the_text():
    pieces = (np.array([10, 50_000_000], np.int32), np.ones(2, np.uint8))
    with pytest.raises(DataError, match="cannot split bytes 0 to 50000000"):
        cut_in_steps([Step("digits")], padded(b"a" * 300), 0, 50_000_000, pieces)


def test_ends_that_fall_and_wrap():
    ends = np.array([2147483647, -2147483648, -1, 100], np.int32)
    with pytest.raises(DataError, match="must grow from 0"):
        compacted(padded(b"a" * 200), 0, ends, np.array([0, 1, 0, 1], np.uint8), sources=False)


def normalizer(units: np.ndarray | None = None) -> SentencePieceNormalizer:
    data = b"" if units is None else np.uint32(units.nbytes).tobytes() + units.tobytes() + b"x\0"
    return SentencePieceNormalizer(read_charsmap(data), BlankRules())


@pytest.mark.parametrize("out", [np.empty(8000, np.uint8)[::-1], np.frombuffer(bytes(8000), np.uint8)])
def test_buffers_that_cannot_be_written_to(out):
    text = padded(b"a b")
    with pytest.raises(DataError, match="out must be contiguous uint8"):
        normalizer().documents(text, np.array([0, 3], dtype=np.int64), out)


def test_a_table_of_rules_that_runs_in_circles_ends():
    units = np.full(512, 1 << 31, dtype=np.uint32)
    units[0], units[256 ^ 97] = 256 << 10, (97 << 10) | 97
    buffer, length, _ = normalizer(units)(padded(b"a" * 200_000), 200_000)
    assert buffer[:length].tobytes() == "▁".encode() + b"a" * 200_000


@pytest.mark.parametrize("kind", ["wordpiece", "characters"])
def test_ids_are_not_written_into_what_cannot_change(kind):
    if kind == "wordpiece":
        encoder = WordPieceEncoder({"[UNK]": 0, "a": 1}, unknown="[UNK]")
    else:
        encoder = CharacterBpeEncoder.from_scores(SCORED, unknown=0)
    with pytest.raises(DataError, match="out must be contiguous int32"):
        encoder.encode_into(padded(b"aa"), 0, np.array([2], np.int32), None, np.frombuffer(bytes(400), np.int32))


def test_what_holds_addresses_is_not_copied():
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="holds addresses of its own arrays"):
            copied(normalizer())
