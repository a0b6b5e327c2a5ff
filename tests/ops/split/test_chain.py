"""Splits one after the other. Oracle: `tokenizers`' Sequence."""

import itertools
import random

import numpy as np
import pytest
from tokenizers import Regex
from tokenizers import pre_tokenizers as theirs

from textmill.errors import ConfigError
from textmill.ops.memory import padded
from textmill.ops.split import GAP, PATTERNS, chain
from textmill.ops.split.chain import Step, cut_in_steps
from textmill.ops.split.reference import DEEPSEEK_STEPS

TEXT = "don't  stop_at 3½٣ dogs, $5+€6\t«él»\r\n中文。あア・゛x\u0301\u3000①👩🏽‍🚀--a-b 1234 x"


def split(pattern: str, behavior: str = "isolated", invert: bool = False) -> theirs.Split:
    return theirs.Split(Regex(pattern), behavior, invert)


PIPELINES = {
    "starcoder": ([Step("single_digits"), Step("gpt2")], [theirs.Digits(True), split(PATTERNS["gpt2"])]),
    "falcon": (
        [Step("punctuation", "contiguous"), Step("gpt2"), Step("digits"), Step("[0-9][0-9][0-9]")],
        [theirs.Punctuation("contiguous"), split(PATTERNS["gpt2"]), theirs.Digits(False), split("[0-9][0-9][0-9]")],
    ),
    "deepseek": ([Step(step) for step in DEEPSEEK_STEPS], [split(step) for step in DEEPSEEK_STEPS]),
    "words": ([Step("whitespace_split"), Step("punctuation")], [theirs.WhitespaceSplit(), theirs.Punctuation()]),
    "bert": ([Step("bert"), Step("single_digits")], [theirs.BertPreTokenizer(), theirs.Digits(True)]),
    "removed": ([Step("-", "removed"), Step(r"\s", "removed")], [split("-", "removed"), split(r"\s", "removed")]),
    "merged": (
        [Step(" ", "merged_with_next"), Step("[a-e]", "merged_with_previous"), Step("-", "contiguous", True)],
        [split(" ", "merged_with_next"), split("[a-e]", "merged_with_previous"), split("-", "contiguous", True)],
    ),
    "look_behind": ([Step(" "), Step("(?<=a)b|'")], [split(" "), split("(?<=a)b|'")]),
    "none": ([], [split(r"[\s\S]+")]),
}


def ours(steps: list[Step], text: str, before: bytes = b"") -> list[str]:
    data = text.encode()
    buffer = padded(before + data)
    ends, kept = cut_in_steps(steps, buffer, len(before), len(buffer) - 64)
    assert [0, *ends.tolist()] == sorted({0, *ends.tolist(), len(data)})
    assert (ends.dtype, kept.dtype, len(ends)) == (np.int32, np.uint8, len(kept))
    spans = zip(itertools.pairwise([0, *ends.tolist()]), kept.tolist(), strict=True)
    return [data[a:b].decode() for (a, b), mark in spans if mark != GAP]


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("block", [2, 1 << 16])
def test_pieces_are_those_of_tokenizers(name, block, monkeypatch):
    monkeypatch.setattr(chain, "BLOCK_PIECES", block)
    steps, peers = PIPELINES[name]
    peer = theirs.Sequence(peers)
    chooser = random.Random(name)
    texts = ["", "a", " ", TEXT, *("".join(chooser.choices(TEXT, k=25)) for _ in range(100))]
    for text in texts:
        expected = [piece for piece, _ in peer.pre_tokenize_str(text) if piece]
        assert ours(steps, text) == expected
        assert ours(steps, text, b"a-1 ") == expected


def test_ends_are_refilled_in_the_middle_of_a_piece(monkeypatch):
    monkeypatch.setattr(chain, "BLOCK_PIECES", 3)
    assert ours([Step(" "), Step("characters")], "abcdefghij klmnopqrst") == list("abcdefghij klmnopqrst")


def test_an_unknown_behaviour():
    with pytest.raises(ConfigError, match="must be one of isolated"):
        cut_in_steps([Step("-", "dropped")], padded(b"a-b"), 0, 3)
