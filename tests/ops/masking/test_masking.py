"""The kernels against the definition, the statistics against the papers, and input that nobody meant well."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import ConfigError, DataError
from textmill.ops.masking import (
    BEGINS,
    CONTINUES,
    SPECIAL,
    MaskingRules,
    WordMatcher,
    geometric_lengths,
    harmonic_lengths,
    mask_tokens,
    reference,
    row_keys,
)
from textmill.ops.permutation import mixed

VOCABULARY = 1000
MASK, CLS, SEP = 1, 2, 3
KINDS = np.full(VOCABULARY, BEGINS, np.uint8)
KINDS[700:] = CONTINUES
KINDS[[0, MASK, CLS, SEP]] = SPECIAL
BERT = MaskingRules(KINDS, MASK)
WHOLE = BERT._replace(whole_words=True)
ALL_RULES = {
    "token": BERT,
    "whole words": WHOLE,
    "n-grams": WHOLE._replace(run_lengths=harmonic_lengths(3)),
    "n-grams of tokens": BERT._replace(run_lengths=harmonic_lengths(2)),
    "spans": WHOLE._replace(run_lengths=geometric_lengths(10), one_fate=True),
    "replaced": BERT._replace(everywhere=True),
}
RULES = st.builds(
    MaskingRules,
    kinds=st.lists(st.sampled_from([BEGINS, CONTINUES, SPECIAL]), min_size=7, max_size=7).map(
        lambda kinds: np.array([SPECIAL, *kinds, BEGINS], np.uint8)
    ),
    mask_id=st.just(0),
    fraction=st.sampled_from([0.0, 0.15, 0.5, 1.0]),
    max_predictions=st.sampled_from([0, 1, 5, 1 << 62]),
    mask_share=st.sampled_from([0.0, 0.5, 0.8]),
    random_share=st.sampled_from([0.0, 0.1, 0.2]),
    whole_words=st.booleans(),
    run_lengths=st.sampled_from([np.ones(1), harmonic_lengths(3), geometric_lengths(10)]),
    one_fate=st.booleans(),
    everywhere=st.booleans(),
)
KEYS = st.integers(0, (1 << 64) - 1)


def rows_of(num_rows: int, longest: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of random ids between [CLS] and [SEP]."""
    draws = np.random.default_rng(seed)
    lengths = draws.integers(3, longest + 1, num_rows)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = draws.integers(4, VOCABULARY, starts[-1])
    tokens[starts[:-1]], tokens[starts[1:] - 1] = CLS, SEP
    return tokens, starts


@given(st.lists(st.lists(st.integers(0, 8), max_size=90), max_size=4), RULES, st.data())
def test_equals_the_definition(rows, rules, data):
    keys = data.draw(st.lists(KEYS, min_size=len(rows), max_size=len(rows)))
    tokens = np.array([token for row in rows for token in row], np.int64)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    inside = None
    if data.draw(st.booleans()):
        inside = np.array(data.draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens))), np.bool_)
    kept = tokens.copy()
    found = mask_tokens(tokens, starts, np.array(keys, np.uint64), rules, inside)
    seen, places = [], []
    for number, (row, key) in enumerate(zip(rows, keys, strict=True)):
        begin, end = starts[number], starts[number + 1]
        own = None if inside is None else inside[begin:end].tolist()
        one, chosen = reference.mask_row(row, key, rules, own)
        seen += one
        places += [int(begin) + place for place in chosen]
    assert found.tokens.tolist() == seen
    assert found.places.tolist() == places
    assert found.targets.tolist() == kept[places].tolist()
    assert np.array_equal(tokens, kept)
    assert found.tokens.dtype == found.places.dtype == found.targets.dtype == np.int64


@pytest.mark.parametrize("rules", ALL_RULES.values(), ids=ALL_RULES.keys())
def test_equals_the_definition_on_long_rows(rules):
    tokens, starts = rows_of(20, 600)
    keys = row_keys(1, 0, np.arange(20))
    found = mask_tokens(tokens, starts, keys, rules)
    for row in range(20):
        here = slice(starts[row], starts[row + 1])
        seen, places = reference.mask_row(tokens[here].tolist(), int(keys[row]), rules)
        assert found.tokens[here].tolist() == seen
        own = found.places[(found.places >= here.start) & (found.places < here.stop)]
        assert (own - here.start).tolist() == places


