"""Units and seeds against their definition."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import DataError
from textmill.ops.bpe.count import PieceCounts
from textmill.ops.memory import PADDING
from textmill.ops.split.classes import CATEGORIES, category_table
from textmill.ops.unigram import reference_train as reference
from textmill.ops.unigram import script_data
from textmill.ops.unigram.piece_rules import SCRIPTS, PieceRules, script_table
from textmill.ops.unigram.train_units import Seeds, Units, find_seeds, lay_out

ALPHABET = "▁ab1я漢カー\u0301,-0😀"
ALL_RULES = st.builds(
    PieceRules,
    split_by_unicode_script=st.booleans(),
    split_by_number=st.booleans(),
    split_by_whitespace=st.booleans(),
    split_digits=st.booleans(),
)
WORDS = st.dictionaries(st.text(ALPHABET, min_size=1, max_size=14), st.integers(0, 9), max_size=12)
FEW_LETTERS = st.dictionaries(st.text("▁ab", min_size=1, max_size=24), st.integers(0, 5), max_size=8)


def code_points(characters: str) -> np.ndarray:
    return np.array([ord(character) for character in characters], np.int64)


def counted(words: dict[str, int]) -> PieceCounts:
    return PieceCounts.from_mapping({word.encode("utf-8", "surrogatepass"): count for word, count in words.items()})


def unit_texts(units: Units) -> list[str]:
    starts = [0, *(units.ends[:-1] + 1)]
    return [
        "".join(chr(symbol - 1) for symbol in units.symbols[start:end])
        for start, end in zip(starts, units.ends, strict=bool(len(units.ends)))
    ]


def seed_texts(units: Units, seeds: Seeds, characters: str) -> list[str]:
    found = list(characters)
    for place, size in zip(seeds.places[len(characters) :], seeds.sizes[len(characters) :], strict=True):
        found.append("".join(chr(symbol - 1) for symbol in units.symbols[place : place + int(size)]))
    return found


def expected_units(words: dict[str, int], characters: str, rules: PieceRules) -> dict[str, int]:
    units: Counter[str] = Counter()
    for word, count in words.items():
        for unit in reference.cut(word, characters, rules):
            units[unit] += count
    return {unit: count for unit, count in units.items() if count > 0}


@settings(deadline=None, max_examples=300)
@given(WORDS, st.sets(st.sampled_from(ALPHABET)), ALL_RULES)
def test_units_equal_the_definition(words: dict[str, int], known: set[str], rules: PieceRules) -> None:
    characters = "".join(sorted(known))
    units = lay_out(counted(words), code_points(characters), rules, 5)
    found = dict(zip(unit_texts(units), units.weights.tolist(), strict=True))
    assert found == expected_units(words, characters, rules)
    assert len(found) == len(units.weights)
    assert units.symbols[units.ends].tolist() == [0] * len(found)
    assert units.remaining.tolist() == [min(left, 5) for unit in found for left in range(len(unit), -1, -1)]
    assert units.unit_of.tolist() == [number for number, unit in enumerate(found) for _ in range(len(unit) + 1)]


@settings(deadline=None, max_examples=300)
@given(st.text(ALPHABET.replace("\u0301", ""), min_size=1, max_size=10), ALL_RULES)
def test_units_hold_what_sentencepiece_allows(word: str, rules: PieceRules) -> None:
    """Without combining marks: of those SentencePiece forgets the script when a piece begins with one."""
    allowed = {
        (start, end)
        for start in range(len(word))
        for end in range(start + 1, len(word) + 1)
        if reference.may_be_piece(word[start:end], rules)
    }
    inside, start = set(), 0
    for unit in reference.cut(word, ALPHABET, rules):
        ends = range(start + 1, start + len(unit) + 1)
        inside |= {(i, j) for j in ends for i in range(start, j) if j == i + 1 or word[j - 1] != "▁"}
        start += len(unit)
    assert inside == allowed


@settings(deadline=None, max_examples=200)
@given(st.one_of(WORDS, FEW_LETTERS), ALL_RULES, st.integers(1, 7), st.sampled_from([1, 3, 1000]), st.integers(1, 9))
def test_seeds_equal_the_definition(
    words: dict[str, int], rules: PieceRules, longest: int, seed_size: int, enough: int
) -> None:
    units = lay_out(counted(words), code_points(ALPHABET), rules, longest)
    seeds = find_seeds(units, code_points(ALPHABET), seed_size, longest, enough)
    expected = reference.seeds(expected_units(words, ALPHABET, rules), ALPHABET, seed_size, longest, enough)
    texts = seed_texts(units, seeds, ALPHABET)
    assert texts == list(expected)
    np.testing.assert_allclose(seeds.scores, list(expected.values()), rtol=1e-12)
    # the edges of a position are the pieces that begin there
    for unit, end in zip(unit_texts(units), units.ends.tolist(), strict=True):
        for place in range(len(unit)):
            position = end - len(unit) + place
            edges = slice(seeds.offsets[position], seeds.offsets[position + 1])
            beginning = [text for text in texts if unit.startswith(text, place)]
            assert [texts[piece] for piece in seeds.edge_pieces[edges]] == sorted(beginning, key=len)
            assert seeds.edge_lengths[edges].tolist() == sorted(map(len, beginning))
        assert seeds.offsets[end] == seeds.offsets[end + 1]


@pytest.mark.parametrize("unit", ["a" * 3000, "ab" * 2000, "aab" * 1000, "".join(map(chr, range(0x4E00, 0x5E00)))])
def test_long_units(unit: str) -> None:
    characters = "".join(sorted(set(unit)))
    units = lay_out(counted({unit: 2, unit[1:]: 1}), code_points(characters), PieceRules(), 16)
    seeds = find_seeds(units, code_points(characters), 10**6, 16, 10**6)
    for text in seed_texts(units, seeds, characters)[len(characters) :]:
        assert len(text) <= 16
        assert text in unit
    assert len(seeds.edge_pieces) == seeds.offsets[-1]


def test_sorting_many_suffixes_of_few_letters() -> None:
    """Enough equal keys for the quicksort; the definition would take minutes, so the counts are made by slicing."""
    generator = np.random.default_rng(1)
    words = {"".join(generator.choice(list("ab"), size=30)): int(generator.integers(1, 50)) for _ in range(400)}
    units = lay_out(counted(words), code_points("ab"), PieceRules(), 9)
    seeds = find_seeds(units, code_points("ab"), 10**6, 9, 10**6)
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 2, min(start + 9, len(word)) + 1):
                counts[word[start:end]] += count
    values = [counts[text] * len(text) for text in seed_texts(units, seeds, "ab")[2:]]
    assert values == sorted(values, reverse=True)
    np.testing.assert_allclose(np.exp(seeds.scores[2:] - seeds.scores[2]) * values[0], values)
    assert {text for text in counts if len(text) == 9} <= set(seed_texts(units, seeds, "ab"))


@settings(deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=9), st.integers(1, 3), max_size=9))
def test_any_bytes(words: dict[bytes, int]) -> None:
    """Bytes that are not UTF-8 are unknown characters, and nothing is read beyond a word's end."""
    characters = "aé漢😀"
    expected: Counter[str] = Counter()
    for word, count in words.items():
        for unit in reference.cut(word.decode("utf-8", "replace"), characters, PieceRules()):
            expected[unit] += count
    counts = PieceCounts.from_mapping(words)
    counts.arena[int(counts.offsets[-1]) :] = 0x80
    units = lay_out(counts, code_points(characters), PieceRules(), 16)
    assert dict(zip(unit_texts(units), units.weights.tolist(), strict=True)) == dict(expected)


