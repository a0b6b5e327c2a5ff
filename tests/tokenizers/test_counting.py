import random
from collections import Counter
from pathlib import Path

import pytest

from textmill.errors import DataError
from textmill.ops.bpe import PieceCounts
from textmill.ops.split import pieces
from textmill.tokenizers import TokenizerSpec
from textmill.tokenizers.counting import _joined, count_pieces, count_to_file, facts, read_counted
from textmill.tokenizers.fronts import counting_front
from textmill.tokenizers.normalizing import normalize
from textmill.tokenizers.splitting import split

TEXT = [
    "The mill's wheel turned 12 times.\nThe wheel  turned; naïve Mühle, CAFÉ!",
    "磨坊的轮子转了。轮子 mill 转了。\r\n\r\n  spaces   kept",
    "tabs\tand\u3000wide blanks\u00a0here \u200b",
    "",
    "the the the",
]
SETTINGS = {
    "byte level": {},
    "byte level, normalised": {"normalize": ("nfkc", "lowercase")},
    "wordpiece": {"algorithm": "wordpiece"},
    "words": {"algorithm": "words"},
    "words, digits": {"algorithm": "words", "digits": "single"},
    "words at blanks": {"algorithm": "words", "split": "whitespace_split", "normalize": ("nfc",)},
    "metaspace": {"algorithm": "words", "split": "metaspace", "normalize": ("nfc",)},
    "characters": {"algorithm": "chars"},
    "a pattern": {"algorithm": "words", "split": r"\p{L}+"},
}


def by_definition(texts: list[str], settings: dict) -> Counter:
    """Every text normalised and split by itself."""
    front = counting_front(TokenizerSpec(**settings))
    counts: Counter = Counter()
    for text in texts:
        normal = normalize(text, front.normalizers)
        if front.byte_level_split is not None:
            counts.update(pieces(front.byte_level_split, normal.encode()))
        else:
            counts.update(piece.encode() for piece in split(normal, front.splits))
    return counts


@pytest.mark.parametrize("name", SETTINGS)
def test_counts_are_those_of_the_steps(name):
    front = counting_front(TokenizerSpec(**SETTINGS[name]))
    assert count_pieces(TEXT, front).to_mapping() == dict(by_definition(TEXT, SETTINGS[name]))


def test_sentences_are_lines_for_sentencepiece():
    front = counting_front(TokenizerSpec(algorithm="unigram"))
    found = count_pieces(["Ａ cat\nA  cat ﬁsh\n\n"], front).to_mapping()
    assert {piece.decode(): count for piece, count in found.items()} == {"▁A": 2, "▁cat": 2, "▁fish": 1}


def test_letters_numbers_and_the_rest_stay_apart_in_character_level_bpe():
    front = counting_front(TokenizerSpec(level="characters", digits="single"))
    found = count_pieces(["def f12(x):\n  return"], front).to_mapping()
    assert {piece.decode(): count for piece, count in found.items()} == {
        "▁def": 1,
        "▁f": 1,
        "1": 1,
        "2": 1,
        "(": 1,
        "x": 1,
        "):": 1,
        "▁▁▁return": 1,
    }


@pytest.mark.parametrize("name", ["byte level", "wordpiece", "metaspace"])
def test_a_file_of_counts_holds_the_same_and_adds_up(name, tmp_path):
    front = counting_front(TokenizerSpec(**SETTINGS[name]))
    expected = count_pieces(TEXT, front).to_mapping()
    number = count_to_file(TEXT, front, tmp_path / "a" / "x.counts", memory_bytes=1 << 24)
    assert number == len(expected)
    paths = [tmp_path / "a" / "x.counts"]
    assert read_counted(paths, front).to_mapping() == expected
    assert read_counted(paths * 2, front).to_mapping() == {piece: 2 * count for piece, count in expected.items()}
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["x.counts"]


def test_what_does_not_fit_into_the_memory_goes_to_files(tmp_path):
    chance = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    texts = [" ".join("".join(chance.choices(letters, k=9)) for _ in range(2000)) for _ in range(40)]
    front = counting_front(TokenizerSpec())
    count_to_file(texts, front, tmp_path / "small.counts", memory_bytes=1 << 22)
    count_to_file(texts, front, tmp_path / "large.counts", memory_bytes=1 << 30)
    small, large = (read_counted([tmp_path / f"{size}.counts"], front) for size in ("small", "large"))
    assert len(small) > 79_000
    assert small.to_mapping() == large.to_mapping()


def test_rare_pieces_can_be_left_out(tmp_path):
    front = counting_front(TokenizerSpec())
    assert count_to_file(["a b a a"], front, tmp_path / "x", memory_bytes=1 << 24, min_count=2) == 1
    assert read_counted([tmp_path / "x"], front).to_mapping() == {b" a": 2}


def test_counts_of_other_settings(tmp_path: Path):
    front, other = counting_front(TokenizerSpec()), counting_front(TokenizerSpec(split="cl100k"))
    assert facts(front) != facts(other)
    count_to_file(TEXT, front, tmp_path / "x", memory_bytes=1 << 24)
    with pytest.raises(DataError, match="was counted with other settings"):
        read_counted([tmp_path / "x"], other)


def test_words_that_spell_the_mark_are_counted_one_by_one():
    front = counting_front(TokenizerSpec(algorithm="wordpiece"))
    text = "qzxjkvwqzxjkv cat QZXJKVWQZXJKV"
    assert count_pieces([text], front).to_mapping() == {b"qzxjkvwqzxjkv": 2, b"cat": 1}


def test_words_after_separators():
    assert _joined(PieceCounts.from_mapping({}), b"/") == b""