@pytest.mark.parametrize("name", ["token", "whole words", "n-grams", "spans"])
def test_share_chosen_and_what_stands_there(name):
    tokens, starts = rows_of(4000, 256)
    seen, places, targets = mask_tokens(tokens, starts, row_keys(0, 0, np.arange(4000)), ALL_RULES[name])
    wanted = np.maximum(1, np.rint(np.diff(starts) * 0.15))
    chosen = np.histogram(places, starts)[0]
    assert (chosen <= wanted).all()
    assert chosen.sum() / wanted.sum() > (0.999 if name == "token" else 0.99)
    assert np.array_equal(targets, tokens[places])
    assert (KINDS[targets] != SPECIAL).all()
    untouched = np.ones(len(tokens), np.bool_)
    untouched[places] = False
    assert np.array_equal(seen[untouched], tokens[untouched])
    masked, kept = seen[places] == MASK, seen[places] == targets
    # 75,000 draws: a standard deviation is 0.0015, and more where a span has one fate
    within = 0.02 if name == "spans" else 0.006
    assert masked.mean() == pytest.approx(0.8, abs=within)
    assert kept.mean() == pytest.approx(0.1, abs=within)
    drawn = seen[places][~masked & ~kept]
    assert (KINDS[drawn] != SPECIAL).all()
    # 7,000 ids in 10 bins, chi-squared with 9 degrees of freedom: beyond 28 once in 1,000
    bins = np.histogram(drawn, np.linspace(4, VOCABULARY, 11))[0]
    assert ((bins - bins.mean()) ** 2 / bins.mean()).sum() < 28


def test_places_are_chosen_evenly():
    tokens = np.tile(np.r_[CLS, np.arange(10, 40), SEP], 5000)
    starts = np.arange(5001) * 32
    places = mask_tokens(tokens, starts, row_keys(3, 0, np.arange(5000)), BERT).places % 32
    counts = np.bincount(places, minlength=32)
    assert counts[0] == counts[31] == 0
    expected = 5000 * 5 / 30  # round(32 * 0.15) of 30
    # chi-squared with 29 degrees of freedom, less than independent: beyond 58 once in 1,000
    assert ((counts[1:31] - expected) ** 2 / expected).sum() < 58


def test_whole_words_are_whole():
    tokens, starts = rows_of(500, 200)
    places = mask_tokens(tokens, starts, row_keys(0, 0, np.arange(500)), WHOLE).places
    chosen = np.zeros(len(tokens), np.bool_)
    chosen[places] = True
    inner = np.flatnonzero((KINDS[tokens] == CONTINUES) & np.isin(tokens, [CLS, SEP], invert=True))
    inner = inner[KINDS[tokens[inner - 1]] != SPECIAL]
    assert np.array_equal(chosen[inner], chosen[inner - 1])
    assert len(inner) > 10_000


def test_words_by_position():
    tokens = np.tile(np.arange(10, 40), 100)
    inside = np.tile(np.arange(30) % 3 > 0, 100)
    places = mask_tokens(tokens, np.arange(101) * 30, row_keys(0, 0, np.arange(100)), WHOLE, inside).places
    # round(30 * 0.15) is 4, and words have 3 tokens
    assert len(places) == 300
    assert (places.reshape(-1, 3) - places[::3, None] == np.arange(3)).all()
    assert (places[::3] % 3 == 0).all()


def run_sizes(rules: MaskingRules) -> np.ndarray:
    """Lengths of runs in rows so long that two of them seldom touch."""
    tokens = np.full(40 * 100_000, 10)
    rules = rules._replace(fraction=0.003)
    places = mask_tokens(tokens, np.arange(41) * 100_000, row_keys(0, 0, np.arange(40)), rules).places
    borders = np.flatnonzero(np.diff(places) != 1)
    return np.diff(np.r_[-1, borders, len(places) - 1])


def test_lengths_of_runs():
    sizes = run_sizes(ALL_RULES["n-grams"])
    shares = np.bincount(sizes, minlength=4)[1:4] / len(sizes)
    # of 7,000 runs; in a hundred, one touches another or is a row's last one, which is cut
    assert shares == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.02)
    assert run_sizes(ALL_RULES["spans"]).mean() == pytest.approx(3.8, abs=0.1)


