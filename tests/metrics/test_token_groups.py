import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from textmill.metrics.token_groups import GROUPS, character_groups, group_table, num_words, runs_by_group


def names(text: str) -> list[str]:
    return [GROUPS[group] for group in character_groups(text)]


def test_every_code_point_has_a_group() -> None:
    table = group_table()
    assert len(table) == 0x110000
    # one more than the groups: as the character before
    assert table.max() == len(GROUPS)
    assert not table.flags.writeable


def test_marks_and_joiners_belong_to_the_character_before() -> None:
    assert names("e\u0301") == ["Latin", "Latin"]
    assert names("が\u3099ー") == ["Kana"] * 3
    assert names("👩\u200d👩") == ["emoji"] * 3
    # at the beginning there is none
    assert names("\u0301") == ["other"]
    assert names("") == []


def test_scripts_agree_with_the_names_of_letters() -> None:
    for script, prefix in {"Latin": "LATIN ", "Greek": "GREEK ", "Cyrillic": "CYRILLIC ", "Thai": "THAI "}.items():
        found = [character for character in map(chr, range(0x3000)) if names(character) == [script]]
        assert len(found) > 50
        # a few signs of a script are named otherwise, none is a letter of another one
        named = [unicodedata.name(character, prefix).startswith(prefix) for character in found]
        assert np.mean(named) > 0.8


def words_by_hand(text: str) -> int:
    count, inside = 0, False
    for name in names(text):
        if name in ("Han", "Kana"):
            count, inside = count + 1, False
        elif name == "blanks":
            inside = False
        else:
            count, inside = count + (not inside), True
    return count


def runs_by_hand(text: str) -> list[int]:
    counts, before = dict.fromkeys(GROUPS, 0), ""
    for name in names(text):
        counts[name] += name != before or name in ("Han", "Kana")
        before = name
    return list(counts.values())


@given(st.text(alphabet="ab1 .\n中あ한я\u0301😀"))
def test_words_and_runs_are_what_counting_gives(text: str) -> None:
    groups = character_groups(text)
    assert num_words(groups) == words_by_hand(text)
    assert runs_by_group(groups).tolist() == runs_by_hand(text)


def test_without_chinese_words_are_those_of_split() -> None:
    text = "It's  a test,\nof (two) lines.\t"
    assert num_words(character_groups(text)) == len(text.split())
