import json

import pytest

from textmill.errors import FormatError, NotSupportedError
from textmill.tokenizers.byte_level import BYTE_CHARACTERS
from textmill.tokenizers.vocab_merges import read_vocab_merges

VOCAB = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)} | {"Ġa": 256, "<|endoftext|>": 257}


def pair(folder, vocab, merges):
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_bytes(merges)
    return folder / "vocab.json", folder / "merges.txt"


@pytest.mark.parametrize("merges", ["#version: 0.2\nĠ a\n", "Ġ a", "#version: 0.2\r\nĠ a\r\n"])
def test_the_pair_is_read(tmp_path, merges):
    pipeline = read_vocab_merges(*pair(tmp_path, VOCAB, merges.encode()))
    assert pipeline.model.merges == [(b" ", b"a")]
    assert (pipeline.model.tokens[b" a"], len(pipeline.model.tokens)) == (256, 257)
    assert (pipeline.byte_level_split, pipeline.special_tokens, pipeline.end_of_text) == (
        "gpt2",
        {"<|endoftext|>": 257},
        "<|endoftext|>",
    )


def test_the_split_can_be_given(tmp_path):
    from textmill.ops.split import splitter

    files = pair(tmp_path, VOCAB, b"")
    assert splitter(read_vocab_merges(*files, split="cl100k").byte_level_split).name == "cl100k"
    assert read_vocab_merges(*files, split=r"\d").byte_level_split == r"\d"


@pytest.mark.parametrize(
    ("vocab", "merges", "error", "message"),
    [
        ([], b"", FormatError, "must be an object of token: id"),
        (VOCAB, b"\xff", FormatError, "merges.txt is not UTF-8 at byte 0"),
        (VOCAB, b"a b c", FormatError, "a merge must be two tokens, got 'a b c'"),
        (VOCAB, b"a b", FormatError, "the merge 'a b' makes or needs a token that is not in the vocabulary"),
        ({"the": 0}, b"", NotSupportedError, "no byte has a token"),
    ],
)
def test_damaged_pairs(tmp_path, vocab, merges, error, message):
    with pytest.raises(error, match=message):
        read_vocab_merges(*pair(tmp_path, vocab, merges))