def test_a_span_has_one_fate():
    tokens = np.full(2000 * 200, 10)
    rules = ALL_RULES["spans"]._replace(fraction=0.05)
    seen, places, _ = mask_tokens(tokens, np.arange(2001) * 200, row_keys(0, 0, np.arange(2000)), rules)
    together = np.flatnonzero(np.diff(places) == 1)
    masked = seen[places] == MASK
    # but for runs that happen to touch
    assert (masked[together] == masked[together + 1]).mean() > 0.97
    tokenwise = mask_tokens(
        tokens, np.arange(2001) * 200, row_keys(0, 0, np.arange(2000)), rules._replace(one_fate=False)
    )
    masked, together = tokenwise.tokens[tokenwise.places] == MASK, np.flatnonzero(np.diff(tokenwise.places) == 1)
    assert (masked[together] == masked[together + 1]).mean() < 0.75


def test_replaced_everywhere():
    tokens, starts = rows_of(1000, 200)
    seen, places, targets = mask_tokens(tokens, starts, row_keys(0, 0, np.arange(1000)), ALL_RULES["replaced"])
    assert np.array_equal(places, np.flatnonzero(KINDS[tokens] != SPECIAL))
    assert np.array_equal(targets, tokens[places])
    # a draw is the id itself once in 996
    assert (seen[places] != targets).mean() == pytest.approx(0.15 * 995 / 996, abs=0.005)
    assert (KINDS[seen[places]] != SPECIAL).all()


def test_other_keys_other_masks_and_rows_apart():
    tokens, starts = rows_of(2, 200)
    first, second, again = (mask_tokens(tokens, starts, row_keys(0, epoch, np.arange(2)), BERT) for epoch in (0, 1, 0))
    assert not np.array_equal(first.places, second.places)
    assert np.array_equal(first.tokens, again.tokens)
    alone = mask_tokens(tokens[starts[1] :], np.array([0, starts[2] - starts[1]]), row_keys(0, 0, np.array([1])), BERT)
    assert np.array_equal(alone.tokens, first.tokens[starts[1] :])


def test_keys_equal_their_definition():
    numbers = np.array([0, 1, 5, 1 << 40])
    assert row_keys(-7, 3, numbers).tolist() == [mixed(-7, 3, number) for number in numbers.tolist()]
    assert row_keys(0, 0, np.zeros(0, np.int64)).shape == (0,)


@pytest.mark.parametrize("rules", ALL_RULES.values(), ids=ALL_RULES.keys())
@pytest.mark.parametrize(
    "rows", [[], [[]], [[], [], []], [[CLS, SEP]], [[CLS], [SEP, SEP, SEP]], [[]] * 3 + [[CLS, MASK]] + [[]]]
)
def test_nothing_to_choose(rules, rows):
    tokens = np.array([token for row in rows for token in row], np.int64)
    starts = np.cumsum([0, *map(len, rows)])
    found = mask_tokens(tokens, starts, np.zeros(len(rows), np.uint64), rules)
    assert np.array_equal(found.tokens, tokens)
    assert len(found.places) == len(found.targets) == 0


def test_one_token_is_chosen_and_no_share_chooses_none_or_all():
    one = (np.array([9]), np.array([0, 1]), np.zeros(1, np.uint64))
    assert mask_tokens(*one, BERT).places.tolist() == [0]
    assert mask_tokens(*one, BERT._replace(max_predictions=0)).places.tolist() == []
    assert mask_tokens(*one, BERT._replace(fraction=0)).places.tolist() == []
    tokens, starts = rows_of(10, 300)
    keys = np.arange(10, dtype=np.uint64)
    for rules in (BERT, WHOLE, ALL_RULES["spans"]):
        everything = mask_tokens(tokens, starts, keys, rules._replace(fraction=1)).places
        assert np.array_equal(everything, np.flatnonzero(KINDS[tokens] != SPECIAL))
        few = mask_tokens(tokens, starts, keys, rules._replace(max_predictions=2)).places
        assert len(few) <= 20


