"""The splitter's names and spellings."""

import pickle

import pytest
import tiktoken_ext.openai_public as published

from textmill.ops.split import PATTERNS, splitter


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        (published.r50k_pat_str, "gpt2"),
        (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", "gpt2"),
        *((pattern, name) for name, pattern in PATTERNS.items()),
    ],
)
def test_spellings_of_the_named_patterns(spelling, name):
    assert splitter(spelling).name == name


def test_tiktokens_patterns_have_kernels(monkeypatch):
    monkeypatch.setattr(published, "load_tiktoken_bpe", lambda *_, **__: {})
    assert splitter(published.cl100k_base()["pat_str"]).name == "cl100k"
    assert splitter(published.o200k_base()["pat_str"]).name == "o200k"


@pytest.mark.parametrize("name", ["gpt2", r"\d+"])
def test_a_splitter_travels_between_processes(name):
    copy = pickle.loads(pickle.dumps(splitter(name)))
    assert (copy.name, copy.pattern) == (splitter(name).name, splitter(name).pattern)
