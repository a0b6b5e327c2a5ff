"""Unigram training against its definition, and against sentencepiece."""

import io
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError, DataError
from textmill.ops.bpe.count import PieceCounts
from textmill.ops.unigram import cpu_train_em as em
from textmill.ops.unigram import reference_train as reference
from textmill.ops.unigram import train as train_module
from textmill.ops.unigram.piece_rules import PieceRules
from textmill.ops.unigram.train import train_unigram
from textmill.ops.unigram.train_units import find_seeds, lay_out

WORDS = st.dictionaries(st.text("ab▁c", min_size=1, max_size=9), st.integers(1, 400), min_size=1, max_size=8)
LETTERS = "▁abc"


def counted(words: dict[str, int]) -> PieceCounts:
    return PieceCounts.from_mapping({word.encode(): count for word, count in words.items()})


def trainer(words: dict[str, int], characters: str = LETTERS, threads: int = 1) -> train_module._Trainer:
    codes = np.array([ord(character) for character in characters], np.int64)
    units = lay_out(counted(words), codes, PieceRules(), 16)
    return train_module._Trainer(units, find_seeds(units, codes, 10**6, 16, 10**6), codes, threads)


def units_of(words: dict[str, int], characters: str = LETTERS) -> dict[str, int]:
    units: Counter[str] = Counter()
    for word, count in words.items():
        for unit in reference.cut(word, characters, PieceRules()):
            units[unit] += count
    return dict(units)


