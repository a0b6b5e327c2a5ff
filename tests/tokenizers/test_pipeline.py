import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import FormatError
from textmill.ops.split.reference import DEEPSEEK_STEPS
from textmill.tokenizers import steps
from textmill.tokenizers.added import AddedTokenFinder
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.pipeline import TEXT, AddedToken, Pipeline, byte_level

BYTES = {bytes([byte]): byte for byte in range(256)}


def pipeline(tokens: dict[bytes, int], *added: AddedToken) -> Pipeline:
    return byte_level(BpeModel(tokens=BYTES | tokens, merges=[]), "gpt2", added=added)


def by_definition(contents: list[str], text: str) -> list[str | tuple[str, int]]:
    """At each position the longest token, else one character of text."""
    found: list[str | tuple[str, int]] = []
    while text:
        fitting = [content for content in contents if text.startswith(content)]
        if fitting:
            longest = max(fitting, key=len)
            found.append((longest, contents.index(longest)))
            text = text[len(longest) :]
        else:
            previous = found.pop() if found and isinstance(found[-1], str) else ""
            found.append(previous + text[0])
            text = text[1:]
    return found


@given(st.lists(st.text("ab<é", min_size=1, max_size=3), max_size=4, unique=True), st.text("ab<é", max_size=12))
def test_the_finder_takes_the_leftmost_longest(contents, text):
    finder = AddedTokenFinder([AddedToken(content=content, id=id) for id, content in enumerate(contents)])
    data = text.encode()
    found = [(data[a:b].decode(), id) for a, b, id in finder.cut(data, 0, len(data))]
    assert [piece if id == TEXT else (piece, id) for piece, id in found] == by_definition(contents, text)


def test_the_finder_stays_inside_its_part():
    finder = AddedTokenFinder([AddedToken(content="aa", id=7)])
    assert finder.cut(b"aaaaa", 1, 4) == [(1, 3, 7), (3, 4, TEXT)]
    assert finder.cut(b"aaaaa", 2, 2) == []


def test_token_bytes_have_holes():
    table = pipeline({b"ab": 300}, AddedToken(content="<é>", id=258)).token_bytes
    assert (len(table), table[97], table[256], table[258], table[300]) == (301, b"a", None, "<é>".encode(), b"ab")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({b"ab": 5}, r"the tokens b'\\x05' and b'ab' have the same id 5"),
        ({b"ab": -1}, "ids must be from 0 to 16777215, the vocabulary has -1"),
        ({b"ab": 1 << 40}, "the vocabulary has 1099511627776"),
    ],
)
def test_damaged_ids(tokens, message):
    with pytest.raises(FormatError, match=message):
        _ = pipeline(tokens).token_bytes


@pytest.mark.parametrize(("content", "id"), [("ab", 258), ("Ġa", 258), ("<s>", 260)])
def test_an_added_token_that_is_named_like_another_one(content, id):
    """In a file the two would be one."""
    damaged = pipeline({b"ab": 256, b" a": 257}, AddedToken(content="<s>", id=259), AddedToken(content=content, id=id))
    with pytest.raises(FormatError, match=f"the added token '{content}' with id {id} stands there with another id"):
        _ = damaged.token_bytes


def test_end_of_text_by_its_customary_name():
    assert pipeline({}, AddedToken(content="</s>", id=256)).find_end_of_text().end_of_text == "</s>"
    assert pipeline({}, AddedToken(content="</s>", id=256, special=False)).find_end_of_text().end_of_text is None


def test_deepseeks_splits_are_one_pattern():
    ends = (steps.ByteLevel(use_regex=False),)
    splits = tuple(steps.Pattern(pattern=step) for step in DEEPSEEK_STEPS)
    model = BpeModel(tokens=BYTES, merges=[])
    assert Pipeline(model=model, splits=splits + ends).byte_level_split == "deepseek"
    assert Pipeline(model=model, splits=splits[::-1] + ends).byte_level_split is None
    merged = dataclasses.replace(splits[0], behavior="removed")
    assert Pipeline(model=model, splits=(merged, *splits[1:], *ends)).byte_level_split is None
