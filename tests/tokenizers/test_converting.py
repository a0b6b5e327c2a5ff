from pathlib import Path

import pytest

from textmill.errors import FormatError, NotSupportedError
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.converting import NUM_TEXTS, convert, sample_texts

TEXT = ["The miller's wheel turns 12 times.\n\nThe mill, the wheel: HELLO World!\n", "磨坊的轮子", "naïve Mühle"] * 8


@pytest.fixture(scope="module")
def gpt2() -> Tokenizer:
    return Tokenizer.train(TEXT, vocab_size=310)


def test_what_the_file_does_not_hold_is_said(gpt2, tmp_path):
    assert convert(gpt2, tmp_path / "tok").missing == ()
    assert convert(gpt2, tmp_path / "vocab.json").missing == ()
    found = convert(gpt2, tmp_path / "mine.tiktoken").missing
    assert found == ("the splitting pattern (load it with split='gpt2')", "the special tokens <|endoftext|>")
    cl100k = Tokenizer.train(TEXT, vocab_size=310, split="cl100k")
    (pattern,) = convert(cl100k, tmp_path / "a" / "vocab.json").missing
    assert pattern.startswith("the splitting pattern (load it with split='cl100k'")
    assert convert(cl100k, tmp_path / "tok2").missing == ()


def test_all_texts_are_checked(gpt2, tmp_path):
    assert convert(gpt2, tmp_path / "t.json", texts=["one", "two"]).num_texts > NUM_TEXTS + 2
    assert list(sample_texts(gpt2, 50, seed=3)) == list(sample_texts(gpt2, 50, seed=3))


def test_a_file_beside_it_that_says_otherwise(tmp_path: Path):
    bert = Tokenizer.train(TEXT, algorithm="wordpiece", vocab_size=78)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    with pytest.raises(FormatError, match=r"would not give the same ids: .* instead of"):
        convert(bert, tmp_path / "vocab.txt")
    assert not (tmp_path / "vocab.txt").exists()
    (tmp_path / "tokenizer_config.json").unlink()
    assert convert(bert, tmp_path / "vocab.txt").missing == ()


def test_the_token_that_ends_a_text(tmp_path: Path):
    """Also where its name does not say so."""
    for special, end in ((("<|a|>", "<|endoftext|>"), 0), (("<s_a>", "<e_b>"), 0)):
        ours = Tokenizer.train(TEXT, vocab_size=310, special_tokens=special)
        assert convert(ours, tmp_path / "t.json").missing == ()
        assert Tokenizer.load(tmp_path / "t.json").end_of_text_id == end == ours.end_of_text_id


def test_a_format_for_another_algorithm(gpt2, tmp_path):
    with pytest.raises(NotSupportedError, match="not WordPiece"):
        convert(gpt2, tmp_path / "vocab.txt")
    assert list(tmp_path.iterdir()) == []