def syllable_words(seed: int, num_words: int, letters: str = "abcdefgh") -> dict[str, int]:
    """Words made of a few syllables, with counts that are seldom equal."""
    generator = np.random.default_rng(seed)
    syllables = ["".join(generator.choice(list(letters), size=generator.integers(1, 4))) for _ in range(40)]
    words: Counter[str] = Counter()
    for rank in range(num_words):
        parts = generator.geometric(0.08, size=generator.integers(1, 5)) % 40
        words["▁" + "".join(syllables[int(part)] for part in parts)] += int(
            generator.integers(1, 9 + 9000 // (rank + 1))
        )
    return dict(words)


def scores_of(words_trainer: train_module._Trainer) -> dict[str, float]:
    scores = words_trainer._scores
    texts = words_trainer._strings(np.arange(len(scores)))
    return dict(zip(texts, scores.tolist(), strict=True))


@settings(deadline=None, max_examples=150)
@given(WORDS, st.integers(1, 3))
def test_expectation_and_maximisation_equal_the_definition(words: dict[str, int], threads: int) -> None:
    mine, units = trainer(words, threads=threads), units_of(words)
    for _ in range(2):
        expected = reference.expect(units, scores_of(mine))
        # where the threshold is all but met, rounding decides
        if any(abs(count - 0.5) < 1e-6 for count in expected.values()):
            return
        mine.improve()
        assert scores_of(mine) == pytest.approx(reference.maximise(expected, LETTERS), rel=1e-6)


@settings(deadline=None, max_examples=150)
@given(WORDS, st.integers(1, 3))
def test_losses_equal_the_definition(words: dict[str, int], threads: int) -> None:
    mine = trainer(words, threads=threads)
    mine.improve()
    generator = np.random.default_rng(len(words))
    # scores that no two segmentations share, so that both choose the same
    mine._scores += generator.uniform(-0.5, 0.5, len(mine._scores))
    scores = scores_of(mine)
    expected = reference.losses(units_of(words), scores)
    texts = mine._strings(np.arange(len(mine._scores)))
    found = dict(zip(texts, mine.losses().tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(WORDS)
def test_logarithms_give_what_products_give(words: dict[str, int]) -> None:
    """Both ways through a lattice, by closing the range in which products are trusted."""
    mine = trainer(words)
    scores, units = mine._scores, mine._units
    probability = np.exp(scores)
    rows = []
    for cost in (0.0, 400.0):
        # 400 nats more a character leave the range at once
        cells = np.zeros((len(scores), 2), np.int64)
        with np.errstate(over="ignore"):
            cells[:, 0] = (probability * np.exp(cost * mine._sizes)).view(np.int64)
        lattices = (units.ends, units.weights, *mine._edges)
        em.expect(0, len(units.ends), *lattices, cells.reshape(-1), cells.reshape(-1).view(float), scores, 2.0**30)
        rows.append(cells[:, 1] / 2.0**30)
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-7, atol=1e-6)


def test_long_units_are_no_matter() -> None:
    """Products over a thousand characters leave what a float64 holds."""
    text = "".join(np.random.default_rng(3).choice(list("abc"), size=5000, p=[0.8, 0.15, 0.05]))
    mine = trainer({"▁" + text: 3, "ab": 5})
    for _ in range(2):
        # every character is covered by exactly one piece
        assert (mine.expect() * mine._sizes).sum() == pytest.approx(3 * 5001 + 5 * 2, rel=1e-6)
        mine.improve()


@pytest.mark.parametrize("seed", range(6))
def test_pieces_equal_the_definition(seed: int) -> None:
    words = syllable_words(seed, 60)
    characters = "▁abcdefgh"
    options = {"seed_size": 150 + seed, "shrinking_factor": 0.6 + 0.05 * seed, "num_sub_iterations": 1 + seed % 3}
    size = 26 + 3 * seed
    expected = reference.train(words, size, characters, PieceRules(), max_length=7, **options)
    found = train_unigram(counted(words), size, required_characters=characters, max_piece_length=7, **options)
    assert dict(found) == pytest.approx(expected, rel=1e-7)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_any_number_of_threads_gives_the_same() -> None:
    words = counted(syllable_words(11, 3000, "abcdefghijklmnop"))
    expected = train_unigram(words, 500, required_characters="▁abcdefghijklmnop")
    assert len(expected) == len({piece for piece, _ in expected}) == 500
    for threads in (2, 3, 16):
        assert train_unigram(words, 500, required_characters="▁abcdefghijklmnop", threads=threads) == expected


def test_more_threads_than_units() -> None:
    assert train_unigram(counted({"ab": 3}), 3, required_characters="ab", threads=9)[0][0] == "ab"


def test_order_of_words_does_not_matter() -> None:
    words = syllable_words(12, 500)
    found = train_unigram(counted(words), 200, required_characters="▁abcdefgh")
    assert found == train_unigram(counted(dict(sorted(words.items()))), 200, required_characters="▁abcdefgh")


def test_counts_beyond_32_bits_change_nothing_but_the_threshold() -> None:
    words = syllable_words(13, 300)
    large = {word: count << 34 for word, count in words.items()}
    few = [piece for piece, _ in train_unigram(counted(words), 60, required_characters="▁abcdefgh")]
    many = [piece for piece, _ in train_unigram(counted(large), 60, required_characters="▁abcdefgh")]
    assert len(set(few) & set(many)) > 50


def test_required_characters_get_a_piece_each() -> None:
    found = dict(train_unigram(counted({"▁aab": 7, "▁aax": 5}), 6, required_characters=["▁", "a", "b", "漢", "b"]))
    assert {"▁", "a", "b", "漢"} < set(found)
    assert all("x" not in piece for piece in found)
    assert found["漢"] == min(found.values())


def test_pieces_keep_the_rules() -> None:
    words = {
        f"▁{a}{b}{c}": 5 + i for i, (a, b, c) in enumerate((x, y, z) for x in "ab1" for y in "c2-" for z in "de漢")
    }
    characters = "▁abcde12-漢"
    for rules in (PieceRules(), PieceRules(split_by_number=False), PieceRules(split_digits=True)):
        found = train_unigram(counted(words), 14, required_characters=characters, piece_rules=rules)
        assert all(reference.may_be_piece(piece, rules) for piece, _ in found)
    free = PieceRules(split_by_unicode_script=False)
    found = train_unigram(counted(words), 30, required_characters=characters, piece_rules=free)
    assert not all(reference.may_be_piece(piece, PieceRules()) for piece, _ in found)


def test_blanks_inside_pieces() -> None:
    words = {"▁of▁the▁end": 40, "▁of▁the▁sea": 30, "▁at▁the▁end": 20}
    rules = PieceRules(split_by_whitespace=False)
    pieces = [
        piece for piece, _ in train_unigram(counted(words), 13, required_characters="▁ofthendsa", piece_rules=rules)
    ]
    assert any("▁" in piece[1:] for piece in pieces)
    assert all(piece == "▁" or not piece.endswith("▁") for piece in pieces)


def test_progress_reports_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    train_unigram(
        counted(syllable_words(14, 300)),
        60,
        required_characters="▁abcdefgh",
        progress=lambda done, wanted: seen.append((done, wanted)),
    )
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


def test_nothing_but_characters() -> None:
    assert {piece for piece, _ in train_unigram(counted({}), 2, required_characters="ab")} == {"a", "b"}
    assert {piece for piece, _ in train_unigram(counted({"xyz": 4}), 2, required_characters="ab")} == {"a", "b"}


def test_bad_settings() -> None:
    words = counted({"▁ab": 3})
    with pytest.raises(ConfigError, match="room for its 3 characters, got vocab_size 2"):
        train_unigram(words, 2, required_characters="▁ab")
    with pytest.raises(DataError, match="give at most 5 pieces, got vocab_size 9"):
        train_unigram(words, 9, required_characters="▁ab")
    with pytest.raises(ConfigError, match="needs characters, got none"):
        train_unigram(words, 9, required_characters="")
    with pytest.raises(ConfigError, match="single character, got 'ab'"):
        train_unigram(words, 9, required_characters=["ab"])
    with pytest.raises(ConfigError, match=r"single character, got '\\ud800'"):
        train_unigram(words, 9, required_characters=["\ud800"])
    for name, value in (
        ("vocab_size", 0),
        ("seed_size", 0),
        ("max_piece_length", 0),
        ("max_piece_length", 256),
        ("num_sub_iterations", 0),
        ("threads", 0),
        ("shrinking_factor", 1.0),
    ):
        settings = {"vocab_size": 5, name: value}
        with pytest.raises(ConfigError, match=name):
            train_unigram(words, settings.pop("vocab_size"), required_characters="ab", **settings)


def test_digamma() -> None:
    values = np.array([0.5, 1.0, 1.5, 6.9, 7.0, 100.0, 1e9])
    found = np.empty(len(values))
    em.digamma(values, found)
    np.testing.assert_allclose(found, [reference.digamma(value) for value in values], rtol=1e-9)


def num_tokens(pieces: dict[str, float], words: dict[str, int]) -> int:
    """Tokens of the best segmentations."""
    longest, worst, total = max(map(len, pieces)), min(pieces.values()) - 10, 0
    for word, count in words.items():
        best = [(0.0, 0)] + [(-math.inf, 0)] * len(word)
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + longest) + 1):
                score = pieces.get(word[start:end], worst if end == start + 1 else -math.inf)
                best[end] = max(best[end], (best[start][0] + score, best[start][1] + 1))
        total += count * best[-1][1]
    return total


