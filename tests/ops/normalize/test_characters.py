"""Characters replaced one by one. Oracle: the definition itself, on the whole text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import DataError
from textmill.ops.normalize import characters
from textmill.ops.normalize.characters import CharacterMap

STRINGS = {"b": "", "é": "E", "中": "x" * 200, "😀": "y" * 300, "c": "é", "\udcff": "?", "ß": "ss"}


def action(character):
    # what stands before a ¨ counts
    return None if character in "¨\r" else STRINGS.get(character, character)


def definition(text):
    text = text.replace("\r\n", "\n")
    parts = text.split("¨")
    # a ¨ doubles the character before it
    return "".join(
        "".join(STRINGS.get(c, c) for c in part + (part[-1:] if i + 1 < len(parts) else ""))
        for i, part in enumerate(parts)
    )


texts = st.text("abcé中😀ß¨\r\n ", max_size=30).map(str.encode) | st.binary(max_size=20)


@given(st.lists(texts, min_size=1, max_size=4))
def test_it_is_the_definition(parts):
    mapped = CharacterMap(action, definition)
    for data in (*parts, b"".join(parts), b"z" * 70_000 + b"".join(parts)):
        expected = definition(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        assert mapped(data) == mapped(memoryview(data)) == expected


def test_many_strings_and_much_room():
    mapped = CharacterMap(lambda character: character * 40, lambda text: "".join(c * 40 for c in text))
    text = "".join(map(chr, range(32, 6000))) * 2
    assert mapped(text.encode()).decode() == "".join(c * 40 for c in text)


def test_a_text_that_is_hard_all_over_goes_at_once():
    calls = []

    def counted(text):
        calls.append(text)
        return text

    mapped = CharacterMap(lambda character: None if character == "é" else character, counted)
    data = ("é" * 30 + " ").encode() * 1000
    assert mapped(data) == data
    assert len(calls) < 200


def test_too_long_a_text(monkeypatch):
    monkeypatch.setattr(characters, "_MOST_BYTES", 100_000)
    with pytest.raises(DataError, match="at most 100000 bytes"):
        CharacterMap(lambda character: character * 50, str)(b"abc" * 20_000)