def test_a_huge_vocabulary():
    kinds = np.zeros(5_000_000, np.uint8)
    kinds[:300] = SPECIAL
    rules = MaskingRules(kinds, 0, fraction=1, mask_share=0, random_share=1)
    seen = mask_tokens(np.full(20_000, 4_999_999), np.array([0, 20_000]), np.zeros(1, np.uint64), rules).tokens
    assert seen.min() >= 300
    assert seen.max() < 5_000_000
    assert seen.mean() == pytest.approx(2_500_000, rel=0.02)


@pytest.mark.parametrize("rules", ALL_RULES.values(), ids=ALL_RULES.keys())
@pytest.mark.parametrize("bad", [-1, VOCABULARY, -(1 << 63), (1 << 63) - 1])
def test_an_id_outside_the_vocabulary(rules, bad):
    with pytest.raises(DataError, match=r"token ids must be from 0 to 999, got .* Fix: use the tokenizer"):
        mask_tokens(np.array([5, bad, 6]), np.array([0, 3]), np.zeros(1, np.uint64), rules)


@pytest.mark.parametrize(
    ("tokens", "starts", "keys", "inside", "message"),
    [
        ([1, 5], [0, 3], [0], None, "starts must ascend from 0 to the number of tokens, 2"),
        ([1, 5], [0, 2, 1, 2], [0, 0, 0], None, "starts must ascend"),
        ([1, 5], [1, 2], [0], None, "starts must ascend"),
        ([1, 5], [], [], None, "starts must ascend"),
        ([1, 5], [0, 2], [0, 1], None, "every row needs one key"),
        ([1, 5], [0, 2], [0], [True], "inside must have an entry for each of the 2 tokens"),
        ([[1, 5]], [0, 2], [0], None, "tokens must be whole numbers in one dimension"),
        ([1.5], [0, 1], [0], None, "tokens must be whole numbers in one dimension"),
    ],
)
def test_arrays_that_do_not_fit(tokens, starts, keys, inside, message):
    inside = None if inside is None else np.array(inside)
    with pytest.raises(DataError, match=message):
        mask_tokens(np.array(tokens), np.array(starts), np.array(keys, np.uint64), WHOLE, inside)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fraction": 1.5}, "fraction must be from 0 to 1, got 1.5"),
        ({"fraction": float("nan")}, "fraction must be from 0 to 1, got nan"),
        ({"mask_share": -0.1}, "mask_share must be from 0 to 1"),
        ({"random_share": 0.3}, "must be at most 1 together, got 0.8 and 0.3"),
        ({"max_predictions": -1}, "max_predictions must be at least 0, got -1"),
        ({"mask_id": VOCABULARY}, "mask_id must be an id of the vocabulary, 0 to 999, got 1000"),
        ({"kinds": np.full(9, SPECIAL)}, "every id is special"),
    ],
)
def test_rules_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        mask_tokens(np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0), BERT._replace(**changes))
    with pytest.raises(ConfigError, match="at least 1 word"):
        harmonic_lengths(0)
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        geometric_lengths(3, 1.0)


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=8),
    st.lists(st.lists(st.integers(0, 4), max_size=12), max_size=3),
)
def test_longest_matching_equals_the_definition(words, rows):
    tokens = np.array([token for row in rows for token in row], np.int64)
    starts = np.cumsum([0, *map(len, rows)])
    expected = [each for row in rows for each in reference.continues_words(row, {tuple(word) for word in words})]
    assert WordMatcher(words).continues(tokens, starts).tolist() == expected


def test_a_large_word_list_and_bad_ids():
    draws = np.random.default_rng(0)
    words = {tuple(word) for word in draws.integers(0, 300, (3000, 3)).tolist()}
    tokens = draws.integers(0, 300, 5000)
    tokens[::50] = [-1, 1 << 40] * 50
    found = WordMatcher(words).continues(tokens, np.array([0, 5000]))
    assert found.tolist() == reference.continues_words(tokens.tolist(), words)
    with pytest.raises(DataError, match=r"ids of words must be from 0 to 2\*\*31-1"):
        WordMatcher([[1, -1]])
    with pytest.raises(DataError, match="starts must ascend"):
        WordMatcher([[1, 2]]).continues(np.array([1]), np.array([0, 2]))