def test_a_character_cut_short_takes_nothing_from_the_next_word() -> None:
    counts = PieceCounts.from_mapping({b"a\xe6\xbc": 1, b"\xa2a": 2})
    units = lay_out(counts, code_points("a漢"), PieceRules(), 16)
    assert dict(zip(unit_texts(units), units.weights.tolist(), strict=True)) == {"a": 3}


def test_counts_beyond_32_bits() -> None:
    units = lay_out(counted({"▁ab,": 1 << 40, "▁ab": 1 << 41}), code_points("▁ab,"), PieceRules(), 16)
    assert dict(zip(unit_texts(units), units.weights.tolist(), strict=True)) == {"▁ab": 3 << 40, ",": 1 << 40}


def test_bad_counts() -> None:
    good = counted({"ab": 1})
    for bad in (
        PieceCounts(arena=good.arena[:-1], offsets=good.offsets, counts=good.counts),
        PieceCounts(arena=good.arena, offsets=good.offsets.astype(np.int32), counts=good.counts),
        PieceCounts(arena=good.arena, offsets=np.array([2, 0]), counts=good.counts),
        PieceCounts(arena=good.arena, offsets=good.offsets, counts=-good.counts),
        PieceCounts(arena=good.arena, offsets=np.array([-5, 2]), counts=good.counts),
    ):
        with pytest.raises(DataError, match="counted words are a padded arena"):
            lay_out(bad, code_points("ab"), PieceRules(), 16)
    with pytest.raises(DataError, match=r"at most 2\*\*53 bytes"):
        lay_out(counted({"ab": 1 << 53}), code_points("ab"), PieceRules(), 16)
    assert len(good.arena) == 2 + PADDING


def test_scripts_are_those_of_the_regex_module() -> None:
    """For one character out of ten that Unicode 16.0 assigns; a later version may have moved a few."""
    unassigned = np.isin(category_table(), [CATEGORIES.index("Cn"), CATEGORIES.index("Cs")])
    sample = np.flatnonzero(~unassigned)[::10]
    wrong = sum(
        regex.match(rf"\p{{Script={SCRIPTS[script_table()[code]]}}}", chr(code)) is None for code in sample.tolist()
    )
    assert wrong < len(sample) / 1000
    assert (script_table()[unassigned] == SCRIPTS.index("Unknown")).all()


def test_the_script_data_are_as_they_were_written() -> None:
    packed = "".join(script_data.SCRIPT_RUNS.split())
    assert hashlib.sha256(packed.encode()).hexdigest() == script_data.CHECKSUM