def sentencepiece_pieces(lines: list[str], vocab_size: int, **options: object) -> dict[str, float]:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=vocab_size,
        normalization_rule_name="identity",
        character_coverage=1.0,
        max_sentence_length=1 << 20,
        minloglevel=2,
        **options,
    )
    peer = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    # the first three are <unk>, <s> and </s>
    return {peer.id_to_piece(piece): peer.get_score(piece) for piece in range(3, peer.get_piece_size())}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"split_by_unicode_script": False},
        {"split_by_number": False},
        {"split_by_whitespace": False},
        {"split_digits": True},
        {"split_by_whitespace": False, "split_by_unicode_script": False},
    ],
)
def test_rules_are_those_of_sentencepiece(options: dict[str, bool]) -> None:
    """What its pieces join, ours may join, and the other way round."""
    generator = np.random.default_rng(5)
    words = ["go2", "x-1", "12", "日本go", "カー漢", "привет2", "e\u0301tat", "a.b", "10%", "2go", "日1本"]
    lines = [" ".join(generator.choice(words, size=5)) for _ in range(400)]
    rules = PieceRules(**options)
    characters = sorted({character for line in lines for character in "▁" + line.replace(" ", "▁")})
    theirs = sentencepiece_pieces(lines, len(characters) + 20, hard_vocab_limit=False, **options)
    whole = not rules.split_by_whitespace
    seen = Counter("▁" + text.replace(" ", "▁") for line in lines for text in ([line] if whole else line.split(" ")))
    mine = train_unigram(counted(seen), len(characters) + 4, required_characters=characters, piece_rules=rules)
    for pieces in (theirs, dict(mine)):
        for piece in pieces:
            assert reference.may_be_piece(piece, rules), piece
            assert reference.cut(piece, "".join(characters), rules) == [piece]


def test_no_more_tokens_than_sentencepiece_on_unseen_words() -> None:
    from textmill.corpus import read_documents

    documents = b"\n".join(read_documents(["builtin"])).decode().split("\n")
    lines = [" ".join(line.split()) for line in documents if line.strip()]
    seen, unseen = (Counter("▁" + word for line in part for word in line.split()) for part in (lines[::4], lines[1::4]))
    theirs = sentencepiece_pieces(lines[::4], 6000)
    characters = sorted({character for word in seen for character in word})
    assert {piece for piece in theirs if len(piece) == 1} >= set(characters)
    mine = dict(train_unigram(counted(seen), len(theirs), required_characters=characters))
    assert len(set(mine) & set(theirs)) > 0.7 * len(mine)
    assert num_tokens(mine, unseen) <= num_tokens(theirs, unseen)
