"""Oracle: the pre-tokenisers of `tokenizers`, pieces and offsets, alone and one after the other."""

import itertools
import random
import unicodedata

import numpy as np
import pytest
from tests.tokenizers import peers
from tokenizers import Regex, pre_tokenizers

from textmill.errors import NotSupportedError
from textmill.tokenizers import steps
from textmill.tokenizers.splitting import split

BEHAVIORS = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")
CASES = [
    (steps.BertSplit(), pre_tokenizers.BertPreTokenizer()),
    (steps.Whitespace(), pre_tokenizers.Whitespace()),
    (steps.WhitespaceSplit(), pre_tokenizers.WhitespaceSplit()),
    (steps.Digits(), pre_tokenizers.Digits()),
    (steps.Digits(individual=True), pre_tokenizers.Digits(individual_digits=True)),
    (steps.Delimiter(character="-"), pre_tokenizers.CharDelimiterSplit("-")),
    (steps.UnicodeScripts(), pre_tokenizers.UnicodeScripts()),
    (steps.FixedLength(length=3), pre_tokenizers.FixedLength(length=3)),
    (steps.Metaspace(replacement="_"), pre_tokenizers.Metaspace("_")),
]
CASES += [(steps.Punctuation(behavior=name), pre_tokenizers.Punctuation(name)) for name in BEHAVIORS]
CASES += [
    (
        steps.Pattern(pattern=pattern, behavior=name, invert=invert, is_regex=is_regex),
        pre_tokenizers.Split(Regex(pattern) if is_regex else pattern, name, invert),
    )
    for name in BEHAVIORS
    for invert in (False, True)
    for pattern, is_regex in ((" ", False), ("", False), (r"\s+", True), ("a*", True), (r" ?\p{L}+|\s+(?!\S)", True))
]
CASES += [
    (steps.ByteLevel(add_prefix_space=prefix, use_regex=regex), pre_tokenizers.ByteLevel(prefix, use_regex=regex))
    for prefix in (True, False)
    for regex in (True, False)
]
CASES += [
    (steps.Metaspace(prepend=name, split=cut), pre_tokenizers.Metaspace(prepend_scheme=name, split=cut))
    for name in ("always", "first", "never")
    for cut in (True, False)
]
PARTS = [
    "a", "B", "abc", "1", "12", "①", "é", "\u0301", "中", "文", "▁", "\u3000", "\x09", "\x0a", "\x85", "が",
    "ー", "カ", "가", "😀", "-", "--", "!", "。", "\u200d", "_", "½", "Ж", "ا", "٠", "don't", "'s", "\x1c",
    "\u180e", " ", "  ", " x",
]  # fmt: skip


def check(ours, theirs, text):
    expected, offsets = peers.pieces(theirs, text)
    found = split(text, ours, byte_characters=True)
    assert list(found) == expected, ascii(text)
    if found.starts_in_source is None:
        assert found.text == text
        starts, ends = np.arange(len(text)), np.arange(len(text)) + 1
    else:
        starts, ends = found.starts_in_source, found.ends_in_source
    cuts = [0, *found.ends.tolist()]
    spans = [(starts[a], ends[b - 1]) for a, b in itertools.pairwise(cuts)]
    assert spans == offsets, ascii(text)


def texts(seed, count):
    generator = random.Random(seed)
    return ["".join(generator.choices(PARTS, k=generator.randrange(8))) for _ in range(count)]


@pytest.mark.parametrize(("ours", "theirs"), CASES)
def test_tokenizers_agrees(ours, theirs):
    for text in texts(0, 60):
        check([ours], theirs, text)


def test_sequences():
    generator = random.Random(1)
    for _ in range(250):
        chosen = generator.choices(CASES, k=generator.choice([2, 3]))
        together = pre_tokenizers.Sequence([theirs for _, theirs in chosen])
        for text in texts(generator.random(), 5):
            check([ours for ours, _ in chosen], together, text)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (steps.WhitespaceSplit(), pre_tokenizers.WhitespaceSplit()),
        (steps.Punctuation(), pre_tokenizers.Punctuation()),
        (steps.Digits(individual=True), pre_tokenizers.Digits(individual_digits=True)),
        (steps.Whitespace(), pre_tokenizers.Whitespace()),
        (steps.UnicodeScripts(), pre_tokenizers.UnicodeScripts()),
    ],
)
def test_every_code_point(ours, theirs):
    # unassigned and private ones only in samples
    codes = [code for code in range(0x110000) if code % 61 == 0 or unicodedata.category(chr(code)) not in ("Cn", "Co")]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    for at in range(0, len(characters), 50_000):
        text = "a".join(characters[at : at + 50_000])
        assert list(split(text, [ours])) == [piece for piece, _ in theirs.pre_tokenize_str(text)]


def test_a_byte_level_model_gets_the_text_as_it_is():
    assert list(split("é b", [steps.ByteLevel(add_prefix_space=True)])) == [" é", " b"]


def test_first():
    step = steps.Metaspace(prepend="first")
    assert list(split("a b", [step], first=False)) == ["a", "▁b"]
    # the source begins with something that was taken away
    places = np.array([2, 3, 4], dtype=np.int32)
    found = split("a b", [step], source=(places, places + 1))
    assert list(found) == ["a", "▁b"]
    assert found.starts_in_source.tolist() == [2, 3, 4]


def test_names_of_patterns():
    step = steps.Pattern(pattern="llama3")
    assert list(split("I'll  go\n", [step])) == ["I", "'ll", " ", " go", "\n"]


def test_a_pattern_that_libraries_read_differently():
    with pytest.raises(NotSupportedError, match="which regex libraries read differently"):
        split("a", [steps.Pattern(pattern=r"\bx")])
