import numpy as np
import pytest

from textmill.errors import ConfigError
from textmill.ops.bpe import PieceCounter, train_merges
from textmill.ops.bpe.count_threads import count_in_threads
from textmill.ops.bpe.sort import sorted_counts
from textmill.ops.bpe.train_super import add_lines
from textmill.ops.memory import padded


def texts(seed: int) -> list[bytes]:
    generator = np.random.default_rng(seed)
    words = [bytes(generator.choice(list(b"abcdefgh"), size=generator.integers(1, 9)).tolist()) for _ in range(500)]
    return [b" ".join(words[int(i)] for i in generator.integers(0, 500, size=400)) for _ in range(60)]


def count_words(counter: PieceCounter, text: bytes) -> None:
    ends = np.flatnonzero(np.frombuffer(text + b" ", np.uint8) == ord(" ")).astype(np.int32)
    counter.add(padded(text), 0, ends[ends > 0])


def test_the_same_counts_and_merges_for_any_number_of_threads() -> None:
    given = texts(1)
    one = count_in_threads(given, count_words, num_threads=1).counts()
    merges = train_merges(one, 300)
    for num_threads in (2, 3, 7):
        several = count_in_threads(iter(given), count_words, num_threads=num_threads).counts()
        assert several.to_mapping() == one.to_mapping()
        assert list(sorted_counts(several).to_mapping().items()) == list(sorted_counts(one).to_mapping().items())
        again = train_merges(several, 300)
        assert np.array_equal(again.pairs, merges.pairs)
        assert np.array_equal(again.counts, merges.counts)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_errors_come_out(num_threads: int) -> None:
    def fail(counter: PieceCounter, text: bytes) -> None:
        raise ValueError("no")

    def broken():
        yield b"a"
        raise OSError("gone")

    with pytest.raises(ValueError, match="no"):
        count_in_threads(texts(2), fail, num_threads=num_threads)
    with pytest.raises(OSError, match="gone"):
        count_in_threads(broken(), count_words, num_threads=num_threads)


def test_nothing_to_count() -> None:
    assert count_in_threads([], count_words, num_threads=2).num_unique == 0
    with pytest.raises(ConfigError, match="num_threads must be >= 1, got 0"):
        count_in_threads([], count_words, num_threads=0)


@pytest.mark.parametrize("block", [1, 2, 5, 1000])
def test_lines(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("textmill.ops.bpe.train_super._BLOCK_BYTES", block)
    text = b"ab c\n\r\nab c\n\n\nlonger line\nx"
    counter = PieceCounter()
    add_lines(counter, padded(b"?" + text + b"?"), 1, 1 + len(text))
    assert counter.counts().to_mapping() == {
        b"ab c": 2,
        b"\n\r\n": 1,
        b"\n\n\n": 1,
        b"longer line": 1,
        b"\n": 1,
        b"x": 1,
    }
