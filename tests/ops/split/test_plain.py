"""The rules that are no published pattern, and DeepSeek's three steps. Oracle: `tokenizers`."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from textmill.ops.memory import padded
from textmill.ops.split import GAP, PLAIN, pieces, splitter
from textmill.ops.split import classes as c
from textmill.ops.split.reference import DEEPSEEK_STEPS, PATTERNS, piece_ends

THEIRS = {
    "whitespace": pre_tokenizers.Whitespace(),
    "whitespace_split": pre_tokenizers.WhitespaceSplit(),
    "bert": pre_tokenizers.BertPreTokenizer(),
    "punctuation": pre_tokenizers.Punctuation("isolated"),
    "digits": pre_tokenizers.Digits(individual_digits=False),
    "single_digits": pre_tokenizers.Digits(individual_digits=True),
    "metaspace": pre_tokenizers.Metaspace(prepend_scheme="never"),
    "deepseek": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(step), "isolated") for step in DEEPSEEK_STEPS]),
}
TEXT = "don't  stop_at 3½٣२३ dogs, $5+€6\t«él»\r\n中文。あア・゛ンx\u0301\u3000Ⓐ①²👩🏽‍🚀\u200d▁▁a ▁b\0\x85\x1c"


def kept(name: str, text: str) -> list[str]:
    data = text.encode()
    cut = splitter(name)
    ends, marks = cut.cut(padded(data), 0, len(data))
    spans = zip(itertools.pairwise([0, *ends.tolist()]), marks.tolist(), strict=True)
    return [data[a:b].decode() for (a, b), mark in spans if not (cut.drops_gaps and mark == GAP)]


def theirs(name: str, text: str) -> list[str]:
    found = [piece for piece, _ in THEIRS[name].pre_tokenize_str(text)]
    # theirs writes the blank as U+2581
    return [piece.replace("▁", " ") for piece in found] if name == "metaspace" else found


def ours(name: str, text: str) -> list[str]:
    found = kept(name, text)
    return [piece.replace("▁", " ") for piece in found] if name == "metaspace" else found


@pytest.mark.parametrize("name", THEIRS)
def test_pieces_are_those_of_tokenizers(name):
    chooser = random.Random(name)
    for _ in range(200):
        text = "".join(chooser.choices(TEXT, k=30))
        assert ours(name, text) == theirs(name, text)
    assert ours(name, TEXT) == theirs(name, TEXT)


@pytest.mark.parametrize("name", THEIRS)
@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_on_any_text(name, text):
    # the Unicode tables of the two are of different versions in places; an unassigned code point may be assigned there
    text = "".join(char for char in text if c.CATEGORIES[c.category_table()[ord(char)]] != "Cn")
    assert ours(name, text) == theirs(name, text)


@pytest.mark.parametrize("name", ["whitespace", "whitespace_split", "bert", "punctuation", "single_digits"])
def test_on_every_kind_of_code_point(name):
    """Each code point at which a category begins or ends, between two letters."""
    edges = np.flatnonzero(np.diff(c.category_table()))
    codes = [code for code in np.union1d(edges, edges + 1).tolist() if not 0xD800 <= code < 0xE000]
    for block in range(0, len(codes), 500):
        text = "a" + "a".join(map(chr, codes[block : block + 500])) + "a"
        assert ours(name, text) == theirs(name, text)


def test_characters_and_whole():
    assert pieces("characters", b"a\xe4\xb8\xad\xff") == [b"a", "中".encode(), b"\xff"]
    assert pieces("whole", b"a b\n") == [b"a b\n"]
    assert pieces(r"[\s\S]+", b"a b\n") == [b"a b\n"]
    assert [pieces(name, b"") for name in PLAIN] == [[]] * len(PLAIN)
    assert {name for name in PLAIN if splitter(name).drops_gaps} == {"whitespace", "whitespace_split", "bert"}


@pytest.mark.parametrize("name", PLAIN)
@given(st.binary(max_size=30))
def test_any_bytes_tile(name, data):
    assert b"".join(pieces(name, data)) == data


deepseek_texts = st.text(
    alphabet="aZ é\u0301中龥龦あヿ・゛\u3099\u309b\u3040\u3098゠12½Ⅷ.,!$+\n\r\t\u3000\0\U000f0000", max_size=30
)


@given(deepseek_texts)
def test_deepseeks_pattern_is_its_three_steps(text):
    found = [text.encode()]
    for step in DEEPSEEK_STEPS:
        found = [
            piece[a:b]
            for piece in found
            for a, b in itertools.pairwise([0, *piece_ends(step, piece).tolist()])
            if piece
        ]
    assert pieces("deepseek", text.encode()) == found
    assert piece_ends(PATTERNS["deepseek"], text.encode()).tolist() == list(itertools.accumulate(map(len, found)))


KIMI = "|".join(
    [
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        *[r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"],
    ]
)


@given(st.text(alphabet="aAbB'sSlL中文々⺀〇あé\u0301ʰǅ12Ⅷ.,$\n\r \u3000", max_size=30))
def test_kimis_spelling_means_the_same_to_oniguruma(text):
    assert splitter(KIMI).name == "kimi"
    peer = pre_tokenizers.Split(Regex(KIMI), "isolated")
    assert [piece.decode() for piece in pieces("kimi", text.encode())] == [x for x, _ in peer.pre_tokenize_str(text)]


def test_qwens_pattern_is_the_one_of_transformers():
    source = pytest.importorskip("transformers.models.qwen2.tokenization_qwen2")
    assert splitter(source.PRETOKENIZE_REGEX).name == "qwen2"
