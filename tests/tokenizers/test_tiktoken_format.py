import base64

import pytest
import tiktoken_ext.openai_public as published

from textmill.errors import ConfigError, FormatError
from textmill.tokenizers.tiktoken_format import SPECIAL_TOKENS, SPLITS, merges_of_ranks, read_ranks, read_tiktoken

LINES = [base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)]


def written(path, lines):
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_ranks_are_read(tmp_path):
    path = written(tmp_path / "cl100k_base.tiktoken", [*LINES, b"YWI= 256", b""])
    assert read_ranks(path) == {bytes([byte]): byte for byte in range(256)} | {b"ab": 256}
    pipeline = read_tiktoken(path)
    assert (pipeline.byte_level_split, pipeline.end_of_text) == ("cl100k", "<|endoftext|>")
    assert pipeline.special_tokens == SPECIAL_TOKENS["cl100k_base"]


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_names_and_special_tokens_are_the_published_ones(name, monkeypatch):
    from textmill.ops.split import splitter

    monkeypatch.setattr(published, "load_tiktoken_bpe", lambda *_, **__: {})
    monkeypatch.setattr(published, "data_gym_to_mergeable_bpe_ranks", lambda *_, **__: {})
    expected = published.ENCODING_CONSTRUCTORS[name]()
    assert SPECIAL_TOKENS[name] == expected["special_tokens"]
    assert splitter(expected["pat_str"]).name == SPLITS[name]


def test_split_and_special_tokens_can_be_given(tmp_path):
    path = written(tmp_path / "mine.tiktoken", LINES)
    pipeline = read_tiktoken(path, split="o200k", special_tokens={"<eos>": 300})
    assert (pipeline.byte_level_split, pipeline.special_tokens, pipeline.end_of_text) == (
        "o200k",
        {"<eos>": 300},
        "<eos>",
    )
    with pytest.raises(ConfigError, match=r"'mine.tiktoken' is not a published name. Fix: name the split"):
        read_tiktoken(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*LINES, b"YWI="], "line 257 is not a token in base64, a blank and an id: b'YWI='"),
        ([*LINES, b"YWI= x"], "line 257 is not"),
        ([*LINES, b"Y%I= 256"], "line 257 is not"),
        ([*LINES, b"\xff\xfe\x00 1"], "line 257 is not"),
        ([*LINES, LINES[7]], r"line 257: the token b'\\x07' stands here a second time"),
        (LINES[1:], "has no token for byte 0"),
        ([], "has no token for byte 0"),
    ],
)
def test_damaged_files(tmp_path, lines, message):
    with pytest.raises(FormatError, match=message):
        read_ranks(written(tmp_path / "gpt2.tiktoken", lines))


def test_a_missing_file(tmp_path):
    with pytest.raises(FormatError, match=r"cannot read .*No such file"):
        read_ranks(tmp_path / "gpt2.tiktoken")


def test_merges_of_ranks_lists_every_way():
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"bc": 3, b"ab": 4, b"abc": 5, b"zz": 6}
    assert merges_of_ranks(ranks) == [(b"b", b"c"), (b"a", b"b"), (b"a", b"bc"), (b"ab", b"c")]


def test_merges_of_ranks_of_a_huge_token():
    """A hostile file: cutting the token at each of its bytes would take two terabytes."""
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"a" * 2_000_000: 257}
    assert merges_of_ranks(ranks) == [(b"a", b"b")]
